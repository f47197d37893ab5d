//! `docker compose up`, as it is shipped: brought up, called, broken, scaled, counted
//! and taken down.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plaudit::drill::{Line, Oracle, Sent};
use plaudit::load::{Answered, Report};
use plaudit_kafka::{Admin, KafkaConfig};
use plaudit_store::ClickhouseConfig;
use support::Api;
use tokio::time::Instant;

use crate::client::Settle;
use crate::docker::{Project, docker, eventually};
use crate::load::Load;
use crate::{posture, say, vendors, watching};

/// A project that is up, as this machine sees it.
#[derive(Debug)]
struct Site {
    admin: Admin,
    clickhouse: ClickhouseConfig,
    intake: Api,
    prometheus: Api,
    key: String,
}

/// All but Grafana, which cannot be had where no registry of images is reached.
const SERVICES: &[&str] = &[
    "kafka",
    "clickhouse",
    "migrate",
    "intake",
    "sink",
    "query",
    "prometheus",
];
/// In the order in which they are killed.
const KILLED: &[&str] = &["intake", "sink", "query", "clickhouse", "kafka"];
const OURS: &[&str] = &["intake", "sink", "query"];
const ASK: Duration = Duration::from_secs(10);
const ORIGIN: &str = "http://127.0.0.1:8080";

/// Runs the case.
///
/// # Errors
/// With what does not hold.
pub(crate) async fn run() -> Result<Vec<Line>> {
    let project = Project::lay_out().await?;
    let checked = check(&project).await;
    if checked.is_err() {
        for look in [&["logs", "--tail", "30"][..], &["ps", "--all"]] {
            say(&project.compose(look).await.unwrap_or_default());
        }
    }
    let line = checked?;
    project
        .compose(&["--profile", "*", "down", "--volumes"])
        .await?;
    for left in [
        &["ps", "--all", "--quiet"][..],
        &["volume", "ls", "--quiet"],
        // The engine has some of its own.
        &["network", "ls", "--quiet", "--filter", "type=custom"],
    ] {
        let found = docker(left).await?;
        ensure!(found.is_empty(), "down leaves {left:?}: {found}");
    }
    Ok(vec![line])
}

async fn check(project: &Project) -> Result<Line> {
    posture::check_profiles(project).await?;
    let keys = vendors::make_keys(project).await?;
    let began = Instant::now();
    up(project, &[]).await?;
    say(&format!("up in {} s", began.elapsed().as_secs()));
    posture::check(project, SERVICES).await?;
    let site = Site::of(project)?;
    site.turns_strangers_away().await?;

    let acked = project.path("acked");
    let load = Load::start(ORIGIN, &site.key, &acked)?;
    site.watched(1).await?;
    for service in KILLED {
        let began = Instant::now();
        project.kill(service).await?;
        site.acknowledges_again().await?;
        let seconds = began.elapsed().as_secs_f64();
        say(&format!(
            "{service} killed; acknowledged again after {seconds:.1} s"
        ));
    }
    for sinks in [3, 1] {
        up(project, &["--scale", &format!("sink={sinks}")]).await?;
        let count = project.containers("sink").await?.len();
        ensure!(count == sinks, "{count} sinks, not {sinks}");
        site.watched(sinks).await?;
        site.acknowledges_again().await?;
    }
    let (sent, report) = load.stop().await?;
    let ended = Instant::now();
    site.settled().await?;
    let line = site.count(&sent, &report, ended).await?;

    verify(project, &acked).await?;
    let called = vendors::check(&site, ORIGIN, &keys).await?;
    say(&format!(
        "{called} vendors' clients called, each with its key"
    ));
    // SIGTERM drains: whoever is stopped ends well, and before compose kills it.
    let stop = [&["stop"], OURS].concat();
    project.compose(&stop).await?;
    posture::check_ended_well(project, OURS).await?;
    Ok(line)
}

async fn up(project: &Project, options: &[&str]) -> Result<()> {
    let up = ["up", "--no-build", "--pull", "never", "--detach", "--wait"];
    project.compose(&[&up, options, SERVICES].concat()).await?;
    Ok(())
}

