//! A fault that lasts: what piles up, and how fast it is worked off.

use std::time::Duration;

use anyhow::{Result, ensure};
use support::Proxy;
use tokio::time::Instant;

use super::{Case, case};
use crate::scene::{Form, Options, Row, Scene, Stage};

pub(super) const CASES: &[Case] = &[
    case!(
        "sink-killed-often",
        killed_often,
        "kill -9 of the only sink every two seconds, for two minutes"
    ),
    case!(
        "clickhouse-away-long",
        away_long,
        "ClickHouse away for ten minutes at 10,000 events a second"
    ),
];

async fn killed_often(stage: &mut Stage) -> Result<Row> {
    // The next life is the same member, so that it gets something done in its two seconds.
    let options = Options::default().with("kafka.properties.group.instance.id", "one");
    let mut scene = Scene::set(stage, options).await?;
    scene.keep_copies().await?;
    let kills = scene.form.pick(2, 60);
    for _ in 0..kills {
        scene.go_on(Duration::from_secs(2)).await;
        scene.sink(0)?.kill().await?;
        scene.sink(0)?.launch().await?;
    }
    scene.note(format!("{kills} kills"));
    scene.fault_ended();
    scene.judge().await
}

async fn away_long(stage: &mut Stage) -> Result<Row> {
    let proxy = Proxy::start(&stage.site.clickhouse_address.to_string()).await?;
    let rate = stage.form.pick(1000.0, 10_000.0);
    let options = Options {
        rate,
        edits: false,
        sink_clickhouse_url: Some(format!("http://{}", proxy.address())),
        ..Options::default()
    }
    // Full batches, as in production: they are what memory is for.
    .with("sink.batch.max_age", "1s");
    let mut scene = Scene::set(stage, options).await?;
    scene.go_on(Duration::from_secs(2)).await;
    proxy.cut();
    let away = scene.form.seconds(8, 600);
    let end = Instant::now() + away;
    let mut resident = Vec::new();
    while Instant::now() < end {
        scene.go_on(Duration::from_secs(1)).await;
        resident.push(scene.sink(0)?.resident_bytes()? >> 20);
    }
    // The batches fill at first; after that nothing may grow.
    let (first, second) = resident.split_at(resident.len() / 2);
    let most = |sizes: &[u64]| sizes.iter().copied().max().unwrap_or(0);
    let (before, after) = (most(first), most(second));
    scene.note(format!(
        "sink {before} MiB in the first half of {} s, {after} MiB in the second",
        away.as_secs()
    ));
    ensure!(after <= before + 16, "the sink grows: {resident:?} MiB");

    let backlog = scene.behind(&scene.ends().await?).await?;
    proxy.mend();
    scene.fault_ended();
    let began = Instant::now();
    let from = scene.committed_in_all().await?;
    // What is left is what arrived a moment ago.
    #[expect(clippy::cast_possible_truncation, reason = "a rate of thousands")]
    let caught_up = (rate * 3.0) as i64;
    while scene.behind(&scene.ends().await?).await? > caught_up {
        scene.go_on(Duration::from_millis(200)).await;
    }
    let stored = scene.committed_in_all().await? - from;
    #[expect(clippy::cast_precision_loss, reason = "exact for 2^53 records")]
    let stored_a_second = stored as f64 / began.elapsed().as_secs_f64();
    ensure!(
        scene.form == Form::Short || stored_a_second >= rate * 3.0,
        "it catches up at {stored_a_second:.0} a second only"
    );
    scene.note(format!(
        "{backlog} behind, caught up at {stored_a_second:.0} a second: {:.1} times the arrival",
        stored_a_second / rate
    ));
    scene.judge().await
}
