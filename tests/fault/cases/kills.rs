//! SIGKILL, at random moments and again and again, while load runs.

use std::time::Duration;

use anyhow::Result;

use super::{Case, case};
use crate::scene::{Options, Row, Scene, Stage};

pub(super) const CASES: &[Case] = &[
    case!(
        "sink-killed",
        sink,
        "kill -9 of one of two sinks, at random moments, again and again"
    ),
    case!(
        "intake-killed",
        intake,
        "kill -9 of one of two intakes, at random moments, again and again"
    ),
    case!(
        "clickhouse-killed",
        clickhouse,
        "kill -9 of ClickHouse, at random moments, again and again"
    ),
    case!(
        "broker-killed",
        broker,
        "kill -9 of the broker, at random moments, again and again"
    ),
];

async fn sink(stage: &mut Stage) -> Result<Row> {
    let options = Options {
        sinks: 2,
        ..Options::default()
    };
    let mut scene = Scene::set(stage, options).await?;
    for _ in 0..scene.form.pick(2, 10) {
        moment(&mut scene).await;
        let number = scene.random.index(2);
        scene.sink(number)?.kill().await?;
        scene.sink(number)?.launch().await?;
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
    for _ in 0..scene.form.pick(2, 10) {
        moment(&mut scene).await;
        let number = scene.random.index(2);
        scene.intake(number)?.kill().await?;
        scene.intake(number)?.launch().await?;
    }
    scene.fault_ended();
    scene.judge().await
}

async fn clickhouse(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, Options::default()).await?;
    for _ in 0..scene.form.pick(2, 5) {
        moment(&mut scene).await;
        scene.site.clickhouse.kill().await?;
        scene.site.clickhouse.start().await?;
    }
    scene.fault_ended();
    scene.judge().await
}

async fn broker(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, Options::default()).await?;
    for _ in 0..scene.form.pick(1, 3) {
        moment(&mut scene).await;
        scene.site.kafka.part.kill().await?;
        scene.site.kafka.part.start().await?;
    }
    scene.fault_ended();
    scene.judge().await
}

/// Until the next blow: long enough that something is under way, often in the middle of it.
async fn moment(scene: &mut Scene<'_>) {
    let least = Duration::from_millis(300);
    let time = scene.random.between(least, Duration::from_secs(2));
    scene.go_on(time).await;
}
