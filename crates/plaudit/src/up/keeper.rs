//! Keeps children alive: starts them again with backoff, gives up on one that cannot
//! live, and stops all of them in order.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::child::{Child, ChildSpec, Stopped};
use crate::console::say;

/// When a child that dies is started again, and when no more.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The wait before the first new start; it doubles with each quick death.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// A life shorter than this is a quick death.
    pub quick: Duration,
    /// So many quick deaths in a row, and the child cannot live.
    pub quick_deaths: u32,
}

/// A child that cannot live.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot live ({how}); its last lines, from {log}:\n{}", indented(.lines))]
pub struct CannotLive {
    /// The child.
    pub name: &'static str,
    /// How it ended the last time.
    pub how: String,
    /// Its log file.
    pub log: String,
    /// The last lines that it wrote.
    pub lines: Vec<String>,
}

/// The children of one supervisor, in the order in which they were started.
#[derive(Debug)]
pub struct Keeper {
    patience: Patience,
    children: JoinSet<Result<(), CannotLive>>,
    order: Vec<Kept>,
    kill: CancellationToken,
}

#[derive(Debug)]
struct Kept {
    /// Cancelled by us: the child has to stop.
    stop: CancellationToken,
    /// Cancelled by the child's life, however it ends.
    over: CancellationToken,
}

/// One child's life after life.
struct Life {
    spec: ChildSpec,
    grace: Duration,
    patience: Patience,
    stop: CancellationToken,
    kill: CancellationToken,
    _over: DropGuard,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(10),
            quick: Duration::from_secs(10),
            quick_deaths: 5,
        }
    }
}

