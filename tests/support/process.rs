//! The built `plaudit`, as child processes.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plaudit::up::{Child, ChildSpec, Listener, Ports, Stopped, Tether};
use tempfile::TempDir;

use crate::api::Api;
use crate::log::Log;
use crate::sql::Database;
use crate::wait::{DEADLINE, wait_until};
use crate::wire::Wire;
use crate::{backend, binary, repository, unique_name};

/// A service of the built binary, with a directory of its own.
#[derive(Debug)]
pub struct Process {
    /// Its API, where it has one.
    pub api: Api,
    /// Its metrics and probes.
    pub observe: Api,
    /// The engine of `standalone`.
    clickhouse_url: String,
    child: Child,
    log: PathBuf,
    _directory: TempDir,
}

/// How long a process may drain.
const GRACE: Duration = Duration::from_secs(45);

impl Process {
    /// Starts a service on free ports, told where broker and engine are, and waits until
    /// it is ready.
    ///
    /// # Errors
    /// When it does not become ready, with the end of its log.
    pub async fn start(service: &'static str, settings: &[(&str, String)]) -> Result<Self> {
        let mut process = Self::launch(service, settings).await?;
        let observe = process.observe.clone();
        let ready = wait_until("the process to be ready", async || {
            Ok(observe
                .get("/readyz")
                .await
                .is_ok_and(|answer| answer.status == 200))
        });
        tokio::select! {
            ready = ready => ready.with_context(|| process.last_lines())?,
            ended = process.child.wait() => bail!("{service} ended ({}): {}", ended?, process.last_lines()),
        }
        Ok(process)
    }

    /// Starts a service and does not wait.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub async fn launch(service: &'static str, settings: &[(&str, String)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let listeners = [
            Listener::Intake,
            Listener::IntakeMetrics,
            Listener::Query,
            Listener::Clickhouse,
        ];
        let mut ports = Ports::free();
        ports.claim(&listeners, Duration::ZERO).await?;
        let [api, observe, query, clickhouse] = listeners.map(|listener| ports.address(listener));
        let log = directory.path().join("log");
        let mut arguments = arguments(service, api, observe, settings);
        if service == "standalone" {
            let parts = repository().join(".plaudit/parts");
            arguments.extend([
                "--dir".into(),
                directory.path().into(),
                "--parts".into(),
                parts.into(),
            ]);
            arguments.extend(["--listen".into(), clickhouse.to_string().into()]);
            arguments.extend(["--set".into(), format!("query.listen={query}").into()]);
        }
        let child = Child::start(ChildSpec {
            name: service,
            program: binary()?,
            arguments,
            environment: Vec::new(),
            log: log.clone(),
            tether: Tether::Tied(binary()?),
        })
        .await?;
        Ok(Self {
            api: Api::new(&format!("http://{api}")),
            clickhouse_url: format!("http://{clickhouse}"),
            observe: Api::new(&format!("http://{observe}")),
            child,
            log,
            _directory: directory,
        })
    }

    /// A database of the engine of `standalone`.
    pub fn database(&self, name: &str) -> Database {
        Database::new(&self.clickhouse_url, name)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.pid()), signal)?)
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(kilobytes.parse::<u64>()? * 1024)
    }

    /// A sample of its metrics, by name and labels.
    ///
    /// # Errors
    /// When it does not answer, or has no such sample.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.observe.get("/metrics").await?.text;
        let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
        let mut values = samples.filter(|(sample, _)| *sample == name);
        let (_, value) = values.next().with_context(|| format!("no {name}"))?;
        Ok(value.parse()?)
    }

    /// A bare connection to its API.
    ///
    /// # Errors
    /// When there is none.
    pub async fn connect(&self) -> Result<Wire> {
        Wire::connect(self.api.base()).await
    }

    /// Everything that it wrote.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Waits for its end by itself; returns its exit code.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(&mut self) -> Result<Option<i32>> {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        Ok(ended.context("the process does not end")??.code())
    }

    /// Asks it to stop, and expects that it does, successfully.
    ///
    /// # Errors
    /// When it fails, or has to be killed.
    pub async fn stop(mut self) -> Result<String> {
        match self.child.stop(GRACE).await? {
            Stopped::Ended(status) if status.success() => {
                let log = self.log()?;
                Log::of_process().add_refused_commits(&log);
                Ok(log)
            }
            other => bail!("{other:?}: {}", self.last_lines()),
        }
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// When the system does not say how it ended.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    fn last_lines(&self) -> String {
        self.child.last_lines(20).join("\n")
    }
}

fn arguments(
    service: &str,
    api: SocketAddr,
    observe: SocketAddr,
    settings: &[(&str, String)],
) -> Vec<OsString> {
    let backend = backend();
    let listen = match service {
        "query" => "query.listen",
        _ => "intake.listen",
    };
    let own = [
        (listen, api.to_string()),
        ("observe.listen", observe.to_string()),
        ("kafka.brokers", backend.brokers.clone()),
        ("clickhouse.url", backend.clickhouse_url.clone()),
    ];
    let mut arguments = vec![service.into()];
    for (key, value) in own.iter().chain(settings) {
        arguments.extend(["--set".into(), format!("{key}={value}").into()]);
    }
    arguments
}

/// For a command to end: `verify --deep` reads millions of records on a busy machine.
const COMMAND: Duration = Duration::from_secs(300);

/// Runs the built binary to its end in a directory; returns its output.
///
/// # Errors
/// When it cannot be run.
pub async fn command(directory: &Path, arguments: &[&str]) -> Result<std::process::Output> {
    let mut command = tokio::process::Command::new(binary()?);
    command
        .args(arguments)
        .current_dir(directory)
        .kill_on_drop(true);
    let ended = tokio::time::timeout(COMMAND, command.output()).await;
    Ok(ended.context("the command does not end")??)
}

/// Runs a tool of the built binary to its end, told where broker and engine are.
///
/// # Errors
/// When it cannot be run.
pub async fn tool(settings: &[(&str, String)], arguments: &[&str]) -> Result<std::process::Output> {
    let backend = backend();
    let addresses = [
        ("kafka.brokers", backend.brokers.clone()),
        ("clickhouse.url", backend.clickhouse_url.clone()),
    ];
    let mut all: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    for (key, value) in addresses.iter().chain(settings) {
        all.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    command(tempfile::tempdir()?.path(), &all).await
}

/// Settings that give a process a topic, a group and a database of its own.
pub fn own_names() -> (String, Vec<(&'static str, String)>) {
    let name = unique_name();
    let settings = vec![
        ("kafka.topic", name.clone()),
        ("kafka.group", name.clone()),
        ("kafka.metrics_topic", format!("{name}.metrics")),
        ("kafka.partitions", "3".to_owned()),
        ("clickhouse.database", name.clone()),
        ("auth.mode", "open".to_owned()),
    ];
    (name, settings)
}
