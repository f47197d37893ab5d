//! A full topic drained into the whole schema.
//!
//! The rate is that between the first rows seen and nearly the last, so that neither the
//! start of a process nor the age of the last batch is in it. CPU is counted from before
//! the start until the merges of what was written are done: they are part of its price.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::feed::Width;
use crate::fill::fill;
use crate::numbers::{Numbers, float};
use crate::process::{Meter, Process, Usage};
use crate::report::{FLOOR, Side};
use crate::service::Service;
use crate::stage::Space;
use crate::{Bench, say};

/// Who drains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    /// So many sinks in one group.
    Plaudit(usize),
    /// The floor, into the whole schema.
    Floor,
    /// The floor, into `feedback` without its other orders.
    FloorAlone,
    /// ClickHouse's own Kafka engine, into the whole schema.
    KafkaEngine,
}

const EVENTS: u64 = 2_000_000;
/// Each takes a minute and a half, and two million events are a long turn.
pub(super) const MOST_ROUNDS: usize = 2;
const WIDE_EVENTS: u64 = 100_000;
/// Bytes on disk an event: all tables, ledger and all.
const BYTES: &str = "bytes/event";
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(300);
const MERGE_PATIENCE: Duration = Duration::from_secs(20);
/// What else than its own order `feedback` has.
const OTHER_ORDERS: [&str; 4] = [
    "PROJECTION by_id",
    "PROJECTION by_metric",
    "INDEX by_tag",
    "INDEX by_trace",
];

pub(super) async fn narrow(bench: &mut Bench) -> anyhow::Result<()> {
    let events = bench.scale.events(EVENTS);
    let topic = filled(bench, 12, events, Width::Narrow).await?;
    let (mut floor, mut plaudit, mut engine) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.scale.rounds.min(MOST_ROUNDS) {
        floor.push(drain(bench, &topic, Who::Floor, &[], events).await?);
        plaudit.push(drain(bench, &topic, Who::Plaudit(1), &[], events).await?);
        engine.push(drain(bench, &topic, Who::KafkaEngine, &[], events).await?);
    }
    let [floor, plaudit, engine] = [floor, plaudit, engine].map(|all| Numbers::median(&all));
    let rate = |numbers: &Numbers| numbers.events_per_second.unwrap_or(f64::NAN);
    let bytes = plaudit.other.get(BYTES).copied();
    let both = plaudit.cpu("sink") + plaudit.cpu("clickhouse");
    let report = &mut bench.report;
    report.bar(
        "sink drain: rows/s of the floor's",
        rate(&plaudit) / rate(&floor),
        Side::AtLeast,
        0.75,
    );
    report.bar(
        "sink drain: CPU of the Kafka engine's",
        both / engine.cpu("clickhouse"),
        Side::AtMost,
        0.4,
    );
    let what = "stored: bytes of a narrow event, everything included";
    report.bar(what, bytes.unwrap_or(f64::NAN), Side::AtMost, 90.0);
    peak(bench, "sink drain", &plaudit);
    let report = &mut bench.report;
    report.line("drain", FLOOR, floor);
    report.line("drain", "plaudit", plaudit);
    report.line("drain", "ClickHouse's Kafka engine", engine);
    let alone = drain(bench, &topic, Who::FloorAlone, &[], events).await?;
    bench.report.line("drain", "floor, no other orders", alone);
    for sinks in [2, 4] {
        let numbers = drain(bench, &topic, Who::Plaudit(sinks), &[], events).await?;
        peak(bench, &format!("sink drain, {sinks} sinks"), &numbers);
        bench
            .report
            .line("drain", &format!("plaudit, {sinks} sinks"), numbers);
    }
    for partitions in [1, 4] {
        let topic = filled(bench, partitions, events, Width::Narrow).await?;
        let numbers = drain(bench, &topic, Who::Plaudit(1), &[], events).await?;
        let subject = format!("plaudit, partitions: {partitions}");
        bench.report.line("drain", &subject, numbers);
    }
    Ok(())
}

pub(super) async fn wide(bench: &mut Bench) -> anyhow::Result<()> {
    let events = bench.scale.events(WIDE_EVENTS);
    let topic = filled(bench, 12, events, Width::Wide).await?;
    for (subject, who) in [(FLOOR, Who::Floor), ("plaudit", Who::Plaudit(1))] {
        let numbers = drain(bench, &topic, who, &[], events).await?;
        if subject != FLOOR {
            peak(bench, "wide drain", &numbers);
        }
        bench.report.line("wide drain", subject, numbers);
    }
    Ok(())
}

