//! A program of the benchmark that runs: a service, or a floor of one.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use plaudit::up::{Child, ChildSpec, Probe, Stopped, Tether};

use crate::process::Process;

/// A child process, tethered: it does not outlive the runner.
#[derive(Debug)]
pub struct Service {
    /// Where it listens, if it does.
    pub address: SocketAddr,
    /// What is measured of it.
    pub process: Process,
    child: Child,
    ready: Option<Probe>,
}

/// What to start.
#[derive(Debug)]
pub(crate) struct Program {
    /// What it is called in tables; a floor and its product share a name.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) address: SocketAddr,
    /// How one finds out that it is ready.
    pub(crate) ready: Option<Probe>,
    pub(crate) log: PathBuf,
    /// The `plaudit` that ties it to us.
    pub(crate) tether: PathBuf,
}

const READY_PATIENCE: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(30);

impl Service {
    pub(crate) async fn launch(program: Program) -> anyhow::Result<Self> {
        let child = Child::start(ChildSpec {
            name: program.name,
            program: program.program,
            arguments: program.arguments,
            environment: Vec::new(),
            log: program.log,
            tether: Tether::Tied(program.tether),
        })
        .await
        .with_context(|| format!("start {}", program.name))?;
        let process = Process {
            name: program.name,
            pid: u32::try_from(child.pid())?,
        };
        Ok(Self {
            address: program.address,
            process,
            child,
            ready: program.ready,
        })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time, with the last lines of its log.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let Some(probe) = &self.ready else {
            return Ok(());
        };
        let why = tokio::select! {
            ready = probe.wait(READY_PATIENCE) => match ready {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            ended = self.child.wait() => format!("it ended: {}", ended?),
        };
        bail!(
            "{} is not ready: {why}\n{}",
            self.process.name,
            self.last_lines()
        )
    }

    /// Its last words.
    pub fn last_lines(&self) -> String {
        self.child.last_lines(10).join("\n")
    }

    /// Ends it as an operator does; what is in flight is carried to its end.
    ///
    /// # Errors
    /// When it had to be killed: then something of it is wrong, and so is the measure.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        match self.child.stop(STOP_GRACE).await? {
            Stopped::Ended(_) => Ok(()),
            Stopped::Killed => bail!("{} did not end:\n{}", self.process.name, self.last_lines()),
        }
    }
}
