//! Brokers of three that are gone: three copies of each record, two for an
//! acknowledgement.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{Case, case};
use crate::part::Part;
use crate::scene::{Options, Row, Scene, Stage};

pub(super) const CASES: &[Case] = &[
    case!(
        "one-of-three-gone",
        one_gone,
        "kill -9 of one of three brokers: the others go on"
    ),
    case!(
        "two-of-three-gone",
        two_gone,
        "kill -9 of two of three brokers: nothing can be acknowledged"
    ),
    case!(
        "not-enough-replicas",
        not_enough,
        "fewer brokers are in sync than an acknowledgement takes"
    ),
    case!(
        "full-disk-of-one",
        full_disk,
        "one of three brokers can write nothing more"
    ),
];

/// Longer than the cluster waits for a broker before it goes on without (3 s).
const GONE: (u64, u64) = (6, 12);

fn options() -> Options {
    Options {
        cluster: true,
        ..Options::default()
    }
}

async fn one_gone(stage: &mut Stage) -> Result<Row> {
    gone(stage, 1).await
}

async fn two_gone(stage: &mut Stage) -> Result<Row> {
    gone(stage, 2).await
}

async fn gone(stage: &mut Stage, count: usize) -> Result<Row> {
    let mut scene = Scene::set(stage, options()).await?;
    scene.go_on(Duration::from_secs(1)).await;
    let watch = scene.watch()?;
    let first = scene.random.index(3);
    let numbers: Vec<usize> = (first..first + count).map(|number| number % 3).collect();
    for number in &numbers {
        broker(&mut scene, *number).await?.kill().await?;
    }
    scene.go_on(scene.form.seconds(GONE.0, GONE.1)).await;
    for number in &numbers {
        broker(&mut scene, *number).await?.launch().await?;
    }
    for number in &numbers {
        broker(&mut scene, *number).await?.ready().await?;
    }
    scene.fault_ended();
    scene.judge_watched(watch, count > 1).await
}

async fn not_enough(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set_silent(stage, options()).await?;
    // Then one of three is enough to have too few.
    scene.set_of_topic("min.insync.replicas", "3").await?;
    scene.begin()?;
    scene.go_on(Duration::from_secs(1)).await;
    let watch = scene.watch()?;
    let number = scene.random.index(3);
    broker(&mut scene, number).await?.kill().await?;
    scene.go_on(scene.form.seconds(GONE.0, GONE.1)).await;
    broker(&mut scene, number).await?.start().await?;
    scene.fault_ended();
    scene.judge_watched(watch, true).await
}

async fn full_disk(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, options()).await?;
    scene.go_on(Duration::from_secs(1)).await;
    let watch = scene.watch()?;
    let number = scene.random.index(3);
    let broken = broker(&mut scene, number).await?;
    // No file may grow: each write to a log fails, as on a full disk.
    let pid = broken.pid()?.to_string();
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid, "--fsize=1"]);
    let output = command.output().await.context("run prlimit")?;
    ensure!(output.status.success(), "prlimit fails");
    // A broker without a disk to write to ends itself.
    broken.failed().await?;
    scene.go_on(scene.form.seconds(GONE.0, GONE.1)).await;
    broker(&mut scene, number).await?.start().await?;
    scene.fault_ended();
    scene.judge_watched(watch, false).await
}

async fn broker<'s>(scene: &'s mut Scene<'_>, number: usize) -> Result<&'s mut Part> {
    let brokers = &mut scene.site.cluster().await?.brokers;
    let broker = brokers.get_mut(number).context("there are three")?;
    Ok(&mut broker.part)
}