/// Inside the network, as a person would: everything in its place, record by record.
async fn verify(project: &Project, acked: &Path) -> Result<()> {
    // Who runs the tools is nobody here.
    std::fs::set_permissions(acked, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let mount = format!("{}:/acked:ro", acked.display());
    let arguments = ["verify", "--deep", "--receipts", "/acked"];
    let said = project.tool(&["--volume", &mount], &arguments).await?;
    say(said.trim_end());
    Ok(())
}

impl Site {
    /// Kafka and the API from the host's loopback, as `.env` has it.
    fn of(project: &Project) -> Result<Self> {
        let brokers = format!("127.0.0.1:{}", project.choice("KAFKA_PORT")?);
        let kafka = KafkaConfig {
            brokers,
            ..KafkaConfig::default()
        };
        let key = project.choice("PLAUDIT_KEY")?;
        Ok(Self {
            admin: Admin::new(&kafka)?,
            intake: Api::new(ORIGIN).with_key(&key),
            key,
            clickhouse: ClickhouseConfig {
                url: format!("http://127.0.0.1:{}", project.choice("CLICKHOUSE_PORT")?),
                user: "plaudit".to_owned(),
                password: project.choice("CLICKHOUSE_PASSWORD")?.into(),
                ..ClickhouseConfig::default()
            },
            prometheus: Api::new("http://127.0.0.1:9090"),
        })
    }

    /// Nothing is open: not the API, not the engine.
    async fn turns_strangers_away(&self) -> Result<()> {
        let feedback = serde_json::json!({"trace_id": "t", "metric": "m", "value": 1});
        for url in [ORIGIN, "http://127.0.0.1:8081"] {
            let answer = Api::new(url).get("/v1/feedback").await?;
            ensure!(answer.status == 401, "{url}: {}", answer.status);
        }
        let answer = Api::new(ORIGIN).post("/v1/feedback", &feedback).await?;
        ensure!(answer.status == 401, "intake: {}", answer.status);
        let answer = Api::new(&self.clickhouse.url)
            .get("/?query=SELECT%201")
            .await?;
        ensure!(
            answer.status == 401 || answer.status == 403,
            "ClickHouse: {}",
            answer.status
        );
        Ok(())
    }

    async fn acknowledges_again(&self) -> Result<()> {
        let probe = serde_json::json!({"trace_id": "probe", "metric": "probe", "value": 1});
        eventually("the intake to acknowledge", async || {
            let answer = self.intake.post("/v1/feedback", &probe).await;
            Ok(answer.is_ok_and(|answer| answer.status == 200))
        })
        .await
    }

    /// Waits until Prometheus reaches every service, and as many sinks as there are.
    async fn watched(&self, sinks: usize) -> Result<()> {
        watching::wait(
            &self.prometheus,
            &[
                ("plaudit-intake", 1),
                ("plaudit-sink", sinks),
                ("plaudit-query", 1),
                ("clickhouse", 1),
                ("clickhouse-tables", 1),
            ],
        )
        .await
    }

    async fn count(&self, sent: &Sent, report: &Report, ended: Instant) -> Result<Line> {
        let count = Oracle::new(&self.clickhouse)?.count(sent).await?;
        let problems = count.problems();
        ensure!(problems.is_empty(), "{}: {count:?}", problems.join("; "));
        ensure!(
            count.visible == count.acknowledged,
            "what was acknowledged is not seen: {count:?}"
        );
        let answers = report
            .answers
            .iter()
            .map(|(answered, requests)| match answered {
                Answered::Status(status) => format!("{requests} × {status}"),
                other => format!("{requests} × {other:?}"),
            });
        say(&format!(
            "answers: {}",
            answers.collect::<Vec<_>>().join(", ")
        ));
        Ok(Line {
            name: "compose".to_owned(),
            count,
            recovered: ended.elapsed(),
        })
    }

    /// How many records there are that are not stored.
    async fn behind(&self, ends: &[(i32, i64)]) -> Result<i64> {
        let committed = self.admin.committed(ASK).await?;
        let behind = ends.iter().map(|(partition, end)| {
            let mut of_partition = committed.iter().filter(|(number, _)| number == partition);
            let next = of_partition.next().and_then(|(_, next)| *next);
            (end - next.unwrap_or(0)).max(0)
        });
        Ok(behind.sum())
    }
}

impl Settle for Site {
    async fn settled(&self) -> Result<()> {
        let topic = KafkaConfig::default().topic;
        let marks = self.admin.watermarks(&topic, ASK).await?;
        let ends: Vec<_> = marks
            .iter()
            .map(|mark| (mark.partition, mark.high))
            .collect();
        eventually("the sinks to have stored everything", async || {
            Ok(self.behind(&ends).await.is_ok_and(|behind| behind == 0))
        })
        .await
        .context("settle")
    }
}
