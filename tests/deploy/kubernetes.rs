//! The chart, installed on a real Kubernetes with three brokers, and disturbed under load.
//!
//! Runs inside `engine.sh closed … cluster.sh`: the cluster is this program's alone and ends
//! with it. All namespaces that Plaudit is in enforce the restricted level of Pod Security.
//! The load comes to the Service's address, as it would from another node.
//!
//! For each disturbance the oracle of the fault suite counts: nothing that was acknowledged
//! is lost (**P1**, **P2**), nothing is seen twice (**P3**); a rollout answers no request with
//! a 5xx, and one of the sinks moves no partition.

mod cluster;
mod validate;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plaudit::drill::{Oracle, Sent};
use plaudit_store::ClickhouseConfig;
use serde_json::Value;
use support::{binary, repository, wait_until};
use tokio::time::Instant;

use crate::docker;
use crate::prepare::own_directory;
use crate::run::{Program, output};
use crate::table::{Failures, Row, Table};
use crate::traffic::Addresses;
use cluster::Cluster;

/// The images that are brought to the node: those of docker compose.
struct Images {
    plaudit: String,
    kafka: String,
    clickhouse: String,
}

/// An installed chart.
struct Site {
    cluster: Cluster,
    helm: Program,
    values: Vec<PathBuf>,
    image: String,
    addresses: Addresses,
    oracle: Oracle,
    directory: PathBuf,
    table: Table,
}

const NAMESPACE: &str = "plaudit";
const BACKEND: &str = "backend";
const PASSWORD: &str = "of the test";
/// `plaudit-three-brokers.yaml` asks for as many as the test's values say.
const PARTITIONS: usize = 12;
/// Of which pods there are.
const KINDS: [&str; 3] = ["sink", "intake", "query"];
/// Pods that are killed, one after another, and between two of them.
const KILLS: usize = 10;
const BETWEEN_KILLS: Duration = Duration::from_secs(3);

/// Installs, disturbs, counts.
///
/// # Errors
/// What does not hold; the logs of the pods are in `directory` then.
pub(crate) async fn check(cache: &Path) -> Result<Table> {
    let programs = &cache.join("bin");
    let directory = &own_directory("kubernetes")?;
    let images = &Images::shipped()?;
    let cluster = Cluster::new(programs)?;
    let loaded = [&images.plaudit, &images.kafka, &images.clickhouse];
    cluster.load(&loaded.map(String::as_str)).await?;
    validate::check(programs, &cluster).await?;
    let mut site = Site::install(programs, cluster, images, directory).await?;
    let disturbed = site.disturb().await;
    if disturbed.is_err() {
        site.cluster.keep_logs(&site.directory).await?;
    }
    disturbed?;
    Ok(site.table)
}

impl Images {
    fn shipped() -> Result<Self> {
        let compose = std::fs::read_to_string(repository().join("docker-compose.yml"))?;
        let named = |name: &str| {
            let mut images = compose
                .lines()
                .filter_map(|line| line.trim().strip_prefix("image: "));
            let image = images.find(|image| image.starts_with(name));
            Ok::<_, anyhow::Error>(image.with_context(|| name.to_owned())?.to_owned())
        };
        Ok(Self {
            plaudit: docker::image()?,
            kafka: named("apache/kafka:")?,
            clickhouse: named("clickhouse/clickhouse-server:")?,
        })
    }
}

