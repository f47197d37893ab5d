//! Programs of other people, run to their end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// A program and what it always gets.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

/// Far beyond what anything takes; an installation waits for images and JVMs.
const PATIENCE: Duration = Duration::from_secs(600);

impl Program {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be run, does not end, or ends with anything but 0: then with what it
    /// said.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.feed(arguments, "").await
    }

    /// The same with something to read.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) async fn feed(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let said = format!("{name} {}", arguments.join(" "));
        let mut child = Command::new(&self.path)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| said.clone())?;
        let mut stdin = child.stdin.take().context("a standard input")?;
        let input = input.as_bytes().to_vec();
        let fed = async move {
            // One that ends without reading says why by itself.
            stdin.write_all(&input).await.ok();
        };
        let ended = async { tokio::join!(fed, child.wait_with_output()).1 };
        let output = timeout(PATIENCE, ended)
            .await
            .with_context(|| format!("{said} does not end"))??;
        if output.status.success() {
            return Ok(output);
        }
        bail!(
            "{said}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }
}

/// What it wrote to its standard output.
pub(crate) fn output(output: Output) -> Result<String> {
    String::from_utf8(output.stdout).context("read the output as text")
}
