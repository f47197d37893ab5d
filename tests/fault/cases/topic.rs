//! What the topic does to a sink: records it cannot read, records that are gone, a topic
//! made anew, everything again.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use plaudit_event::{Outcome, Receipt, codec};
use plaudit_kafka::{KafkaConfig, Record};
use support::{rewind, wait_until};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{Case, case};
use crate::scene::{Options, Row, Scene, Stage};

pub(super) const CASES: &[Case] = &[
    case!(
        "newer-codec",
        newer_codec,
        "a record of a newer Plaudit: its partition is held, the others go on"
    ),
    case!(
        "retention-overtakes",
        retention,
        "retention takes records that a stopped sink has not stored: it stops until it is told"
    ),
    case!(
        "topic-made-anew",
        made_anew,
        "the topic is deleted and made anew under its name: the sink stops and says so"
    ),
    case!(
        "replay",
        replay,
        "the group is reset to the log's start, with its ledger, and then without"
    ),
    case!(
        "rebuild",
        rebuild,
        "rows of a partition are deleted, and `plaudit rebuild` stores them anew"
    ),
];

/// Seconds of load in each part of a case.
const SHORT: u64 = 2;
const LONG: u64 = 4;
const SKIP: (&str, &str) = ("sink.on_expired", "skip");

async fn newer_codec(stage: &mut Stage) -> Result<Row> {
    let options = Options::default().with(SKIP.0, SKIP.1);
    let mut scene = Scene::set(stage, options).await?;
    scene.go_on(scene.form.seconds(SHORT, LONG)).await;
    let version = (codec::VERSION + 1).to_string();
    let newer = Record {
        payload: Some(b"not of this world"),
        headers: &[(codec::HEADER, version.as_bytes())],
        ..Record::default()
    };
    let (partition, offset) = scene.write(newer).await?;
    wait_until("the sink to hold the partition", async || {
        let log = scene.sinks.first().context("a sink")?.log()?;
        Ok(log.contains("record is of a newer version"))
    })
    .await?;
    scene.go_on(scene.form.seconds(SHORT, LONG)).await;
    let ends = scene.ends().await?;
    let others = ends.iter().copied().filter(|(p, _)| *p != partition);
    let others: Vec<_> = others.collect();
    scene.caught_up(&others, support::DEADLINE).await?;
    let before = [(partition, offset)];
    scene.caught_up(&before, support::DEADLINE).await?;
    let held = scene.behind(&[(partition, offset + 1)]).await?;
    ensure!(held == 1, "the newer record is not held");
    // Nobody here can read it. Once it is gone, the sink may go on.
    scene.sink(0)?.stop().await?;
    scene.expire(partition, offset + 1).await?;
    scene.sink(0)?.launch().await?;
    scene.fault_ended();
    scene.judge().await
}

async fn retention(stage: &mut Stage) -> Result<Row> {
    let options = Options {
        edits: false,
        ..Options::default()
    };
    let mut scene = Scene::set(stage, options).await?;
    scene.go_on(scene.form.seconds(SHORT, LONG)).await;
    scene.sink(0)?.stop().await?;
    scene.go_on(scene.form.seconds(SHORT, LONG)).await;
    let ends: BTreeMap<i32, i64> = scene.ends().await?.into_iter().collect();
    let committed = scene.committed().await?;
    // Half of what is not stored.
    let mut gone = BTreeMap::new();
    for (partition, end) in ends {
        let next = committed.get(&partition).copied().unwrap_or(0);
        let until = next + (end - next) / 2;
        scene.expire(partition, until).await?;
        gone.insert(partition, next..until);
    }
    scene.sink(0)?.launch().await?;
    let said = scene.sink(0)?.failed().await?;
    ensure!(said.contains("sink.on_expired"), "it says {said}");
    scene.launch_sink(&[(SKIP.0, SKIP.1.to_owned())]).await?;
    scene.fault_ended();
    let is_gone = |receipt: &Receipt| {
        let range = gone.get(&receipt.partition);
        range.is_some_and(|range| range.contains(&receipt.offset))
    };
    let fate = |_: Uuid, receipt: &Receipt| is_gone(receipt).then_some(Outcome::Expired);
    scene.judge_with(&fate).await
}

async fn made_anew(stage: &mut Stage) -> Result<Row> {
    let options = Options {
        edits: false,
        ..Options::default()
    };
    let mut scene = Scene::set(stage, options).await?;
    scene.go_on(scene.form.seconds(SHORT, LONG)).await;
    let before = scene.count().await?;
    for part in scene.intakes.iter_mut().chain(&mut scene.sinks) {
        part.stop().await?;
    }
    let topic = scene.kafka.topic.clone();
    scene.admin.delete_topic(&topic, support::DEADLINE).await?;
    scene.tool(&["migrate"]).await?;
    scene.intake(0)?.start().await?;
    scene.begin()?;
    scene.go_on(scene.form.seconds(SHORT, LONG)).await;
    scene.sink(0)?.launch().await?;
    let said = scene.sink(0)?.failed().await?;
    ensure!(said.contains("was made anew"), "it says {said}");
    let rows = "SELECT count() FROM {db}.feedback_current";
    let seen = u64::try_from(scene.database.number(rows).await?)?;
    ensure!(
        seen == before.visible,
        "{seen} are seen, not {}",
        before.visible
    );
    // As it says: another database.
    scene.database.execute("DROP DATABASE {db} SYNC").await?;
    scene.tool(&["migrate"]).await?;
    scene.sink(0)?.start().await?;
    scene.fault_ended();
    scene.judge().await
}

async fn replay(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, Options::default()).await?;
    scene.keep_copies().await?;
    for has_ledger in [true, false] {
        scene.go_on(scene.form.seconds(SHORT, LONG)).await;
        scene.sink(0)?.stop().await?;
        if !has_ledger {
            // As if the crash had come between rows and ledger, for every batch.
            let forget = "TRUNCATE TABLE {db}.ledger";
            scene.database.execute(forget).await?;
        }
        from_the_start(&scene.kafka).await?;
        scene.sink(0)?.launch().await?;
    }
    scene.fault_ended();
    let row = scene.judge().await?;
    ensure!(row.line.count.copies > 0, "nothing was inserted again");
    Ok(row)
}

async fn from_the_start(kafka: &KafkaConfig) -> Result<()> {
    let kafka = kafka.clone();
    spawn_blocking(move || rewind(&kafka)).await?
}

async fn rebuild(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, Options::default()).await?;
    scene.go_on(scene.form.seconds(SHORT, LONG)).await;
    scene.sink(0)?.stop().await?;
    let committed = scene.committed().await?;
    let (partition, end) = committed.first_key_value().context("nothing is stored")?;
    let lose = format!("DELETE FROM {{db}}.feedback WHERE partition = {partition}");
    scene.database.execute(&lose).await?;
    let (partition, end) = (partition.to_string(), end.to_string());
    let range = ["--partition", &partition, "--from", "0", "--to", &end];
    let arguments: Vec<&str> = ["rebuild"].into_iter().chain(range).collect();
    let said = scene.tool(&arguments).await?;
    scene.note(said.trim().replace('\n', ", "));
    scene.sink(0)?.launch().await?;
    scene.fault_ended();
    scene.judge().await
}
