//! Requests to the intake, and to the floor of it.

use crate::feed::Width;
use crate::hammer::{Plan, Target, Wire, fire};
use crate::numbers::Numbers;
use crate::process::{Meter, Process};
use crate::report::{FLOOR, Side};
use crate::service::Service;
use crate::{Bench, say};

use super::requests::Requests;

/// Who is sent what.
pub(super) struct Subject<'a> {
    pub(super) name: &'static str,
    pub(super) server: &'a Service,
    pub(super) requests: Requests,
}

/// How load is put on them.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Connections of the closed loop.
    pub(super) connections: usize,
    /// Requests a second of the open loop, which has twice the connections.
    pub(super) rate: f64,
}

impl Load {
    fn closed(self, seconds: u32, bench: &Bench) -> Plan {
        Plan {
            connections: self.connections,
            rate: None,
            length: bench.scale.seconds(seconds),
            wire: Wire::Kept,
        }
    }
}

const PLAUDIT: &str = "plaudit";
pub(super) const PARTITIONS: i32 = 12;
// Many short turns tell more than few long ones: what disturbs a machine lasts for some
// seconds, and so meets all subjects of a turn, or few of one's turns.
pub(super) const CLOSED_SECONDS: u32 = 2;
const OPEN_SECONDS: u32 = 4;
const WARM_SECONDS: u32 = 2;

pub(super) async fn native(bench: &mut Bench) -> anyhow::Result<()> {
    let requests = Requests::native(&bench.stage.key, 1, Width::Narrow);
    let load = Load {
        connections: 256,
        rate: 10_000.0,
    };
    let (floor, product) = against_floor(bench, "native", requests, load).await?;
    let (ratio, cpu) = ratios(&product, &floor);
    let (p99, floor_p99) = (p99(&product), p99(&floor));
    let report = &mut bench.report;
    report.bar(
        "native single: req/s of the floor's",
        ratio,
        Side::AtLeast,
        0.75,
    );
    report.bar("native single: CPU of the floor's", cpu, Side::AtMost, 1.4);
    report.bar(
        "native single: p99 at 10 k req/s, ms",
        p99,
        Side::Below,
        10.0,
    );
    report.bar(
        "native single: p99 of the floor's",
        p99 / floor_p99,
        Side::AtMost,
        1.3,
    );
    Ok(())
}

pub(super) async fn native_many(bench: &mut Bench, events: u64) -> anyhow::Result<()> {
    let requests = Requests::native(&bench.stage.key, events, Width::Narrow);
    let name = format!("native-{events}");
    let load = match events {
        100 => Load {
            connections: 64,
            rate: 1000.0,
        },
        _ => Load {
            connections: 16,
            rate: 100.0,
        },
    };
    let (floor, product) = against_floor(bench, &name, requests, load).await?;
    let (ratio, _) = ratios(&product, &floor);
    let report = &mut bench.report;
    if events == 100 {
        report.bar(
            "native 100: events/s of the floor's",
            ratio,
            Side::AtLeast,
            0.8,
        );
    }
    let what = format!("native {events}: intake's peak MiB at full load");
    report.bar(what, product.peak("intake"), Side::Below, 200.0);
    Ok(())
}

pub(super) async fn wide(bench: &mut Bench) -> anyhow::Result<()> {
    let requests = Requests::native(&bench.stage.key, 1, Width::Wide);
    let load = Load {
        connections: 64,
        rate: 2000.0,
    };
    against_floor(bench, "wide", requests, load).await?;
    Ok(())
}

pub(super) async fn vendors(bench: &mut Bench) -> anyhow::Result<()> {
    let space = bench.stage.space(PARTITIONS).await?;
    let intake = bench.stage.service("intake", &space, &[]).await?;
    let key = &bench.stage.key;
    let subjects = [
        ("native", Requests::native(key, 1, Width::Narrow)),
        ("portkey", Requests::portkey(key)),
        ("tensorzero", Requests::tensorzero(key)),
    ]
    .map(|(name, requests)| Subject {
        name,
        server: &intake,
        requests,
    });
    let load = Load {
        connections: 256,
        rate: 10_000.0,
    };
    let numbers = in_turns(bench, &subjects, load).await?;
    let native = numbers
        .first()
        .map_or(f64::NAN, |native| native.cpu("intake"));
    for (subject, numbers) in subjects.iter().zip(numbers) {
        if subject.name != "native" {
            let what = format!("{} single: CPU of native single's", subject.name);
            let ratio = numbers.cpu("intake") / native;
            bench.report.bar(what, ratio, Side::AtMost, 1.15);
        }
        bench.report.line("vendors", subject.name, numbers);
    }
    intake.stop().await
}

