//! SIGSTOP past every session timeout: a zombie that wakes up and goes on where it was.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use support::wait_until;

use super::{Case, case};
use crate::load::TRACES;
use crate::scene::{Options, Row, Scene, Stage};
use crate::tap::{Point, Tap};

pub(super) const CASES: &[Case] = &[
    case!(
        "sink-frozen",
        sink,
        "SIGSTOP of one of two sinks past its session timeout, at random moments"
    ),
    case!(
        "sink-zombie",
        zombie,
        "SIGSTOP of a sink with an insert on its way, which is carried out after another sink has \
         stored and committed the same records"
    ),
    case!(
        "intake-frozen",
        intake,
        "SIGSTOP of one of two intakes past its clients' patience"
    ),
    case!(
        "clickhouse-frozen",
        clickhouse,
        "SIGSTOP of ClickHouse past the sink's patience with it"
    ),
    case!(
        "broker-frozen",
        broker,
        "SIGSTOP of the broker past every session timeout"
    ),
];

/// A sink's session timeout in this suite is 2 s.
const PAST_SESSION: Duration = Duration::from_secs(3);

async fn sink(stage: &mut Stage) -> Result<Row> {
    let options = Options {
        sinks: 2,
        ..Options::default()
    };
    let mut scene = Scene::set(stage, options).await?;
    for number in 0..2 {
        let time = scene
            .random
            .between(Duration::from_millis(500), PAST_SESSION / 2);
        scene.go_on(time).await;
        scene.sink(number)?.freeze()?;
        scene.go_on(PAST_SESSION).await;
        scene.sink(number)?.thaw()?;
    }
    scene.fault_ended();
    scene.judge().await
}

async fn zombie(stage: &mut Stage) -> Result<Row> {
    let tap = Tap::start(stage.site.clickhouse_address).await?;
    let options = Options {
        // So that every insert is one of rows, which have their copies.
        edits: false,
        ..Options::default()
    };
    let mut scene = Scene::set_silent(stage, options).await?;
    scene.keep_copies().await?;
    let zombie = scene.launch_sink(&[("clickhouse.url", tap.url())]).await?;
    scene.sink(zombie)?.ready().await?;
    scene.begin()?;
    let rows = format!("INSERT INTO {}.feedback ", scene.database.name());
    let oracle = scene.oracle()?;
    let rounds = scene.form.pick(1, 3);
    for round in 0..rounds {
        let caught = tap.trap(Point::Before, &[&rows]).caught().await;
        let caught = caught.with_context(|| format!("round {round}"))?;
        scene.sink(zombie)?.freeze()?;
        // Only the other sink can do it, and only with the zombie's partitions.
        let ends = scene.ends().await?;
        scene.caught_up(&ends, support::DEADLINE).await?;
        let before = oracle.copies(TRACES).await?;
        scene.sink(zombie)?.thaw()?;
        caught.pass();
        wait_until("the zombie's rows to be there twice", async || {
            Ok(oracle.copies(TRACES).await? > before)
        })
        .await?;
    }
    scene.note(format!("{rounds} late inserts"));
    scene.fault_ended();
    let row = scene.judge().await?;
    ensure!(row.line.count.copies > 0, "nothing was inserted twice");
    Ok(row)
}

async fn intake(stage: &mut Stage) -> Result<Row> {
    let options = Options {
        intakes: 2,
        ..Options::default()
    };
    let mut scene = Scene::set(stage, options).await?;
    for number in 0..scene.form.pick(1, 2) {
        scene.go_on(Duration::from_secs(1)).await;
        scene.intake(number % 2)?.freeze()?;
        // Clients wait for 10 s.
        scene.go_on(Duration::from_secs(11)).await;
        scene.intake(number % 2)?.thaw()?;
    }
    scene.fault_ended();
    scene.judge().await
}

async fn clickhouse(stage: &mut Stage) -> Result<Row> {
    let options = Options::default().with("clickhouse.timeout", "2s");
    let mut scene = Scene::set(stage, options).await?;
    for _ in 0..scene.form.pick(1, 2) {
        scene.go_on(Duration::from_secs(1)).await;
        scene.site.clickhouse.freeze()?;
        scene.go_on(scene.form.seconds(5, 8)).await;
        scene.site.clickhouse.thaw()?;
    }
    scene.fault_ended();
    scene.judge().await
}

async fn broker(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, Options::default()).await?;
    for _ in 0..scene.form.pick(1, 2) {
        scene.go_on(Duration::from_secs(1)).await;
        scene.site.kafka.part.freeze()?;
        scene.go_on(scene.form.seconds(6, 9)).await;
        scene.site.kafka.part.thaw()?;
    }
    scene.fault_ended();
    scene.judge().await
}
