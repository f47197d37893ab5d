//! ClickHouse that does not answer, or says no.

use std::time::Duration;

use anyhow::{Result, ensure};
use plaudit_event::Outcome;
use serde_json::json;
use support::Proxy;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use super::{Case, case};
use crate::load::TRACES;
use crate::scene::{Options, Row, Scene, Stage};
use crate::tap::{Exception, Point, Tap};

pub(super) const CASES: &[Case] = &[
    case!(
        "insert-answer-cut",
        answer_cut,
        "the answer to an insert is lost after the server has the rows, again and again"
    ),
    case!(
        "clickhouse-away",
        away,
        "ClickHouse away for longer than every timeout: first refused, then without a word"
    ),
    case!(
        "clickhouse-overloaded",
        overloaded,
        "ClickHouse has no memory for inserts for a while, and then too few replicas for them"
    ),
    case!(
        "poison",
        poison,
        "one row in a thousand breaks a constraint of the table"
    ),
];

async fn answer_cut(stage: &mut Stage) -> Result<Row> {
    let tap = Tap::start(stage.site.clickhouse_address).await?;
    let options = Options {
        sink_clickhouse_url: Some(tap.url()),
        ..Options::default()
    }
    // So that a batch's rows come after the ledger rows of the one before.
    .with("sink.max_in_flight", 1);
    let mut scene = Scene::set(stage, options).await?;
    scene.keep_copies().await?;
    let insert = format!("INSERT INTO {}.", scene.database.name());
    let (ledger, rows) = (format!("{insert}ledger "), format!("{insert}feedback "));
    let cuts = scene.form.pick(10, 12);
    for _ in 0..cuts / 2 {
        // Of any insert; and of a batch's rows, which have their copies.
        let caught = tap.trap(Point::After, &[&insert]).caught().await?;
        drop(caught);
        let before = tap.trap(Point::After, &[&ledger]).caught().await?;
        let trap = tap.trap(Point::After, &[&rows]);
        before.pass();
        drop(trap.caught().await?);
    }
    scene.note(format!("{cuts} answers"));
    scene.fault_ended();
    let row = scene.judge().await?;
    ensure!(row.line.count.copies > 0, "nothing was inserted again");
    Ok(row)
}

async fn away(stage: &mut Stage) -> Result<Row> {
    let proxy = Proxy::start(&stage.site.clickhouse_address.to_string()).await?;
    let options = Options {
        sinks: 2,
        sink_clickhouse_url: Some(format!("http://{}", proxy.address())),
        ..Options::default()
    }
    .with("clickhouse.timeout", "1s")
    .with("kafka.properties.max.poll.interval.ms", 4000)
    .with("sink.drain", "3s");
    let mut scene = Scene::set(stage, options).await?;
    scene.go_on(Duration::from_secs(1)).await;
    proxy.cut();
    scene.go_on(scene.form.seconds(5, 8)).await;
    proxy.freeze();
    scene.go_on(scene.form.seconds(5, 8)).await;
    proxy.mend();
    scene.fault_ended();
    scene.judge().await
}

const NO_MEMORY: Exception = Exception(241, "MEMORY_LIMIT_EXCEEDED");

/// What it says of replicas; of the last but one it does not know whether it was done.
const WITHOUT_REPLICAS: &[(Point, Exception)] = &[
    (Point::Before, Exception(285, "TOO_FEW_LIVE_REPLICAS")),
    (Point::Before, Exception(242, "TABLE_IS_READ_ONLY")),
    (Point::After, Exception(319, "UNKNOWN_STATUS_OF_INSERT")),
    (Point::Before, Exception(999, "KEEPER_EXCEPTION")),
];

/// The longest wait that must come between two of the first requests: the first is
/// 200 ms, and each is twice as long as the one before.
const SLOWED: Duration = Duration::from_millis(800);