/// Holds the largest sink's memory against its bar.
fn peak(bench: &mut Bench, what: &str, numbers: &Numbers) {
    let what = format!("{what}: sink's peak MiB");
    bench
        .report
        .bar(what, numbers.peak("sink"), Side::Below, 200.0);
}

/// A full topic, for a sink of other settings.
pub(super) struct Topic {
    space: Space,
    events: u64,
}

impl Topic {
    pub(super) async fn filled(bench: &Bench) -> anyhow::Result<Self> {
        let events = bench.scale.events(EVENTS);
        let space = filled(bench, 12, events, Width::Narrow).await?;
        Ok(Self { space, events })
    }

    pub(super) async fn drained(
        &self,
        bench: &Bench,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Numbers> {
        drain(bench, &self.space, Who::Plaudit(1), settings, self.events).await
    }
}

async fn filled(
    bench: &Bench,
    partitions: i32,
    events: u64,
    width: Width,
) -> anyhow::Result<Space> {
    let space = bench.stage.space(partitions).await?;
    say(format_args!(
        "filling {partitions} partitions with {events} events"
    ));
    fill(&space.kafka, events, width).await?;
    Ok(space)
}

/// Drains `topic` with a group and a database that are gone afterwards.
async fn drain(
    bench: &Bench,
    topic: &Space,
    who: Who,
    settings: &[(&str, String)],
    events: u64,
) -> anyhow::Result<Numbers> {
    let stage = &bench.stage;
    let space = stage.beside(topic).await?;
    let database = &space.database;
    if who == Who::FloorAlone {
        let drops = OTHER_ORDERS.map(|order| format!("DROP {order}")).join(", ");
        let sql = format!("ALTER TABLE {database}.feedback {drops}");
        stage.clickhouse.run(&sql).await?;
    }
    let meter = Meter::start(&[stage.engine, stage.kafka])?;
    let started = Instant::now();
    let mut services = Vec::new();
    match who {
        Who::Plaudit(sinks) => {
            for _ in 0..sinks {
                services.push(stage.launch("sink", &space, settings).await?);
            }
        }
        Who::Floor | Who::FloorAlone => services.push(stage.floor_sink(&space).await?),
        Who::KafkaEngine => start_engine(bench, &space).await?,
    }
    let rate = watch(bench, &space, who, events, &services).await?;
    let whole = float(events) / started.elapsed().as_secs_f64();
    let mut numbers = Numbers {
        events_per_second: Some(if who == Who::KafkaEngine {
            whole
        } else {
            rate.unwrap_or(whole)
        }),
        ..Numbers::default()
    };
    for service in services {
        numbers.add_usage(&since_birth(service.process)?, events);
        service.stop().await?;
    }
    if who == Who::KafkaEngine {
        stage
            .clickhouse
            .run(&format!("DROP VIEW {database}.from_queue SYNC"))
            .await?;
        stage
            .clickhouse
            .run(&format!("DROP TABLE {database}.queue SYNC"))
            .await?;
    }
    let merged = stage.clickhouse.merged(MERGE_PATIENCE).await?;
    for usage in meter.read()? {
        numbers.add_usage(&usage, events);
    }
    numbers.peak_mib.retain(|name, _| *name == "sink");
    let bytes = float(stage.clickhouse.bytes_on_disk(database).await?) / float(events);
    numbers.other.insert(BYTES, bytes);
    let (parts, inserted) = stage.clickhouse.parts(database).await?;
    numbers.other.insert("inserts", float(inserted));
    numbers.other.insert("parts", float(parts));
    if !merged {
        // More is to be paid than is in the numbers.
        numbers.other.insert("merges under way", 1.0);
    }
    stage.clickhouse.drop_database(database).await?;
    say(format_args!(
        "{who:?}: {:.0} rows/s, sink {:.2} µs, ClickHouse {:.2} µs, {bytes:.0} bytes",
        numbers.events_per_second.unwrap_or_default(),
        numbers.cpu("sink"),
        numbers.cpu("clickhouse"),
    ));
    Ok(numbers)
}

/// Waits until all is stored; rows a second between the first and nearly the last of them.
async fn watch(
    bench: &Bench,
    space: &Space,
    who: Who,
    events: u64,
    services: &[Service],
) -> anyhow::Result<Option<f64>> {
    let clickhouse = &bench.stage.clickhouse;
    let database = &space.database;
    let rows_sql = format!("SELECT count() FROM {database}.feedback");
    // A range may be written twice; none of a drain that nothing disturbs overlaps another.
    let outcomes_sql = format!(
        "SELECT sum(last - first + 1) FROM {database}.ledger FINAL WHERE outcome = 'stored'"
    );
    let deadline = Instant::now() + PATIENCE;
    let (mut first, mut last) = (None, None);
    loop {
        let rows = clickhouse.number(&rows_sql).await?;
        let now = Instant::now();
        if rows > 0 && first.is_none() {
            first = Some((rows, now));
        }
        if rows >= events - events / 20 && last.is_none() {
            last = Some((rows, now));
        }
        if rows >= events {
            let plaudit = matches!(who, Who::Plaudit(_));
            if !plaudit || clickhouse.number(&outcomes_sql).await? >= events {
                break;
            }
        }
        if now > deadline {
            let words: Vec<_> = services.iter().map(Service::last_lines).collect();
            bail!(
                "{who:?}: {rows} of {events} rows after {PATIENCE:?}\n{}",
                words.join("\n")
            );
        }
        sleep(LOOK).await;
    }
    let rate = first.zip(last).and_then(|((few, began), (many, ended))| {
        let took = ended.saturating_duration_since(began).as_secs_f64();
        (many > few && took > 0.0).then(|| float(many - few) / took)
    });
    Ok(rate)
}

/// ClickHouse's own Kafka engine, by its own recommendation: a consumer a core, each on a
/// thread of its own, and the default size of a block.
async fn start_engine(bench: &Bench, space: &Space) -> anyhow::Result<()> {
    let database = &space.database;
    let kafka = &space.kafka;
    let consumers = std::thread::available_parallelism()?;
    let queue = format!(
        "CREATE TABLE {database}.queue (
            project String, dialect String, received_at Int64, version_time Int64,
            operation Tuple(put Tuple(
                id UUID, trace_id String, target Tuple(kind String, id String), metric String,
                value String, score Nullable(Float64), weight Nullable(Float64), comment String,
                correction String, tags Map(String, String), metadata String, rater String,
                source Tuple(kind String, info String, run_id String), group_id String,
                experiment_id String, session_id String, created_at Nullable(Int64))))
        ENGINE = Kafka SETTINGS kafka_broker_list = '{}', kafka_topic_list = '{}',
            kafka_group_name = '{}', kafka_format = 'JSONEachRow', kafka_num_consumers = {consumers},
            kafka_thread_per_consumer = 1",
        kafka.brokers, kafka.topic, kafka.group
    );
    bench.stage.clickhouse.run(&queue).await?;
    let view = format!(
        "CREATE MATERIALIZED VIEW {database}.from_queue TO {database}.feedback AS
        WITH operation.put AS put
        SELECT project, put.trace_id AS trace_id, put.id AS id,
            toUInt64(version_time) * 4096 AS version, toUInt8(0) AS is_deleted,
            if(put.target.kind = '', 'trace', put.target.kind) AS target_kind,
            if(put.target.id = '', put.trace_id, put.target.id) AS target_id,
            put.metric AS metric,
            multiIf(put.value = '', 'none', put.value IN ('true', 'false'), 'bool',
                toInt64OrNull(put.value) IS NOT NULL, 'int',
                toFloat64OrNull(put.value) IS NOT NULL, 'float', 'text') AS value_type,
            put.value AS value, put.score AS score, ifNull(put.weight, 1) AS weight,
            put.comment AS comment, put.correction AS correction, put.tags AS tags,
            put.metadata AS metadata, put.rater AS rater,
            if(put.source.kind = '', 'api', put.source.kind) AS source_kind,
            put.source.info AS source_info, put.source.run_id AS source_run_id,
            put.group_id AS group_id, put.experiment_id AS experiment_id,
            put.session_id AS session_id,
            fromUnixTimestamp64Micro(ifNull(put.created_at, queue.received_at), 'UTC') AS created_at,
            fromUnixTimestamp64Micro(queue.received_at, 'UTC') AS received_at,
            dialect, _topic AS topic, toInt32(_partition) AS partition, toInt64(_offset) AS offset
        FROM {database}.queue"
    );
    bench.stage.clickhouse.run(&view).await?;
    Ok(())
}

/// All that a process has used: it was started for this.
fn since_birth(process: Process) -> anyhow::Result<Usage> {
    Ok(Usage {
        process,
        cpu: process.cpu()?,
        peak_mib: process.peak_mib()?,
    })
}
