//! Brokers of three that are gone: three copies of each record, two for an
//! acknowledgement.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use support::wait_until;
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
        one_full,
        "one of three brokers can write nothing more"
    ),
    case!(
        "full-disk-of-two",
        two_full,
        "two of three brokers can write nothing more: nothing can be acknowledged"
    ),
];

/// Longer than the cluster waits for a broker before it goes on without (3 s).
const GONE: (u64, u64) = (6, 9);

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
    let numbers = some_of_three(&mut scene, count);
    for number in &numbers {
        broker(&mut scene, *number).await?.kill().await?;
    }
    scene.go_on(scene.form.seconds(GONE.0, GONE.1)).await;
    come_back(&mut scene, &numbers).await?;
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
    // The producer asks again and only says that its time was up: the brokers know why.
    wait_until("a broker to say that too few are in sync", async || {
        says_too_few(&mut scene).await
    })
    .await?;
    broker(&mut scene, number).await?.start().await?;
    scene.fault_ended();
    scene.judge_watched(watch, true).await
}

/// Whether a broker has refused a record of the topic with `NOT_ENOUGH_REPLICAS`.
async fn says_too_few(scene: &mut Scene<'_>) -> Result<bool> {
    let partition = format!("partition {}-", scene.kafka.topic);
    for broker in &scene.site.cluster().await?.brokers {
        let log = broker.part.log()?;
        let said =
            |line: &str| line.contains("NotEnoughReplicasException") && line.contains(&partition);
        if log.lines().any(said) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn one_full(stage: &mut Stage) -> Result<Row> {
    full(stage, 1).await
}

async fn two_full(stage: &mut Stage) -> Result<Row> {
    full(stage, 2).await
}

async fn full(stage: &mut Stage, count: usize) -> Result<Row> {
    let mut scene = Scene::set(stage, options()).await?;
    scene.go_on(Duration::from_secs(1)).await;
    let watch = scene.watch()?;
    let numbers = some_of_three(&mut scene, count);
    for number in &numbers {
        // No file may grow: each write to a log fails, as on a full disk.
        let pid = broker(&mut scene, *number).await?.pid()?.to_string();
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid, "--fsize=1"]);
        let output = command.output().await.context("run prlimit")?;
        ensure!(output.status.success(), "prlimit fails");
    }
    for number in &numbers {
        // A broker without a disk to write to ends itself.
        broker(&mut scene, *number).await?.failed().await?;
    }
    scene.go_on(scene.form.seconds(GONE.0, GONE.1)).await;
    come_back(&mut scene, &numbers).await?;
    scene.fault_ended();
    scene.judge_watched(watch, count > 1).await
}

fn some_of_three(scene: &mut Scene<'_>, count: usize) -> Vec<usize> {
    let first = scene.random.index(3);
    (first..first + count).map(|number| number % 3).collect()
}

/// Starts them all before it waits for any: one alone is no majority.
async fn come_back(scene: &mut Scene<'_>, numbers: &[usize]) -> Result<()> {
    for number in numbers {
        broker(scene, *number).await?.launch().await?;
    }
    for number in numbers {
        broker(scene, *number).await?.ready().await?;
    }
    Ok(())
}

async fn broker<'s>(scene: &'s mut Scene<'_>, number: usize) -> Result<&'s mut Part> {
    let brokers = &mut scene.site.cluster().await?.brokers;
    let broker = brokers.get_mut(number).context("there are three")?;
    Ok(&mut broker.part)
}
