//! The engine's own program, and compose in a directory that is laid out as a user's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::repository;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// A project of compose: what is shipped, copied, with an `.env` of its own.
#[derive(Debug)]
pub(crate) struct Project {
    directory: tempfile::TempDir,
}

/// A container, as it was when it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Container(pub(crate) Value);

/// What a user has of the repository.
const SHIPPED: &[&str] = &["docker-compose.yml", ".env.example", "deploy"];

/// How long one command or one condition may take: health is asked every five seconds,
/// on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(250);

/// Waits until `check` says yes.
///
/// # Errors
/// Its own, or that it never did.
pub(crate) async fn eventually(
    what: &str,
    mut check: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !check().await? {
        ensure!(Instant::now() < end, "waited in vain for {what}");
        sleep(LOOK).await;
    }
    Ok(())
}

/// Runs `docker`; it must end well. Returns what it prints.
///
/// # Errors
/// With what it says.
pub(crate) async fn docker(arguments: &[&str]) -> Result<String> {
    run(Command::new("docker").args(arguments)).await
}

/// Our image, as `.env.example` names it.
///
/// # Errors
/// When it does not.
pub(crate) fn image() -> Result<String> {
    let choices = std::fs::read_to_string(repository().join(".env.example"))?;
    let mut lines = choices.lines();
    let image = lines.find_map(|line| line.strip_prefix("PLAUDIT_IMAGE="));
    Ok(image.context("PLAUDIT_IMAGE")?.to_owned())
}

impl Project {
    /// Lays it out, and makes `.env` as `make env` does.
    ///
    /// # Errors
    /// When it cannot be.
    pub(crate) async fn lay_out() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        // Containers that are not root read what is mounted.
        run(Command::new("chmod").arg("755").arg(directory.path())).await?;
        let mut copy = Command::new("cp");
        copy.arg("-R").args(SHIPPED).arg(directory.path());
        run(copy.current_dir(repository())).await?;
        for own in [".env", "deploy/etc"] {
            let own = directory.path().join(own);
            if own.is_dir() {
                std::fs::remove_dir_all(own)?;
            }
        }
        let project = Self { directory };
        let open = project.compose(&["config", "--quiet"]).await;
        ensure!(open.is_err(), "compose starts without an .env");
        run(&mut Command::new(project.path("deploy/env.sh"))).await?;
        Ok(project)
    }

    /// A path in it.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(path)
    }

    /// What `.env` says.
    ///
    /// # Errors
    /// When it has no such line.
    pub(crate) fn choice(&self, name: &str) -> Result<String> {
        let text = std::fs::read_to_string(self.path(".env"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        Ok(line.with_context(|| format!("no {name}"))?.to_owned())
    }

    /// Adds a line to `.env`, which is stronger than those before it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn choose(&self, name: &str, value: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.path(".env"))?;
        std::fs::write(self.path(".env"), format!("{text}{name}={value}\n"))?;
        Ok(())
    }

    /// Runs `docker compose`; it must end well. Returns what it prints.
    ///
    /// # Errors
    /// With what it says.
    pub(crate) async fn compose(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("docker");
        command.arg("compose").args(arguments);
        run(command.current_dir(self.directory.path())).await
    }

    /// Runs a command of the binary, as one does by hand.
    ///
    /// # Errors
    /// With what it says.
    pub(crate) async fn tool(&self, options: &[&str], arguments: &[&str]) -> Result<String> {
        let run = ["run", "--rm", "--no-deps", "--no-TTY", "--quiet-pull"];
        let all = [&run, options, &["tools"], arguments].concat();
        self.compose(&all).await
    }

    /// The containers of a service, also one that has ended.
    ///
    /// # Errors
    /// When the engine does not say.
    pub(crate) async fn containers(&self, service: &str) -> Result<Vec<Container>> {
        let ids = self.compose(&["ps", "--all", "--quiet", service]).await?;
        let mut containers = Vec::new();
        for id in ids.lines() {
            containers.push(Container::of(id).await?);
        }
        Ok(containers)
    }

    /// Kills one container of a service, and waits until the engine has it up again.
    ///
    /// The process is killed and not the container: what `docker kill` ends stays so.
    ///
    /// # Errors
    /// When it does not come back.
    pub(crate) async fn kill(&self, service: &str) -> Result<()> {
        let containers = self.containers(service).await?;
        let victim = containers.first().context("there is none to kill")?;
        let pid = victim.0["State"]["Pid"].as_i64().context("no pid")?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        let id = victim.id()?;
        eventually(&format!("{service} to come back"), async || {
            let now = Container::of(id).await?;
            let again = now.0["RestartCount"] != victim.0["RestartCount"];
            Ok(again && now.is_healthy())
        })
        .await
    }
}

impl Container {
    /// # Errors
    /// When the engine knows none of this name.
    pub(crate) async fn of(id: &str) -> Result<Self> {
        let text = docker(&["inspect", "--type", "container", id]).await?;
        Ok(Self(serde_json::from_str::<Value>(&text)?[0].take()))
    }

    fn id(&self) -> Result<&str> {
        self.0["Id"].as_str().context("no id")
    }

    /// Whether its own health check says so.
    pub(crate) fn is_healthy(&self) -> bool {
        self.0["State"]["Health"]["Status"] == "healthy"
    }
}

/// Ends whatever is left, so that the engine stops at once.
impl Drop for Project {
    fn drop(&mut self) {
        let down = ["compose", "--profile", "*", "kill"];
        let mut down_all = std::process::Command::new("docker");
        down_all.args(down).current_dir(self.directory.path());
        // The namespaces end with this process anyway.
        down_all.output().ok();
    }
}

async fn run(command: &mut Command) -> Result<String> {
    command
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null());
    let words = format!("{:?}", command.as_std());
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.with_context(|| format!("{words} does not end"))??;
    let [printed, said] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    ensure!(output.status.success(), "{words}: {printed}{said}");
    Ok(printed)
}
