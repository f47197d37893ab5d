//! One process of a case: started, killed, frozen, and started again at the same place.
//!
//! It never outlives the runner: it is tied to it, and dropping it kills it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plaudit::up::{Child, ChildSpec, Probe, Stopped};
use tokio::time::timeout;

/// A process that can be had again.
#[derive(Debug)]
pub(crate) struct Part {
    spec: ChildSpec,
    probe: Probe,
    child: Option<Child>,
    frozen: bool,
}

/// A JVM on a busy machine, a large directory: far beyond what a start takes.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// A little more than a service gives itself to drain.
const GRACE: Duration = Duration::from_secs(45);

impl Part {
    /// A part that does not run yet.
    pub(crate) fn new(spec: ChildSpec, probe: Probe) -> Self {
        Self {
            spec,
            probe,
            child: None,
            frozen: false,
        }
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.launch().await?;
        self.ready().await
    }

    /// Starts it and does not wait.
    pub(crate) async fn launch(&mut self) -> Result<()> {
        let child = Child::start(self.spec.clone()).await;
        let child = child.with_context(|| format!("start {}", self.spec.name))?;
        self.child = Some(child);
        self.frozen = false;
        Ok(())
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let name = self.spec.name;
        let child = self.child.as_mut().context("it does not run")?;
        let failure = tokio::select! {
            ready = self.probe.wait(READY_PATIENCE) => match ready {
                Ok(()) => return Ok(()),
                Err(why) => format!("{name} is not ready: {why}"),
            },
            ended = child.wait() => format!("{name} ended: {}", ended?),
        };
        bail!("{failure}\n{}", child.last_lines(15).join("\n"))
    }

    /// SIGKILL. Nothing is said before, nothing is flushed.
    /// Fails when it had ended by itself: that was not asked of it.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        if let Ok(status) = timeout(Duration::ZERO, child.wait()).await {
            let (name, lines) = (self.spec.name, child.last_lines(15).join("\n"));
            bail!(
                "{name} had ended before it was killed ({}): {lines}",
                status?
            );
        }
        child.kill().await?;
        Ok(())
    }

    /// SIGSTOP: it keeps its connections and its memory, and does nothing.
    pub(crate) fn freeze(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        self.frozen = true;
        Ok(())
    }

    /// SIGCONT: it goes on where it was, and knows of nothing.
    pub(crate) fn thaw(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)?;
        self.frozen = false;
        Ok(())
    }

    /// SIGTERM, and expects that it ends well.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        match child.stop(GRACE).await? {
            Stopped::Ended(status) if status.success() => Ok(()),
            other => bail!(
                "{} does not stop well: {other:?}\n{}",
                self.spec.name,
                child.last_lines(15).join("\n")
            ),
        }
    }

    /// Waits for its end by itself; returns what it said last.
    pub(crate) async fn failed(&mut self) -> Result<String> {
        let mut child = self.child.take().context("it does not run")?;
        let ended = tokio::time::timeout(READY_PATIENCE, child.wait()).await;
        let status = ended.with_context(|| format!("{} goes on", self.spec.name))??;
        if status.success() {
            bail!("{} ended well", self.spec.name);
        }
        Ok(child.last_lines(20).join("\n"))
    }

    /// Makes sure that it runs, whatever was done to it.
    pub(crate) async fn heal(&mut self) -> Result<()> {
        if self.frozen {
            self.thaw()?;
        }
        if self.child.is_none() {
            self.launch().await?;
        }
        self.ready().await
    }

    /// What it is started with from now on.
    pub(crate) fn spec_mut(&mut self) -> &mut ChildSpec {
        &mut self.spec
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub(crate) fn pid(&self) -> Result<i32> {
        let child = self.child.as_ref();
        Ok(child.context("it does not run")?.pid())
    }

    pub(crate) fn log_path(&self) -> &Path {
        &self.spec.log
    }

    /// Everything that all its lives wrote.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.spec.log)?)
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(&PathBuf::from(format!("/proc/{}/status", self.pid()?)))
    }

    /// The number of a metric with these labels, as it writes them; 0 where there is none.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let Probe::Http(ready) = &self.probe else {
            bail!("{} has no metrics", self.spec.name);
        };
        let url = ready.replace("/readyz", "/metrics");
        let text = support::http_client().get(url).send().await?.text().await?;
        let mut samples = text.lines().filter_map(|line| line.rsplit_once(' '));
        let sample = samples.find(|(sample, _)| *sample == name);
        Ok(sample.map_or(Ok(0.0), |(_, number)| number.parse())?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid()?), signal)?)
    }
}

/// The resident memory that a file of `/proc` says, in bytes.
pub(crate) fn resident_bytes(status: &Path) -> Result<u64> {
    let status = std::fs::read_to_string(status)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = kilobytes.context("no VmRSS")?.parse()?;
    Ok(kilobytes << 10)
}