impl Site {
    async fn install(
        programs: &Path,
        cluster: Cluster,
        images: &Images,
        directory: &Path,
    ) -> Result<Self> {
        let began = Instant::now();
        cluster.namespace(BACKEND, "baseline").await?;
        cluster.namespace(NAMESPACE, "restricted").await?;
        let key = secrets(&cluster, directory).await?;
        let own = repository().join("tests/deploy/kubernetes");
        let backend = std::fs::read_to_string(own.join("backend.yaml"))?
            .replace("KAFKA_IMAGE", &images.kafka)
            .replace("CLICKHOUSE_IMAGE", &images.clickhouse);
        cluster.apply(BACKEND, &backend).await?;

        // Without waiting for Kafka and ClickHouse: that is what the pods are ready after.
        let chart = repository().join("deploy/kubernetes/chart");
        let values = vec![
            chart.join("values-three-brokers.yaml"),
            own.join("values.yaml"),
        ];
        let helm = Program::new(programs.join("helm"));
        let mut site = Self {
            addresses: Addresses {
                intake: String::new(),
                query: String::new(),
                key,
            },
            oracle: Oracle::new(&ClickhouseConfig::default())?,
            image: images.plaudit.clone(),
            helm,
            values,
            cluster,
            directory: directory.to_owned(),
            table: Table::of("Kubernetes"),
        };
        site.helm("install", &[]).await?;
        site.addresses.intake = site.cluster.url(NAMESPACE, "plaudit-intake", 8080).await?;
        site.addresses.query = site.cluster.url(NAMESPACE, "plaudit-query", 8081).await?;
        site.oracle = Oracle::new(&ClickhouseConfig {
            url: site.cluster.url(BACKEND, "clickhouse", 8123).await?,
            user: "plaudit".to_owned(),
            password: PASSWORD.to_owned().into(),
            ..ClickhouseConfig::default()
        })?;
        site.table.note(format!(
            "`helm install --wait` took {:.0} s, Kafka and ClickHouse included",
            began.elapsed().as_secs_f64()
        ));
        Ok(site)
    }

    async fn disturb(&mut self) -> Result<()> {
        let restart = |workload: &'static str| {
            async move |site: &Self| site.cluster.restart(NAMESPACE, workload).await
        };
        self.under_load("undisturbed", Failures::None, async |_: &Self| Ok(()))
            .await?;
        self.under_load(
            "rollout of intake",
            Failures::None,
            restart("deployment/plaudit-intake"),
        )
        .await?;
        self.under_load(
            "rollout of sink",
            Failures::None,
            restart("statefulset/plaudit-sink"),
        )
        .await?;
        self.no_partition_moved().await?;
        self.under_load(
            "rollout of query",
            Failures::None,
            restart("deployment/plaudit-query"),
        )
        .await?;
        self.under_load("helm upgrade", Failures::None, async |site: &Self| {
            site.helm("upgrade", &["--set", "config.sink.batch.max_age=500ms"])
                .await
        })
        .await?;
        self.under_load("a pod of each deleted", Failures::None, delete_pods)
            .await?;
        self.under_load("a kill -9 every few seconds", Failures::Some, kill_pods)
            .await?;
        self.verify().await
    }

    /// Sends and reads all the while `disturbance` happens, waits until all is well, counts.
    async fn under_load(
        &mut self,
        name: &str,
        may_fail: Failures,
        disturbance: impl AsyncFnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let acked = self.directory.join(format!("acked-{}", self.table.len()));
        let disturbed = self.addresses.disturbed(&acked, disturbance(self)).await;
        let (traffic, took) = disturbed.with_context(|| name.to_owned())?;
        // Behind it too, until all pods are as they were.
        self.settled().await?;
        traffic.acknowledged().await?;
        let ended = traffic.stop().await?;
        let count = self.counted(&ended.sent).await?;
        let row = Row::new(name, count, ended, took);
        self.table.add(row, may_fail)
    }

    /// Waits until nothing is on its way, which is lost to a count that is made too early.
    async fn counted(&self, sent: &Sent) -> Result<plaudit::drill::Count> {
        let counted = wait_until("all that was acknowledged to be stored", async || {
            Ok(self
                .oracle
                .count(sent)
                .await
                .is_ok_and(|count| count.lost == 0))
        });
        // What is still missing then is said by the count.
        counted.await.ok();
        self.oracle.count(sent).await
    }

    async fn settled(&self) -> Result<()> {
        for workload in [
            "deployment/plaudit-intake",
            "statefulset/plaudit-sink",
            "deployment/plaudit-query",
        ] {
            self.cluster.rolled_out(NAMESPACE, workload).await?;
        }
        Ok(())
    }

    /// The sinks were restarted one by one. Each has its partitions from before, and had them
    /// from its start on: the last pod that was restarted has seen nothing move, nor has any.
    async fn no_partition_moved(&mut self) -> Result<()> {
        let mut started = 0;
        for pod in self.cluster.pods(NAMESPACE, "sink").await? {
            let log = self.cluster.log(NAMESPACE, &pod).await?;
            for moved in ["partitions are taken away", "partitions were lost"] {
                ensure!(!log.contains(moved), "{pod}: {moved}");
            }
            started += log.matches("partition started").count();
        }
        ensure!(
            started == PARTITIONS,
            "partitions were started {started} times in a roll"
        );
        self.table.note(format!(
            "the rollout of the sinks started each of {PARTITIONS} partitions once, where it was"
        ));
        Ok(())
    }

    /// `plaudit verify`, as the runbook says it: in a pod of its own, with other words than the
    /// CronJob's.
    async fn verify(&mut self) -> Result<()> {
        const JOB: &str = "job/by-hand";
        let from = [
            "create",
            "job",
            "by-hand",
            "--from=cronjob/plaudit-verify",
            "--dry-run=client",
            "--output=json",
        ];
        let mut job: Value = serde_json::from_str(&self.cluster.kubectl(NAMESPACE, &from).await?)?;
        let words = job.pointer_mut("/spec/template/spec/containers/0/args");
        let words = words.and_then(Value::as_array_mut).context("args")?;
        words.splice(..1, ["verify".into(), "--deep".into()]);
        self.cluster.apply(NAMESPACE, &job.to_string()).await?;
        let ended = ["wait", JOB, "--for=condition=Complete", "--timeout=3m"];
        self.cluster.kubectl(NAMESPACE, &ended).await?;
        let said = self.cluster.kubectl(NAMESPACE, &["logs", JOB]).await?;
        self.table.note(format!(
            "`plaudit verify --deep`: {}",
            said.lines().last().unwrap_or_default()
        ));
        Ok(())
    }

    async fn helm(&self, verb: &str, further: &[&str]) -> Result<()> {
        let chart = repository()
            .join("deploy/kubernetes/chart")
            .display()
            .to_string();
        let (repository, tag) = self
            .image
            .rsplit_once(':')
            .context("an image and its tag")?;
        let image = format!("image.repository={repository},image.tag={tag}");
        let values: Vec<String> = self
            .values
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let mut arguments = vec![
            verb,
            "plaudit",
            &chart,
            "--namespace",
            NAMESPACE,
            "--set",
            &image,
        ];
        arguments.extend(values.iter().flat_map(|values| ["--values", values]));
        arguments.extend(["--wait", "--wait-for-jobs", "--timeout", "9m"]);
        arguments.extend(further);
        self.helm.run(&arguments).await?;
        Ok(())
    }
}

