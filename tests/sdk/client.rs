//! A vendor's client at work: a driver in the client's language, run as a program, and
//! what it says the client returned or raised.
//!
//! A driver prints a JSON object a line (`script.py`, `script.mjs`). One that asks to
//! settle is kept waiting until everything it sent is visible to readers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use support::DEADLINE;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::install;

/// Where a client sends to.
pub(crate) trait Settle {
    /// Waits until everything that was sent is visible to readers.
    async fn settled(&self) -> Result<()>;
}

/// A client that is installed.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    program: PathBuf,
    driver: PathBuf,
    home: PathBuf,
}

/// What a client returned or raised, by the names that the driver gave its calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(BTreeMap<String, Value>);

impl Client {
    /// A client for Python; its driver is the vendor's `driver.py`.
    ///
    /// # Errors
    /// When it cannot be installed.
    pub(crate) fn python(vendor: &str, version: &str) -> Result<Self> {
        Self::python_with(vendor, version, "driver.py")
    }

    /// The same with another driver.
    ///
    /// # Errors
    /// When it cannot be installed.
    pub(crate) fn python_with(vendor: &str, version: &str, driver: &str) -> Result<Self> {
        let program = install::python(vendor, version)?;
        let home = program.ancestors().nth(2).context("an environment")?;
        Ok(Self {
            home: home.to_owned(),
            driver: install::folder(vendor).join(driver),
            program,
        })
    }

    /// A client for JavaScript; its driver is the vendor's `driver.mjs`.
    ///
    /// # Errors
    /// When it cannot be installed.
    pub(crate) fn javascript(vendor: &str, version: &str) -> Result<Self> {
        let home = install::node(vendor, version)?;
        Ok(Self {
            program: PathBuf::from("node"),
            driver: home.join("driver.mjs"),
            home,
        })
    }

    /// Runs the driver to its end.
    ///
    /// # Errors
    /// When it fails, with what it wrote to stderr, or does not end.
    pub(crate) async fn run(&self, site: &impl Settle, arguments: &[&str]) -> Result<Said> {
        let mut child = self.command().args(arguments).spawn()?;
        let mut answers = child.stdin.take().context("stdin")?;
        let lines = BufReader::new(child.stdout.take().context("stdout")?);
        let mut stderr = child.stderr.take().context("stderr")?;
        let listen = async {
            let mut said = Said::default();
            let mut lines = lines.lines();
            while let Some(line) = lines.next_line().await? {
                let line: Value = serde_json::from_str(&line)
                    .with_context(|| format!("the driver printed {line:?}"))?;
                let Some(call) = line["call"].as_str() else {
                    site.settled().await?;
                    answers.write_all(b"\n").await?;
                    continue;
                };
                said.0.insert(call.to_owned(), line);
            }
            anyhow::Ok(said)
        };
        let mut complaint = String::new();
        let both = async { tokio::join!(listen, stderr.read_to_string(&mut complaint)) };
        let ended = tokio::time::timeout(DEADLINE, both).await;
        let (said, read) = ended.context("the driver does not end")?;
        read?;
        let (said, ended) = (said?, child.wait().await?);
        ensure!(ended.success(), "the driver failed: {complaint}\n{said:#?}");
        Ok(said)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // What the shell has set for a client, a proxy or a key, is not the test's.
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .env("HOME", &self.home)
            .env("PYTHONPATH", install::drivers())
            .env("PYTHONPYCACHEPREFIX", self.home.join("compiled"))
            .arg(&self.driver)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Said {
    /// What a call returned.
    ///
    /// # Panics
    /// When it raised, or was not made.
    pub(crate) fn returned(&self, call: &str) -> &Value {
        let line = self.line(call);
        let returned = line.get("returned");
        returned.unwrap_or_else(|| panic!("{call} raised: {line:#}"))
    }

    /// What a call raised says, which must be of this class and status.
    ///
    /// # Panics
    /// When it is not, or when the call returned.
    pub(crate) fn raised(&self, call: &str, class: &str, status: impl Into<Value>) -> &str {
        let line = self.line(call);
        let classes = line["raised"].as_array();
        let classes = classes.unwrap_or_else(|| panic!("{call} returned: {line:#}"));
        assert!(
            classes.iter().any(|known| known == class),
            "{call}: {line:#}"
        );
        assert_eq!(line["status"], status.into(), "{call}: {line:#}");
        line["text"].as_str().unwrap_or_default()
    }

    /// What a call came to, for comparing it with that of another server.
    pub(crate) fn line(&self, call: &str) -> &Value {
        let line = self.0.get(call);
        line.unwrap_or_else(|| panic!("the driver made no call {call}: {:#?}", self.0))
    }
}