async fn overloaded(stage: &mut Stage) -> Result<Row> {
    let tap = Tap::start(stage.site.clickhouse_address).await?;
    let options = Options {
        // So that each request that is refused is the same batch's, until one passes.
        edits: false,
        sink_clickhouse_url: Some(tap.url()),
        ..Options::default()
    }
    .with("sink.max_in_flight", 1)
    // None of it is a fault of the data: no attempt may be counted.
    .with("sink.retry.stop_after_attempt", 2);
    let mut scene = Scene::set(stage, options).await?;
    scene.keep_copies().await?;
    scene.go_on(Duration::from_secs(1)).await;
    let rows = format!("INSERT INTO {}.feedback ", scene.database.name());
    let mut longest = Duration::ZERO;
    let mut last = None;
    let times = scene.form.pick(5, 6);
    for _ in 0..times {
        let caught = tap.trap(Point::Before, &[&rows]).caught().await?;
        let now = Instant::now();
        longest = longest.max(last.replace(now).map_or(Duration::ZERO, |last| now - last));
        caught.refuse(NO_MEMORY);
    }
    ensure!(longest >= SLOWED, "asked again after {longest:?} at most");
    for (point, exception) in WITHOUT_REPLICAS {
        // The batch before is done: it is another's turn.
        tap.trap(Point::Before, &[&rows]).caught().await?.pass();
        for _ in 0..2 {
            let caught = tap.trap(*point, &[&rows]).caught().await?;
            caught.refuse(*exception);
        }
    }
    scene.fault_ended();
    scene.recovered().await?;
    let sink = scene.sink(0)?;
    for (class, least, most) in [
        ("busy", f64::from(times) + 6.0, f64::MAX),
        ("away", 2.0, f64::MAX),
        ("retry", 0.0, 0.0),
        ("poison", 0.0, 0.0),
        ("fatal", 0.0, 0.0),
    ] {
        let name = format!(r#"plaudit_sink_insert_attempts_total{{class="{class}"}}"#);
        let answers = sink.metric(&name).await?;
        ensure!(
            (least..=most).contains(&answers),
            "{answers} answers meant {class}"
        );
    }
    scene.note(format!("{times} times no memory, waited for {longest:.1?}"));
    let row = scene.judge().await?;
    // What was carried out and said to be unknown.
    ensure!(row.line.count.copies > 0, "nothing was inserted again");
    Ok(row)
}

/// Ids whose last three digits are below this are poisonous: one in 1024.
const POISON: u8 = 4;

async fn poison(stage: &mut Stage) -> Result<Row> {
    // Each poisonous row costs a dozen inserts before it stands alone.
    let options = Options {
        rate: 500.0,
        ..Options::default()
    };
    let mut scene = Scene::set_silent(stage, options).await?;
    let poison = format!(
        "ALTER TABLE {{db}}.feedback ADD CONSTRAINT poison CHECK \
         NOT startsWith(trace_id, '{TRACES}') OR substring(toString(id), 34) >= '{POISON:03x}'"
    );
    scene.database.execute(&poison).await?;
    scene.begin()?;
    // Some that do not depend on chance, in batches of their own.
    for number in 0..POISON {
        scene.go_on(Duration::from_secs(1)).await;
        let id = u128::from(scene.random.next()) << 64 | u128::from(number);
        let id = Builder::from_random_bytes(id.to_be_bytes()).into_uuid();
        let trace = format!("{TRACES}poison-{number}");
        let item = json!({"id": id, "trace_id": trace, "metric": "poison", "value": true});
        scene.post(&[item]).await?;
    }
    scene.go_on(scene.form.seconds(1, 8)).await;
    scene.fault_ended();
    let is_poison = |id: Uuid| id.as_u128() & 0xfff < u128::from(POISON);
    let row = scene
        .judge_with(&|id, _| is_poison(id).then_some(Outcome::DeadLettered))
        .await?;
    ensure!(
        row.line.count.dead >= u64::from(POISON),
        "nothing was poisonous"
    );
    Ok(row)
}
