//! How fast the sink drains a topic that is full, and what an event costs.
//!
//! Needs a broker and an engine, such as those of `plaudit up`:
//!
//! ```text
//! cargo run --release -p plaudit-benches --bin drain -- --events 2000000
//! ```

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use plaudit_benches::{cpu_time, peak_resident_kib, reset_peak_resident};
use plaudit_event::Micros;
use plaudit_kafka::{Admin, ConfirmingProducer, Delivery, KafkaConfig, Record};
use plaudit_pieces::narrow_event;
use plaudit_service::Readiness;
use plaudit_sink::SinkConfig;
use plaudit_store::{ClickhouseConfig, InsertCompression, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Options {
    /// Brokers.
    #[arg(long, default_value = "127.0.0.1:9092")]
    brokers: String,
    /// ClickHouse's HTTP interface.
    #[arg(long, default_value = "http://127.0.0.1:8123")]
    clickhouse: String,
    /// The engine's process, whose CPU time is shown too.
    #[arg(long)]
    clickhouse_pid: Option<u32>,
    /// Events to fill the topic with.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 12)]
    partitions: i32,
    /// Send batches without compression.
    #[arg(long)]
    uncompressed: bool,
    /// `sink.batch.max_rows`
    #[arg(long)]
    max_rows: Option<usize>,
    /// `sink.batch.max_bytes`
    #[arg(long)]
    max_bytes: Option<usize>,
    /// `sink.max_in_flight`
    #[arg(long)]
    max_in_flight: Option<usize>,
}

/// How often the ledger is asked: the error of the time that is measured.
const LOOK: Duration = Duration::from_millis(200);

const EVENTS_A_SEND: u64 = 10_000;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    plaudit_service::init_logging(plaudit_service::LogFormat::Text);
    let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let kafka = KafkaConfig {
        brokers: options.brokers.clone(),
        topic: name.clone(),
        partitions: options.partitions,
        group: name.clone(),
        ..KafkaConfig::default()
    };
    Admin::new(&kafka)?
        .ensure_topics(Duration::from_secs(30))
        .await?;
    let store = Store::new(ClickhouseConfig {
        url: options.clickhouse.clone(),
        database: name,
        compression: if options.uncompressed {
            InsertCompression::None
        } else {
            InsertCompression::Lz4
        },
        ..ClickhouseConfig::default()
    });
    store.migrate().await?;
    fill(&kafka, options.events).await?;
    // What filling took is not the sink's.
    reset_peak_resident()?;

    let mut config = SinkConfig::default();
    let batch = &mut config.batch;
    batch.max_rows = options.max_rows.unwrap_or(batch.max_rows);
    batch.max_bytes = options.max_bytes.unwrap_or(batch.max_bytes);
    config.max_in_flight = options.max_in_flight.unwrap_or(config.max_in_flight);
    let me = std::process::id();
    let engine = |pid: Option<u32>| pid.map(cpu_time).transpose();
    let (sink_before, engine_before) = (cpu_time(me)?, engine(options.clickhouse_pid)?);
    let started = Instant::now();
    let stop = CancellationToken::new();
    let sink = plaudit_sink::run(
        config,
        &kafka,
        store.clone(),
        Readiness::default(),
        stop.clone(),
    );
    let watch = async {
        // One partition after the other, and seldom: the question costs too.
        for log in Admin::new(&kafka)?
            .watermarks(&kafka.topic, Duration::from_secs(10))
            .await?
        {
            let all = [(log.partition, 0)];
            loop {
                let ends = store.ledger_ends(&kafka.topic, &all).await?;
                if ends.first().map_or(0, |end| end.prefix) >= log.high {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        let took = started.elapsed();
        stop.cancel();
        anyhow::Ok(took)
    };
    let (ended, took) = tokio::join!(sink, watch);
    ended.context("run the sink")?;
    let took = took?;

    let per_event = |time: Duration| time.as_secs_f64() * 1e6 / events_f64(options.events);
    println!("events              {}", options.events);
    println!(
        "rows/s              {:.0}",
        events_f64(options.events) / took.as_secs_f64()
    );
    println!(
        "sink µs/event       {:.2}",
        per_event(cpu_time(me)? - sink_before)
    );
    if let (Some(after), Some(before)) = (engine(options.clickhouse_pid)?, engine_before) {
        println!("clickhouse µs/event {:.2}", per_event(after - before));
    }
    println!("peak resident MiB   {}", peak_resident_kib(me)? / 1024);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn events_f64(events: u64) -> f64 {
    events as f64
}

async fn fill(kafka: &KafkaConfig, events: u64) -> anyhow::Result<()> {
    let producer = ConfirmingProducer::new(kafka)?;
    let mut sent = 0;
    while sent < events {
        let until = events.min(sent + EVENTS_A_SEND);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let now = Micros(i64::try_from(now.as_micros())?);
        let mut buffer = Vec::new();
        let encoded: Vec<_> = (sent..until)
            .map(|index| {
                let start = buffer.len();
                let key = narrow_event(index, now, &mut buffer);
                (key, start..buffer.len())
            })
            .collect();
        let records = encoded.iter().map(|(key, range)| Record {
            key: Some(key.as_bytes()),
            payload: buffer.get(range.clone()),
            headers: &[],
            timestamp_ms: now.as_millis(),
        });
        let records: Vec<_> = records.collect();
        let deliveries = producer
            .send_all(&kafka.topic, records)
            .wait(Duration::from_secs(30))
            .await;
        if !deliveries
            .iter()
            .all(|delivery| matches!(delivery, Delivery::Confirmed { .. }))
        {
            bail!("the broker did not confirm every record");
        }
        sent = until;
    }
    Ok(())
}
