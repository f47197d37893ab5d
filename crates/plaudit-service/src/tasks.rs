//! Named tasks with one end.
//!
//! A service is a set of tasks that run until the stop signal. Whoever starts a
//! task names it; the set tells all of them to stop, waits, and says which one
//! did not. A task that ends early takes the service down with it: half a
//! service is worse than none, since its probes would still answer.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// The error that a task may end with, with its causes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The tasks of one service.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
    /// The tasks that outlive the others.
    watching: JoinSet<Result<(), BoxError>>,
    end: CancellationToken,
}

/// How a service failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A task ended although nobody told it to.
    #[error("task `{0}` ended early")]
    Early(&'static str),
    /// A task failed.
    #[error("task `{0}` failed")]
    Failed(&'static str, #[source] BoxError),
    /// A task panicked.
    #[error("task `{0}` panicked")]
    Panicked(&'static str, #[source] JoinError),
    /// Tasks that did not stop within the grace.
    #[error("tasks did not stop in time: {}", .0.join(", "))]
    Overran(Vec<&'static str>),
}

impl Tasks {
    /// The token that tells every task to stop. Cancel safe to wait for.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The token of [`start_watching`](Self::start_watching)'s tasks.
    pub fn end_token(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Starts a task that goes on while the others stop, until
    /// [`end_token`](Self::end_token) says that they have: probes and metrics.
    pub fn start_watching<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let handle = self
            .watching
            .spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Starts a task under a name.
    pub fn start<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let handle = self
            .set
            .spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Runs until `signal`, or until a task ends early; then stops the others.
    ///
    /// # Errors
    /// The first task that failed, or those that outlived `grace` and were
    /// dropped where they stood.
    pub async fn run(
        mut self,
        signal: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<(), TaskError> {
        let mut result = tokio::select! {
            biased;
            () = signal => Ok(()),
            Some(end) = self.set.join_next_with_id() => {
                self.settle(end).and_then(|name| Err(TaskError::Early(name)))
            }
            Some(end) = self.watching.join_next_with_id() => {
                self.settle(end).and_then(|name| Err(TaskError::Early(name)))
            }
        };
        self.stop.cancel();
        let drain = async {
            while let Some(end) = self.set.join_next_with_id().await {
                let settled = self.settle(end).map(drop);
                result = std::mem::replace(&mut result, Ok(())).and(settled);
            }
            self.end.cancel();
            while let Some(end) = self.watching.join_next_with_id().await {
                let settled = self.settle(end).map(drop);
                result = std::mem::replace(&mut result, Ok(())).and(settled);
            }
        };
        if tokio::time::timeout(grace, drain).await.is_err() {
            let alive = self.names.into_values().collect();
            result = result.and(Err(TaskError::Overran(alive)));
        }
        result
    }

    fn settle(
        &mut self,
        end: Result<(Id, Result<(), BoxError>), JoinError>,
    ) -> Result<&'static str, TaskError> {
        let id = end.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.names.remove(&id).unwrap_or("unnamed");
        match end {
            Ok((_, Ok(()))) => Ok(name),
            Ok((_, Err(error))) => Err(TaskError::Failed(name, error)),
            Err(error) => Err(TaskError::Panicked(name, error)),
        }
    }
}

/// Waits for SIGTERM or Ctrl-C. A second one ends the process at once.
///
/// # Errors
/// When the signals cannot be listened for.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: draining what is in flight; signal again to quit at once");
        // Outlives the service on purpose: it ends with the process.
        #[expect(
            clippy::disallowed_methods,
            reason = "has no end but the process's own"
        )]
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Never = std::convert::Infallible;

    #[tokio::test(start_paused = true)]
    async fn every_task_stops_on_the_signal() {
        let mut tasks = Tasks::default();
        let stop = tasks.stop_token();
        tasks.start("waits", async move {
            stop.cancelled().await;
            Ok::<_, Never>(())
        });
        assert!(tasks.run(async {}, Duration::from_secs(1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_watches_goes_on_until_the_others_have_stopped() {
        let mut tasks = Tasks::default();
        let (stop, end) = (tasks.stop_token(), tasks.end_token());
        let seen = end.clone();
        tasks.start("drains", async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(!seen.is_cancelled());
            Ok::<_, Never>(())
        });
        tasks.start_watching("watches", async move {
            end.cancelled().await;
            Ok::<_, Never>(())
        });
        assert!(tasks.run(async {}, Duration::from_secs(1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_stops_the_others() {
        let mut tasks = Tasks::default();
        let stop = tasks.stop_token();
        tasks.start("waits", async move {
            stop.cancelled().await;
            Ok::<_, Never>(())
        });
        tasks.start("ends", async { Ok::<_, Never>(()) });
        let result = tasks
            .run(std::future::pending(), Duration::from_secs(1))
            .await;
        assert!(matches!(result, Err(TaskError::Early("ends"))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_named() {
        let mut tasks = Tasks::default();
        tasks.start("stuck", std::future::pending::<Result<(), Never>>());
        let result = tasks.run(async {}, Duration::from_secs(1)).await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "tasks did not stop in time: stuck"
        );
    }
}