impl Keeper {
    /// A keeper of no children yet.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            children: JoinSet::new(),
            order: Vec::new(),
            kill: CancellationToken::new(),
        }
    }

    /// Starts a child and keeps it alive from here on.
    ///
    /// `grace` is how long it may take to stop before it is killed.
    pub fn keep(&mut self, spec: ChildSpec, grace: Duration) {
        let stop = CancellationToken::new();
        let over = CancellationToken::new();
        let life = Life {
            spec,
            grace,
            patience: self.patience,
            stop: stop.clone(),
            kill: self.kill.clone(),
            _over: over.clone().drop_guard(),
        };
        self.children.spawn(life.live());
        self.order.push(Kept { stop, over });
    }

    /// Waits until a child turns out to be unable to live. Cancel safe; for ever when
    /// there is no child.
    pub async fn failed(&mut self) -> CannotLive {
        loop {
            match self.children.join_next().await {
                Some(Ok(Err(error))) => return error,
                // Only a child that was told to stop ends well, and nobody was told.
                Some(Ok(Ok(())) | Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Stops all children, the last one started first, each before the next.
    pub async fn stop(&mut self) {
        while let Some(kept) = self.order.pop() {
            kept.stop.cancel();
            kept.over.cancelled().await;
        }
    }

    /// Makes every stop, under way or to come, a kill.
    pub fn kill_token(&self) -> CancellationToken {
        self.kill.clone()
    }
}

impl Life {
    async fn live(self) -> Result<(), CannotLive> {
        let name = self.spec.name;
        let mut quick_deaths = 0;
        loop {
            let born = Instant::now();
            let (how, lines) = match Child::start(self.spec.clone()).await {
                Err(error) => (format!("cannot be started: {error}"), Vec::new()),
                Ok(mut child) => {
                    tokio::select! {
                        status = child.wait() => (describe(status), child.last_lines(15)),
                        () = self.stop.cancelled() => {
                            self.end(child).await;
                            return Ok(());
                        }
                    }
                }
            };
            if born.elapsed() >= self.patience.quick {
                quick_deaths = 0;
            }
            quick_deaths += 1;
            if quick_deaths >= self.patience.quick_deaths {
                return Err(CannotLive {
                    name,
                    how,
                    log: self.spec.log.display().to_string(),
                    lines,
                });
            }
            let wait = self.wait(quick_deaths);
            say(format_args!(
                "{name} died ({how}); starting it again in {}",
                humantime::format_duration(wait)
            ));
            tokio::select! {
                () = sleep(wait) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Ends a child that is told to stop: with its grace, or at once.
    async fn end(&self, mut child: Child) {
        let name = self.spec.name;
        let grace = self.grace;
        let stopped = tokio::select! {
            biased;
            () = self.kill.cancelled() => None,
            stopped = child.stop(grace) => Some(stopped),
        };
        let stopped = match stopped {
            Some(stopped) => stopped,
            None => child.kill().await.map(|_| Stopped::Killed),
        };
        match stopped {
            Ok(Stopped::Ended(_)) => {}
            Ok(Stopped::Killed) if self.kill.is_cancelled() => {
                say(format_args!("{name} was killed"));
            }
            Ok(Stopped::Killed) => say(format_args!(
                "{name} had not stopped after {} and was killed",
                humantime::format_duration(grace)
            )),
            Err(error) => say(format_args!("cannot say how {name} ended: {error}")),
        }
    }

    fn wait(&self, quick_deaths: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(quick_deaths.saturating_sub(1));
        self.patience
            .first_wait
            .saturating_mul(doubled)
            .min(self.patience.longest_wait)
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

fn indented(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::tether::Tether;
    use std::fs;
    use std::path::Path;

    const EAGER: Patience = Patience {
        first_wait: Duration::ZERO,
        longest_wait: Duration::ZERO,
        quick: Duration::from_secs(3600),
        quick_deaths: 3,
    };

    fn shell(name: &'static str, directory: &Path, script: &str) -> ChildSpec {
        ChildSpec {
            name,
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            log: directory.join(format!("{name}.log")),
            tether: Tether::Loose,
        }
    }

    async fn lines(log: &Path, wanted: usize) -> String {
        loop {
            let text = fs::read_to_string(log).unwrap_or_default();
            if text.lines().count() >= wanted {
                return text;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_child_that_cannot_live_is_given_up_with_its_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(EAGER);
        keeper.keep(
            shell("short", directory.path(), "echo no such luck; exit 3"),
            Duration::ZERO,
        );
        let error = keeper.failed().await;
        assert_eq!(error.lines, ["no such luck"]);
        assert!(
            error
                .to_string()
                .starts_with("short cannot live (exit status: 3)"),
            "{error}"
        );
        let lives = fs::read_to_string(directory.path().join("short.log")).unwrap();
        assert_eq!(lives.lines().count(), 3);
        // Stopping what is over already is no wait.
        keeper.stop().await;
    }

    #[tokio::test]
    async fn a_killed_child_is_started_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(EAGER);
        keeper.keep(
            shell("kept", directory.path(), "echo $$; exec sleep 600"),
            Duration::from_secs(60),
        );
        let log = directory.path().join("kept.log");
        let pid = lines(&log, 1).await.trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
        let pids = lines(&log, 2).await;
        assert_ne!(pids.lines().next(), pids.lines().nth(1));
        keeper.stop().await;
    }

    #[tokio::test]
    async fn children_stop_in_the_order_opposite_to_their_start() {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal");
        let mut keeper = Keeper::new(EAGER);
        for name in ["first", "second", "third"] {
            let script = format!(
                "trap 'echo {name} >> {}; exit 0' TERM; echo up; while :; do sleep 0.01; done",
                journal.display()
            );
            keeper.keep(
                shell(name, directory.path(), &script),
                Duration::from_secs(60),
            );
        }
        for name in ["first", "second", "third"] {
            lines(&directory.path().join(format!("{name}.log")), 1).await;
        }
        keeper.stop().await;
        assert_eq!(
            fs::read_to_string(journal).unwrap(),
            "third\nsecond\nfirst\n"
        );
    }

    #[tokio::test]
    async fn a_kill_does_not_wait_for_the_grace() {
        let directory = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(EAGER);
        keeper.keep(
            shell(
                "deaf",
                directory.path(),
                "trap '' TERM; echo up; while :; do sleep 0.01; done",
            ),
            Duration::from_secs(3600),
        );
        lines(&directory.path().join("deaf.log"), 1).await;
        keeper.kill_token().cancel();
        keeper.stop().await;
    }
}