/// A pod of each kind, as a node that is drained deletes them.
async fn delete_pods(site: &Site) -> Result<()> {
    for kind in KINDS {
        let pods = site.cluster.pods(NAMESPACE, kind).await?;
        let pod = pods.first().context("a pod")?;
        let delete = ["delete", "pod", pod, "--timeout=2m"];
        site.cluster.kubectl(NAMESPACE, &delete).await?;
        site.settled().await?;
    }
    Ok(())
}

/// A pod of each kind in turn, and of those of a kind. Kubernetes starts its container again,
/// at once the first time.
async fn kill_pods(site: &Site) -> Result<()> {
    for number in 0..KILLS {
        let kind = KINDS.get(number % KINDS.len()).context("a kind")?;
        let pods = site.cluster.pods(NAMESPACE, kind).await?;
        let pod = pods.get(number / KINDS.len() % pods.len().max(1));
        site.cluster.kill(NAMESPACE, pod.context("a pod")?).await?;
        tokio::time::sleep(BETWEEN_KILLS).await;
    }
    Ok(())
}

/// Makes the Secrets that the values name, and a key.
async fn secrets(cluster: &Cluster, directory: &Path) -> Result<String> {
    let file = directory.join("keys.toml").display().to_string();
    let plaudit = Program::new(binary()?);
    let create = [
        "keys",
        "create",
        "--project",
        "demo",
        "--scope",
        "write,read",
        "--file",
        &file,
    ];
    let key = output(plaudit.run(&create).await?)?.trim().to_owned();
    let literal = |name: &str, value: &str| format!("--from-literal={name}={value}");
    let keys = format!("--from-file=keys.toml={file}");
    let password = literal("password", PASSWORD);
    let tokens = literal("secret", "signs what a browser may send once");
    for (namespace, name, content) in [
        (NAMESPACE, "plaudit-keys", &keys),
        (NAMESPACE, "plaudit-clickhouse", &password),
        (NAMESPACE, "plaudit-tokens", &tokens),
        (BACKEND, "clickhouse", &password),
    ] {
        cluster
            .kubectl(namespace, &["create", "secret", "generic", name, content])
            .await?;
    }
    Ok(key)
}
