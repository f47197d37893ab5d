//! A stack that runs, as another process finds it: for tools that a person starts
//! beside `plaudit up`.
//!
//! The stack writes down where it is when all of it is ready, and takes that back when it
//! stops. What was left by a stack that was killed counts for nothing: the lock on the
//! directory says whether one runs. Secrets of the environment are not written down.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::child::pid_file;
use super::lock::DirectoryLock;
use super::probe::Probe;
use super::stack::{Member, log_path};
use crate::config::{Setting, Sources};

/// A running stack.
#[derive(Clone, Debug)]
pub struct Found {
    directory: PathBuf,
    described: Described,
}

/// What a stack says of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Described {
    /// Its configuration file.
    pub(super) file: Option<PathBuf>,
    /// `section.key=value`, the later one wins.
    pub(super) settings: Vec<String>,
    /// Its members, and how one finds out that they are ready.
    pub(super) members: Vec<(Member, Probe)>,
}

const FILE: &str = "stack.json";

impl Found {
    /// Looks for the stack of a directory.
    ///
    /// # Errors
    /// When none runs there, or not all of it is ready yet.
    pub fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let shown = directory.display();
        if !DirectoryLock::is_held(directory)? {
            bail!("no `plaudit up` runs in {shown}: start one, or name its directory with --dir");
        }
        let text = fs::read_to_string(directory.join(FILE))
            .with_context(|| format!("the stack in {shown} is not ready yet"))?;
        Ok(Self {
            directory: directory.to_owned(),
            described: serde_json::from_str(&text).context("read what the stack says of itself")?,
        })
    }

    /// What tells a tool where this stack is, over its own environment.
    ///
    /// # Errors
    /// When the stack's settings cannot be read, which is a defect.
    pub fn sources(&self, own: &Sources) -> anyhow::Result<Sources> {
        let settings = self.described.settings.iter();
        let settings: Result<Vec<Setting>, String> = settings.map(|text| text.parse()).collect();
        Ok(Sources {
            file: self.described.file.clone(),
            environment: own.environment.clone(),
            settings: settings.map_err(anyhow::Error::msg)?,
        })
    }

    /// The pid of a member's present life. The supervisor is its parent, so the pid is
    /// nobody else's while there is a file.
    ///
    /// # Errors
    /// When it does not live at the moment.
    pub fn pid(&self, member: Member) -> anyhow::Result<i32> {
        let pid = fs::read_to_string(self.pid_file(member));
        let pid = pid.with_context(|| format!("{member} does not run"))?;
        pid.trim().parse().context("read a pid")
    }

    /// Whether this is a part of the stack.
    pub fn has(&self, member: Member) -> bool {
        let mut members = self.described.members.iter();
        members.any(|(of, _)| *of == member)
    }

    /// Waits until every member is ready.
    ///
    /// # Errors
    /// What one of them lacks after `patience`.
    pub async fn ready(&self, patience: Duration) -> anyhow::Result<()> {
        for (member, probe) in &self.described.members {
            let ready = probe.wait(patience).await.map_err(anyhow::Error::msg);
            ready.with_context(|| format!("{member} is not ready"))?;
        }
        Ok(())
    }

    /// How long a member has lived.
    ///
    /// # Errors
    /// When it does not live at the moment.
    pub fn age(&self, member: Member) -> anyhow::Result<Duration> {
        let born = fs::metadata(self.pid_file(member)).and_then(|file| file.modified());
        let born = born.with_context(|| format!("{member} does not run"))?;
        Ok(born.elapsed().unwrap_or_default())
    }

    fn pid_file(&self, member: Member) -> PathBuf {
        pid_file(&log_path(&self.directory, member.name()))
    }
}

impl Described {
    /// Writes it down in the stack's directory, for its owner alone.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        let file = directory.join(FILE);
        let new = file.with_extension("new");
        let mut open = File::options();
        open.write(true).create(true).truncate(true).mode(0o600);
        open.open(&new)?.write_all(text.as_bytes())?;
        fs::rename(new, file)
    }

    /// Takes it back.
    pub(super) fn remove(directory: &Path) {
        // There is none where the stack never was ready.
        fs::remove_file(directory.join(FILE)).ok();
    }
}
