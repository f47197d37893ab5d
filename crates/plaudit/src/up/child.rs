//! One child process: started tied to us, logged to a file, stopped with a grace.
//!
//! A child is the leader of its own process group, so that Ctrl-C at the terminal
//! reaches the supervisor alone and the children stop in its order. What a child
//! writes goes straight to its log file: there is no pipe that could fill, or break
//! when we are gone.
//!
//! The invariant: **no child outlives us**, even when we are killed with no chance to
//! say goodbye. On Linux the kernel sends SIGTERM to a child whose parent is gone; see
//! [`tether`](super::tether).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use plaudit_service::Secret;
use tokio::process::{Child as Process, Command};
use tokio::time::timeout;

use super::tether::{self, Tether};

/// What to start, and where its output goes.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Its name in messages.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables on top of ours.
    pub environment: Vec<(String, Secret)>,
    /// The file that gets its standard output and standard error.
    pub log: PathBuf,
    /// How the child is tied to our life.
    pub tether: Tether,
}

/// A child process that runs, or has run. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    spec: ChildSpec,
    process: Process,
    pid: Pid,
    /// Where in the log this life of the child begins.
    log_start: u64,
}

/// A log that is larger than this when its child starts is put aside.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// How much of a log's end is looked at for its last lines.
const TAIL_BYTES: u64 = 16 << 10;

impl Child {
    /// Starts a child.
    ///
    /// # Errors
    ///
    /// When the log cannot be opened or the program cannot be run.
    pub async fn start(spec: ChildSpec) -> io::Result<Self> {
        let (log, log_start) = open_log(&spec)?;
        let (program, arguments) = spec.tether.wrap(&spec.program, &spec.arguments);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(
                spec.environment
                    .iter()
                    .map(|(key, value)| (key, value.expose())),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        let process = tether::spawn(command).await?;
        let pid = process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the child has no pid"))?;
        fs::write(pid_file(&spec.log), pid.to_string())?;
        Ok(Self {
            spec,
            process,
            pid,
            log_start,
        })
    }

    /// The child's name in messages.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// The child's pid, which is also its process group.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits until the child has ended. Cancel safe.
    ///
    /// # Errors
    ///
    /// When the system does not say how it ended.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        fs::remove_file(pid_file(&self.spec.log)).ok();
        // A grandchild that lives on would hold the child's ports.
        self.signal_group(Signal::SIGKILL);
        Ok(status)
    }

    /// Asks the child to end, and kills it when it has not within `grace`.
    ///
    /// # Errors
    ///
    /// When the system does not say how it ended.
    pub async fn stop(&mut self, grace: Duration) -> io::Result<Stopped> {
        // ESRCH: it has ended by itself meanwhile, and is waited for all the same.
        kill(self.pid, Signal::SIGTERM).ok();
        if let Ok(status) = timeout(grace, self.wait()).await {
            return status.map(Stopped::Ended);
        }
        self.kill().await?;
        Ok(Stopped::Killed)
    }

    /// Kills the child and whatever it started.
    ///
    /// # Errors
    ///
    /// When the system does not say how it ended.
    pub async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal_group(Signal::SIGKILL);
        self.wait().await
    }

    /// The last lines that this life of the child has written, at most `count`.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = self.tail().unwrap_or_default();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let skipped = lines.len().saturating_sub(count);
        lines.into_iter().skip(skipped).map(str::to_owned).collect()
    }

    fn tail(&self) -> io::Result<String> {
        let mut log = File::open(&self.spec.log)?;
        let length = log.metadata()?.len();
        let start = length.saturating_sub(TAIL_BYTES).max(self.log_start);
        log.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        log.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn signal_group(&self, signal: Signal) {
        // ESRCH: nobody is left in the group, which is what is wanted.
        killpg(self.pid, signal).ok();
    }
}

/// How a child that was told to stop has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stopped {
    /// By itself, within its grace.
    Ended(ExitStatus),
    /// It was killed after its grace.
    Killed,
}

/// The file that has the child's pid while it lives, beside its log.
pub(super) fn pid_file(log: &Path) -> PathBuf {
    log.with_extension("pid")
}

fn open_log(spec: &ChildSpec) -> io::Result<(File, u64)> {
    if let Some(directory) = spec.log.parent() {
        fs::create_dir_all(directory)?;
    }
    if fs::metadata(&spec.log).is_ok_and(|log| log.len() > MAX_LOG_BYTES) {
        fs::rename(&spec.log, spec.log.with_extension("log.1"))?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&spec.log)?;
    let length = log.metadata()?.len();
    Ok((log, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(directory: &tempfile::TempDir, script: &str) -> ChildSpec {
        ChildSpec {
            name: "shell",
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("GREETING".to_owned(), "hello".to_owned().into())],
            log: directory.path().join("logs/shell.log"),
            tether: Tether::Loose,
        }
    }

    /// Waits until the child has written a line, which is when its traps are set.
    async fn started(child: &Child) {
        while child.last_lines(1).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn the_last_lines_are_those_of_this_life() {
        let directory = tempfile::tempdir().unwrap();
        for life in ["one", "two"] {
            let script = format!("echo $GREETING; echo {life} >&2");
            let mut child = Child::start(shell(&directory, &script)).await.unwrap();
            assert!(child.wait().await.unwrap().success());
            assert_eq!(child.last_lines(5), ["hello", life]);
            assert_eq!(child.last_lines(1), [life]);
        }
        let log = fs::read_to_string(directory.path().join("logs/shell.log")).unwrap();
        assert_eq!(log, "hello\none\nhello\ntwo\n");
    }

    #[tokio::test]
    async fn a_child_is_asked_before_it_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let script = "trap 'echo asked; exit 7' TERM; echo up; while :; do sleep 0.01; done";
        let mut child = Child::start(shell(&directory, script)).await.unwrap();
        started(&child).await;
        let pid = fs::read_to_string(pid_file(&directory.path().join("logs/shell.log")));
        assert_eq!(pid.unwrap(), child.pid().to_string());
        let stopped = child.stop(Duration::from_secs(60)).await.unwrap();
        assert!(!pid_file(&directory.path().join("logs/shell.log")).exists());
        let Stopped::Ended(status) = stopped else {
            panic!("killed");
        };
        assert_eq!(status.code(), Some(7));
    }

    #[tokio::test]
    async fn a_deaf_child_is_killed_after_its_grace_with_all_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; sleep 600 & echo up; wait; wait";
        let mut child = Child::start(shell(&directory, script)).await.unwrap();
        started(&child).await;
        let group = Pid::from_raw(child.pid());
        let stopped = child.stop(Duration::from_millis(1)).await.unwrap();
        assert_eq!(stopped, Stopped::Killed);
        // Reaped by init in its own time: until then the group exists, dead.
        while killpg(group, None).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
