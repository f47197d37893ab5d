//! `docker compose up`, as it is shipped: brought up, called, broken, scaled, counted
//! and taken down.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plaudit::drill::Oracle;
use plaudit_kafka::{Admin, KafkaConfig};
use plaudit_store::ClickhouseConfig;
use support::Api;
use tokio::time::Instant;

use crate::client::Settle;
use crate::docker::{Project, docker, eventually};
use crate::table::{Failures, Row, Table};
use crate::traffic::Addresses;
use crate::{posture, say, vendors, watching};

/// A project that is up, as this machine sees it.
#[derive(Debug)]
struct Site {
    kafka: KafkaConfig,
    admin: Admin,
    clickhouse: ClickhouseConfig,
    prometheus: Api,
    addresses: Addresses,
    table: Table,
    /// What was acknowledged, a file a disturbance.
    acked: Vec<PathBuf>,
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
const KILLED: &[&str] = &[
    "intake",
    "sink",
    "query",
    "clickhouse",
    "kafka",
    "prometheus",
];
const OURS: &[&str] = &["intake", "sink", "query"];
const UP: &[&str] = &["up", "--no-build", "--pull", "never", "--detach", "--wait"];
const ASK: Duration = Duration::from_secs(10);
/// The broker answers who may ask within milliseconds, and others never.
const STRANGER: Duration = Duration::from_secs(5);
const ORIGIN: &str = "http://127.0.0.1:8080";
const READS: &str = "http://127.0.0.1:8081";

/// Runs the case.
///
/// # Errors
/// With what does not hold.
pub(crate) async fn run() -> Result<Table> {
    let project = Project::lay_out().await?;
    let checked = check(&project).await;
    if checked.is_err() {
        for look in [&["logs", "--tail", "30"][..], &["ps", "--all"]] {
            say(&project.compose(look).await.unwrap_or_default());
        }
    }
    let table = checked?;
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
    Ok(table)
}

async fn check(project: &Project) -> Result<Table> {
    posture::check_profiles(project).await?;
    let keys = vendors::make_keys(project).await?;
    let began = Instant::now();
    let minimal = ["--profile", "minimal"];
    project.compose(&[&minimal, UP].concat()).await?;
    let seconds = began.elapsed().as_secs();
    let watching = project.containers("prometheus").await?;
    ensure!(watching.is_empty(), "the profile `minimal` has Prometheus");
    up(project, &[]).await?;
    posture::check(project, SERVICES).await?;
    let mut site = Site::of(project)?;
    site.turns_strangers_away().await?;
    site.watched(1).await?;
    let note = format!("`docker compose --profile minimal up --wait` took {seconds} s");
    site.table.note(note);
    for service in KILLED {
        let name = format!("kill -9 of {service}");
        site.under_load(project, &name, Failures::Some, async |_| {
            project.kill(service).await
        })
        .await?;
    }
    for (sinks, name) in [(3, "1 sink becomes 3"), (1, "3 sinks become 1")] {
        site.under_load(project, name, Failures::None, async |site| {
            up(project, &["--scale", &format!("sink={sinks}")]).await?;
            let count = project.containers("sink").await?.len();
            ensure!(count == sinks, "{count} sinks, not {sinks}");
            site.watched(sinks).await
        })
        .await?;
    }
    let said = site.verify(project).await?;
    site.table.note(format!("`plaudit verify --deep`: {said}"));
    let called = vendors::check(&site, ORIGIN, &keys).await?;
    let note = format!("{called} clients of vendors, each with a key of its own project");
    site.table.note(note);
    load(project).await?;
    // SIGTERM drains: whoever is stopped ends well, and before compose kills it.
    let stop = [&["stop"], OURS].concat();
    project.compose(&stop).await?;
    posture::check_ended_well(project, OURS).await?;
    Ok(site.table)
}

async fn up(project: &Project, options: &[&str]) -> Result<()> {
    project.compose(&[UP, options, SERVICES].concat()).await?;
    Ok(())
}

/// The profile `load`, for seconds instead of minutes: all of it has to be accepted.
async fn load(project: &Project) -> Result<()> {
    project.choose("LOAD_DURATION", "3s")?;
    let run = ["--profile", "load", "run", "--rm", "--no-TTY", "load"];
    project.compose(&run).await?;
    Ok(())
}

impl Site {
    /// Kafka and the API from the host's loopback, as `.env` has it.
    fn of(project: &Project) -> Result<Self> {
        let brokers = format!("127.0.0.1:{}", project.choice("KAFKA_PORT")?);
        let password = project.choice("KAFKA_PASSWORD")?;
        let properties = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "plaudit"),
            ("sasl.password", password.as_str()),
        ];
        let kafka = KafkaConfig {
            brokers,
            properties: properties.into_iter().collect(),
            ..KafkaConfig::default()
        };
        let key = project.choice("PLAUDIT_KEY")?;
        Ok(Self {
            admin: Admin::new(&kafka)?,
            kafka,
            addresses: Addresses {
                intake: ORIGIN.to_owned(),
                query: READS.to_owned(),
                key,
            },
            table: Table::of("docker compose"),
            acked: Vec::new(),
            clickhouse: ClickhouseConfig {
                url: format!("http://127.0.0.1:{}", project.choice("CLICKHOUSE_PORT")?),
                user: "plaudit".to_owned(),
                password: project.choice("CLICKHOUSE_PASSWORD")?.into(),
                ..ClickhouseConfig::default()
            },
            prometheus: Api::new("http://127.0.0.1:9090"),
        })
    }

    /// Nothing is open: not the API, not the engine, not the broker.
    async fn turns_strangers_away(&self) -> Result<()> {
        let feedback = serde_json::json!({"trace_id": "t", "metric": "m", "value": 1});
        for url in [ORIGIN, READS] {
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
        for password in [None, Some("wrong")] {
            let known = self.kafka.properties.iter();
            let told = known.filter_map(|(key, value)| match (key, password) {
                ("sasl.password", Some(wrong)) => Some((key, wrong)),
                (_, Some(_)) => Some((key, value)),
                (_, None) => None,
            });
            let stranger = Admin::new(&KafkaConfig {
                properties: told.collect(),
                ..self.kafka.clone()
            })?;
            let told = stranger.watermarks(&self.kafka.topic, STRANGER).await;
            ensure!(
                told.is_err(),
                "Kafka answers with the password {password:?}"
            );
        }
        Ok(())
    }

    /// Sends and reads all the while `disturbance` happens, waits until all is well, counts.
    async fn under_load(
        &mut self,
        project: &Project,
        name: &str,
        may_fail: Failures,
        disturbance: impl AsyncFnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let acked = project.path(format!("acked-{}", self.table.len()));
        let disturbed = self.addresses.disturbed(&acked, disturbance(self)).await;
        let (traffic, took) = disturbed.with_context(|| name.to_owned())?;
        traffic.acknowledged().await?;
        let ended = traffic.stop().await?;
        self.settled().await?;
        let count = Oracle::new(&self.clickhouse)?.count(&ended.sent).await?;
        self.acked.push(acked);
        let row = Row::new(name, count, ended, took);
        self.table.add(row, may_fail)
    }

    /// Inside the network, as a person would: everything in its place, record by record.
    async fn verify(&self, project: &Project) -> Result<String> {
        let receipts = project.path("receipts");
        let files = self.acked.iter().map(std::fs::read_to_string);
        let files: Vec<String> = files.collect::<Result<_, _>>()?;
        std::fs::write(&receipts, files.concat())?;
        // Who runs the tools is nobody here.
        std::fs::set_permissions(&receipts, PermissionsExt::from_mode(0o644))?;
        let mount = format!("{}:/receipts:ro", receipts.display());
        let arguments = ["verify", "--deep", "--receipts", "/receipts"];
        let said = project.tool(&["--volume", &mount], &arguments).await?;
        Ok(said.lines().last().unwrap_or_default().to_owned())
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
        let marks = self.admin.watermarks(&self.kafka.topic, ASK).await?;
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
