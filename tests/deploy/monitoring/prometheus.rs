//! Debian's Prometheus, started with the rules as shipped.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plaudit::up::{Listener, Ports};
use serde_json::Value;
use support::{Api, repository, wait_until};
use tokio::process::{Child, Command};

/// One that runs; dropping it kills it.
pub(crate) struct Prometheus {
    api: Api,
    child: Child,
}

/// Something to scrape.
pub(crate) struct Target {
    job: &'static str,
    path: &'static str,
    address: String,
}

impl Target {
    pub(crate) fn new(job: &'static str, path: &'static str, address: String) -> Self {
        Self { job, path, address }
    }
}

impl Prometheus {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(
        programs: &Path,
        directory: &Path,
        targets: &[Target],
    ) -> Result<Self> {
        let shipped = repository().join("deploy/prometheus");
        let jobs = std::fs::read_to_string(shipped.join("prometheus.yml"))?;
        let jobs: Vec<&str> = jobs
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- job_name: "))
            .collect();
        let ours: Vec<&str> = targets.iter().map(|target| target.job).collect();
        ensure!(jobs == ours, "the shipped jobs are others: {jobs:?}");

        std::fs::create_dir_all(directory)?;
        let file = directory.join("prometheus.yml");
        std::fs::write(&file, configuration(&shipped, targets)?)?;
        let mut ports = Ports::free();
        ports.claim(&[Listener::Query], Duration::ZERO).await?;
        let address = ports.address(Listener::Query);
        let log = std::fs::File::create(directory.join("log"))?;
        let child = Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start Prometheus")?;
        let api = Api::new(&format!("http://{address}"));
        let ready = wait_until("Prometheus to be ready", async || {
            Ok(api
                .get("/-/ready")
                .await
                .is_ok_and(|answer| answer.status == 200))
        });
        ready.await?;
        Ok(Self { api, child })
    }

    /// Whether an instant query gives a number, now. A quantile of nothing is none.
    pub(crate) async fn has_data(&self, query: &str) -> Result<bool> {
        let answer = self
            .api
            .get(&format!("/api/v1/query?query={}", escaped(query)))
            .await?;
        ensure!(answer.status == 200, "{query}: {}", answer.text);
        let result = answer.json["data"]["result"].as_array();
        let result = result.with_context(|| format!("{query}: {}", answer.text))?;
        Ok(result.iter().any(|sample| sample["value"][1] != "NaN"))
    }

    /// Name and expression of every rule that is loaded, recording and alerting.
    pub(crate) async fn rules(&self) -> Result<Vec<(String, String)>> {
        let answer = self.api.get("/api/v1/rules").await?;
        let groups = answer.json["data"]["groups"].as_array().context("groups")?;
        let rules = groups.iter().flat_map(|group| group["rules"].as_array());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let named = rules
            .flatten()
            .map(|rule| (text(&rule["name"]), text(&rule["query"])));
        Ok(named.collect())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("stop Prometheus")
    }
}

/// A text as a parameter of a URL.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn configuration(shipped: &Path, targets: &[Target]) -> Result<String> {
    let mut text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [\"{}/rules/*.yml\"]\n\
         scrape_configs:\n",
        shipped.display()
    );
    for Target { job, path, address } in targets {
        writeln!(
            text,
            "  - {{job_name: {job}, metrics_path: {path}, static_configs: [{{targets: [\"{address}\"]}}]}}"
        )?;
    }
    Ok(text)
}