pub(super) async fn langsmith(bench: &mut Bench) -> anyhow::Result<()> {
    let space = bench.stage.space(PARTITIONS).await?;
    let intake = bench.stage.service("intake", &space, &[]).await?;
    let key = &bench.stage.key;
    let subjects = [
        ("native-100", Requests::native(key, 100, Width::Narrow)),
        ("multipart", Requests::langsmith(key, 100)?),
    ]
    .map(|(name, requests)| Subject {
        name,
        server: &intake,
        requests,
    });
    let load = Load {
        connections: 64,
        rate: 300.0,
    };
    let numbers = in_turns(bench, &subjects, load).await?;
    let mut rates = numbers.iter().map(|numbers| numbers.events_per_second);
    let (native, multipart) = (rates.next().flatten(), rates.next().flatten());
    let ratio = multipart
        .zip(native)
        .map_or(f64::NAN, |(own, native)| own / native);
    for (subject, numbers) in subjects.iter().zip(numbers) {
        bench.report.line("langsmith", subject.name, numbers);
    }
    let what = "LangSmith multipart: events/s of native 100's";
    bench.report.bar(what, ratio, Side::AtLeast, 0.5);
    intake.stop().await
}

/// The same requests to floor and intake, in turns.
async fn against_floor(
    bench: &mut Bench,
    scenario: &str,
    requests: Requests,
    load: Load,
) -> anyhow::Result<(Numbers, Numbers)> {
    // A topic each, so that neither finds the other's pages warm.
    let (own, bare) = (
        bench.stage.space(PARTITIONS).await?,
        bench.stage.space(PARTITIONS).await?,
    );
    let intake = bench.stage.service("intake", &own, &[]).await?;
    let floor = bench.stage.floor_intake(&bare).await?;
    let subjects = [(FLOOR, &floor), (PLAUDIT, &intake)].map(|(name, server)| Subject {
        name,
        server,
        requests: requests.clone(),
    });
    let mut numbers = in_turns(bench, &subjects, load).await?.into_iter();
    let mut next = || numbers.next().unwrap_or_default();
    let (of_floor, of_product) = (next(), next());
    bench.report.line(scenario, FLOOR, of_floor.clone());
    bench.report.line(scenario, PLAUDIT, of_product.clone());
    intake.stop().await?;
    floor.stop().await?;
    Ok((of_floor, of_product))
}

/// Throughput and cost by a closed loop, then latency by an open one; all subjects in turns.
pub(super) async fn in_turns(
    bench: &Bench,
    subjects: &[Subject<'_>],
    load: Load,
) -> anyhow::Result<Vec<Numbers>> {
    let mut rounds: Vec<Vec<Numbers>> = subjects.iter().map(|_| Vec::new()).collect();
    for subject in subjects {
        closed(bench, subject, load.closed(WARM_SECONDS, bench)).await?;
    }
    for _ in 1..2 * bench.scale.rounds {
        for (subject, rounds) in subjects.iter().zip(&mut rounds) {
            let numbers = closed(bench, subject, load.closed(CLOSED_SECONDS, bench)).await?;
            let rate = numbers.events_per_second.unwrap_or_default();
            let cpu = numbers.cpu(subject.server.process.name);
            let name = subject.name;
            say(format_args!("{name}: {rate:.0} events/s, {cpu:.2} µs"));
            rounds.push(numbers);
        }
    }
    for _ in 0..bench.scale.rounds {
        for (subject, rounds) in subjects.iter().zip(&mut rounds) {
            let mut numbers = Numbers::default();
            numbers.set_latency(&open(bench, subject, load).await?);
            let p99 = numbers.p99_ms.unwrap_or_default();
            say(format_args!("{}: p99 {p99:.1} ms", subject.name));
            rounds.push(numbers);
        }
    }
    Ok(rounds
        .iter()
        .map(|rounds| Numbers::median(rounds))
        .collect())
}

/// What a closed loop brings and takes.
pub(super) async fn closed(
    bench: &Bench,
    subject: &Subject<'_>,
    plan: Plan,
) -> anyhow::Result<Numbers> {
    let meter = Meter::start(&[subject.server.process, bench.stage.kafka, Process::load()])?;
    let load = fire(subject.target(), plan).await?;
    let events = load.requests * subject.requests.events_a_request;
    let mut numbers = Numbers::default();
    numbers.set_rate(load.requests, events, load.took);
    for usage in meter.read()? {
        numbers.add_usage(&usage, events);
    }
    // The broker's and the load's memory is nobody's bar.
    numbers
        .peak_mib
        .retain(|name, _| *name == subject.server.process.name);
    Ok(numbers)
}

async fn open(
    bench: &Bench,
    subject: &Subject<'_>,
    load: Load,
) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let plan = Plan {
        connections: load.connections * 2,
        rate: Some(load.rate),
        length: bench.scale.seconds(OPEN_SECONDS),
        wire: Wire::Kept,
    };
    Ok(fire(subject.target(), plan).await?.latency)
}

impl Subject<'_> {
    fn target(&self) -> Target {
        Target {
            address: self.server.address,
            requests: self.requests.all.clone(),
            status: self.requests.status,
        }
    }
}

/// Throughput and CPU of the intake, as parts of the floor's.
fn ratios(product: &Numbers, floor: &Numbers) -> (f64, f64) {
    let rate = |numbers: &Numbers| numbers.events_per_second.unwrap_or(f64::NAN);
    (
        rate(product) / rate(floor),
        product.cpu("intake") / floor.cpu("intake"),
    )
}

fn p99(numbers: &Numbers) -> f64 {
    numbers.p99_ms.unwrap_or(f64::NAN)
}
