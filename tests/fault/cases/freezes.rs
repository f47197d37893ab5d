//! SIGSTOP past every session timeout: a zombie that wakes up and goes on where it was.

use std::time::Duration;

use anyhow::Result;

use super::{Case, case};
use crate::scene::{Options, Row, Scene, Stage};

pub(super) const CASES: &[Case] = &[
    case!(
        "sink-frozen",
        sink,
        "SIGSTOP of one of two sinks past its session timeout; it wakes up in the middle of a batch"
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
    for number in 0..scene.form.pick(2, 4) {
        let time = scene
            .random
            .between(Duration::from_millis(500), PAST_SESSION / 2);
        scene.go_on(time).await;
        scene.sink(number % 2)?.freeze()?;
        scene.go_on(PAST_SESSION).await;
        scene.sink(number % 2)?.thaw()?;
    }
    scene.fault_ended();
    scene.judge().await
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
        scene.go_on(scene.form.seconds(6, 12)).await;
        scene.site.kafka.part.thaw()?;
    }
    scene.fault_ended();
    scene.judge().await
}
