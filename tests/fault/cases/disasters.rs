//! A disk that cannot be written to, a clock that goes back, sinks that come and go, and
//! everything at once.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use support::repository;
use tokio::process::Command;

use super::{Case, case};
use crate::namespace::Shutter;
use crate::scene::{Options, Row, Scene, Stage};

pub(super) const CASES: &[Case] = &[
    case!(
        "sinks-come-and-go",
        come_and_go,
        "sinks join and leave under load, one after another"
    ),
    case!(
        "clickhouse-read-only",
        read_only,
        "the disk under ClickHouse is read-only for a while"
    ),
    case!(
        "clock-back",
        clock_back,
        "the clock of one of two intakes is set back by a minute and a half while it runs"
    ),
    case!(
        "all-killed",
        all_killed,
        "kill -9 of sink, intake, ClickHouse and broker at once, and all are started again"
    ),
];

async fn come_and_go(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, Options::default()).await?;
    for _ in 0..scene.form.pick(4, 10) {
        let running: Vec<usize> = (0..scene.sinks.len())
            .filter(|number| {
                scene
                    .sinks
                    .get(*number)
                    .is_some_and(|sink| sink.is_running())
            })
            .collect();
        let leaves = running.len() > 3 || (running.len() > 1 && scene.random.below(2) == 0);
        if leaves {
            let number = scene.random.index(running.len());
            let number = running.get(number).copied().context("one runs")?;
            scene.sink(number)?.stop().await?;
        } else {
            scene.launch_sink(&[]).await?;
        }
        let time = scene
            .random
            .between(Duration::from_millis(200), Duration::from_secs(2));
        scene.go_on(time).await;
    }
    scene.note(format!("{} sinks in all", scene.sinks.len()));
    scene.fault_ended();
    scene.judge().await
}

async fn read_only(stage: &mut Stage) -> Result<Row> {
    let store = stage.site.directory.join("clickhouse/data/store");
    let before = stage.site.clickhouse.spec_mut().clone();
    stage.site.heal().await?;
    stage.site.clickhouse.stop().await?;
    let shutter = Shutter::wrap(stage.site.clickhouse.spec_mut(), &store)?;
    let row = shut(stage, &shutter).await;
    // Whatever became of it, the next case has the engine as it was.
    stage.site.clickhouse.kill().await?;
    *stage.site.clickhouse.spec_mut() = before;
    row
}

async fn shut(stage: &mut Stage, shutter: &Shutter) -> Result<Row> {
    // A disk is no fault of the data: no attempt may be counted.
    let options = Options::default().with("sink.retry.stop_after_attempt", 2);
    let mut scene = Scene::set(stage, options).await?;
    for _ in 0..scene.form.pick(3, 4) {
        scene.go_on(Duration::from_secs(1)).await;
        shutter.close(&scene.site.clickhouse).await?;
        scene.go_on(scene.form.seconds(2, 4)).await;
        shutter.open(&scene.site.clickhouse).await?;
    }
    let held = scene.sink(0)?.log()?.contains("away or busy: holding");
    ensure!(held, "ClickHouse could write all the while");
    scene.fault_ended();
    scene.judge().await
}

async fn clock_back(stage: &mut Stage) -> Result<Row> {
    let options = Options {
        intakes: 1,
        ..Options::default()
    };
    let mut scene = Scene::set_silent(stage, options).await?;
    let began = scene
        .database
        .number("SELECT toUnixTimestamp(now())")
        .await?;
    let library = clock_library(&scene).await?;
    let offset = scene.directory().join("clock");
    std::fs::write(&offset, "0")?;
    let environment = vec![
        ("LD_PRELOAD".to_owned(), library.display().to_string()),
        ("FAULT_CLOCK".to_owned(), offset.display().to_string()),
    ];
    scene.launch_intake(&[], environment).await?;
    scene.intake(1)?.ready().await?;
    for seconds in ["-90", "0", "-90"] {
        scene.begin()?;
        scene.go_on(scene.form.seconds(1, 3)).await;
        // Edits of one feedback keep to one clock: the later one wins by its time.
        scene.end_edits().await?;
        scene.count().await?;
        std::fs::write(&offset, seconds)?;
    }
    scene.begin()?;
    scene.go_on(scene.form.seconds(1, 3)).await;
    let early =
        format!("SELECT count() FROM {{db}}.feedback WHERE received_at < toDateTime({began}) - 10");
    let early = scene.database.number(&early).await?;
    ensure!(early > 0, "no clock was set back");
    scene.note(format!("{early} rows from the past"));
    scene.fault_ended();
    scene.judge().await
}

/// The shim, built.
async fn clock_library(scene: &Scene<'_>) -> Result<PathBuf> {
    let library = scene.directory().join("clock.so");
    let source = repository().join("tests/fault/clock.c");
    let mut command = Command::new("cc");
    command.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
    let output = command.arg(&library).arg(source).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cc: {said}");
    Ok(library)
}

async fn all_killed(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, Options::default()).await?;
    for _ in 0..scene.form.pick(1, 2) {
        let time = scene
            .random
            .between(Duration::from_secs(1), Duration::from_secs(3));
        scene.go_on(time).await;
        let Scene {
            site,
            intakes,
            sinks,
            ..
        } = &mut scene;
        let own = intakes.iter_mut().chain(sinks.iter_mut());
        let shared = [&mut site.kafka.part, &mut site.clickhouse];
        let mut all: Vec<_> = own.chain(shared).collect();
        for part in &mut all {
            part.kill().await?;
        }
        for part in &mut all {
            part.launch().await?;
        }
        for part in &mut all {
            part.ready().await?;
        }
    }
    scene.fault_ended();
    scene.judge().await
}
