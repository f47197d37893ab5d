//! Settings beside the defaults, in turns: what each of them would cost or save.
//!
//! No bars: what came of it is in `docs/performance.md`, and a default changes by it.

use crate::feed::Width;
use crate::hammer::{Plan, Wire};
use crate::numbers::Numbers;
use crate::{Bench, say};

use super::drain;
use super::http::{CLOSED_SECONDS, Load, Subject, closed, in_turns};
use super::requests::Requests;

/// What it is called, and the settings that it has.
type Variant = (&'static str, &'static [(&'static str, &'static str)]);

const INTAKE: &[Variant] = &[
    ("as it is", &[]),
    ("linger 0 ms", &[("kafka.properties.linger.ms", "0")]),
    ("linger 10 ms", &[("kafka.properties.linger.ms", "10")]),
    ("zstd", &[("kafka.properties.compression.codec", "zstd")]),
    (
        "uncompressed",
        &[("kafka.properties.compression.codec", "none")],
    ),
    (
        "batches of 64 kB",
        &[("kafka.properties.batch.size", "65536")],
    ),
    (
        "20,000 in the queue",
        &[("kafka.properties.queue.buffering.max.messages", "20000")],
    ),
];

const SINK: &[Variant] = &[
    ("as it is", &[]),
    ("one batch in flight", &[("sink.max_in_flight", "1")]),
    ("three in flight", &[("sink.max_in_flight", "3")]),
    ("25,000 rows", &[("sink.batch.max_rows", "25000")]),
    (
        "100,000 rows",
        &[
            ("sink.batch.max_rows", "100000"),
            ("sink.batch.max_bytes", "67108864"),
        ],
    ),
    (
        "uncompressed inserts",
        &[("clickhouse.compression", "none")],
    ),
    (
        "16 MiB ahead",
        &[
            ("kafka.properties.queued.max.messages.kbytes", "16384"),
            ("kafka.properties.fetch.max.bytes", "8388608"),
        ],
    ),
    (
        "1 MiB ahead",
        &[
            ("kafka.properties.queued.max.messages.kbytes", "1024"),
            ("kafka.properties.fetch.max.bytes", "1048576"),
        ],
    ),
];

/// What it is called, how many connections, and how they are used.
const CONNECTIONS: &[(&str, usize, Wire)] = &[
    ("256 connections", 256, Wire::Kept),
    ("32 connections", 32, Wire::Kept),
    ("4096 connections", 4096, Wire::Kept),
    ("32, 8 pipelined", 32, Wire::Pipelined(8)),
    ("256, 8 pipelined", 256, Wire::Pipelined(8)),
    ("one a request", 256, Wire::Anew),
];

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let single = Load {
        connections: 256,
        rate: 10_000.0,
    };
    let many = Load {
        connections: 64,
        rate: 1000.0,
    };
    intake(bench, 1, single).await?;
    intake(bench, 100, many).await?;
    connections(bench).await?;
    sink(bench).await
}

async fn connections(bench: &mut Bench) -> anyhow::Result<()> {
    let space = bench.stage.space(super::http::PARTITIONS).await?;
    let intake = bench.stage.service("intake", &space, &[]).await?;
    let subject = Subject {
        name: "native",
        server: &intake,
        requests: Requests::native(&bench.stage.key, 1, Width::Narrow),
    };
    let mut rounds: Vec<Vec<Numbers>> = CONNECTIONS.iter().map(|_| Vec::new()).collect();
    for _ in 0..bench.scale.rounds {
        for ((name, connections, wire), rounds) in CONNECTIONS.iter().zip(&mut rounds) {
            let plan = Plan {
                connections: *connections,
                rate: None,
                length: bench.scale.seconds(CLOSED_SECONDS),
                wire: *wire,
            };
            let numbers = closed(bench, &subject, plan).await?;
            say(format_args!("{name}: {:.2} µs", numbers.cpu("intake")));
            rounds.push(numbers);
        }
    }
    for ((name, ..), rounds) in CONNECTIONS.iter().zip(rounds) {
        let numbers = Numbers::median(&rounds);
        bench.report.line("connections", name, numbers);
    }
    intake.stop().await
}

async fn intake(bench: &mut Bench, events: u64, load: Load) -> anyhow::Result<()> {
    let requests = Requests::native(&bench.stage.key, events, Width::Narrow);
    let space = bench.stage.space(super::http::PARTITIONS).await?;
    let mut intakes = Vec::new();
    for (name, settings) in INTAKE {
        let intake = bench
            .stage
            .service("intake", &space, &given(settings))
            .await?;
        intakes.push((*name, intake));
    }
    let subjects: Vec<_> = intakes
        .iter()
        .map(|(name, server)| Subject {
            name,
            server,
            requests: requests.clone(),
        })
        .collect();
    let numbers = in_turns(bench, &subjects, load).await?;
    for ((name, intake), numbers) in intakes.into_iter().zip(numbers) {
        let scenario = format!("native-{events}");
        bench.report.line(&scenario, name, numbers);
        intake.stop().await?;
    }
    Ok(())
}

async fn sink(bench: &mut Bench) -> anyhow::Result<()> {
    let topic = drain::Topic::filled(bench).await?;
    let mut rounds: Vec<Vec<Numbers>> = SINK.iter().map(|_| Vec::new()).collect();
    for round in 0..drain::MOST_ROUNDS {
        // Whoever comes after another pays for what that left to be written to the disk.
        let mut turn: Vec<_> = SINK.iter().zip(&mut rounds).collect();
        turn.rotate_left(round * SINK.len() / drain::MOST_ROUNDS);
        for ((name, settings), rounds) in turn {
            say(format_args!("{name}:"));
            rounds.push(topic.drained(bench, &given(settings)).await?);
        }
    }
    for ((name, _), rounds) in SINK.iter().zip(rounds) {
        bench.report.line("drain", name, Numbers::median(&rounds));
    }
    Ok(())
}

fn given(settings: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    settings
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()))
        .collect()
}
