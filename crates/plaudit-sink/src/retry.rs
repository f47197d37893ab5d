//! Asking ClickHouse again, as its verdict says.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use plaudit_service::Readiness;
use plaudit_store::{StoreError, Verdict};

use crate::config::RetryConfig;
use crate::metrics;

/// The condition of readiness that ClickHouse stands for.
pub(crate) const CLICKHOUSE: &str = "clickhouse";

/// Why a request was given up.
#[derive(Debug)]
pub(crate) struct GaveUp {
    pub(crate) why: Why,
    pub(crate) error: StoreError,
    /// Answers that were counted.
    pub(crate) attempts: usize,
    /// Whether an attempt went without an answer: it may be carried out still.
    pub(crate) unanswered: bool,
}

impl GaveUp {
    /// The same, after another try that may have gone without an answer.
    pub(crate) fn after(self, unanswered: bool) -> Self {
        Self {
            unanswered: self.unanswered || unanswered,
            ..self
        }
    }
}

/// What is known of a request that was given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    /// The server said no each time, and might have said yes.
    Exhausted,
    /// The server cannot take this data.
    Poison,
    /// The server ran out of memory or time each time: less of it might go through.
    TooMuch,
    /// The server will never take anything like it.
    Fatal,
}

/// How often a request is refused before it is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Refusals that count as attempts.
    pub(crate) attempts: usize,
    /// Times in a row that memory or time runs out. `None`: asked again for as long as it
    /// takes.
    pub(crate) too_much: Option<usize>,
}

/// Retries requests and tells readiness whether ClickHouse answers.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    config: RetryConfig,
    readiness: Readiness,
}

impl Retry {
    pub(crate) fn new(config: RetryConfig, readiness: Readiness) -> Self {
        Self { config, readiness }
    }

    /// Asks until there is an answer that stands.
    ///
    /// While nobody answers, or the server has too much to do, it waits for as long
    /// as it takes and counts no attempt (V4). Cancel safe: the request may have been
    /// carried out, as it may after a crash.
    ///
    /// # Errors
    /// [`GaveUp`] after `stop_after_attempt` refusals, or at once for poison and
    /// what is fatal.
    pub(crate) async fn ask<T, F>(
        &self,
        request: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, GaveUp>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.ask_with(self.patience(), request, call).await
    }

    /// That of most requests.
    pub(crate) fn patience(&self) -> Patience {
        Patience {
            attempts: self.config.stop_after_attempt,
            too_much: None,
        }
    }

    /// The same, with a patience of its own.
    pub(crate) async fn ask_with<T, F>(
        &self,
        patience: Patience,
        request: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, GaveUp>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let (mut attempts, mut too_much, mut unanswered) = (0, 0, false);
        let mut waits = self.waits();
        loop {
            let error = match call().await {
                Ok(answer) => {
                    metrics::attempt(None);
                    self.readiness.clear(CLICKHOUSE);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let verdict = error.verdict();
            metrics::attempt(Some(verdict));
            unanswered |= verdict == Verdict::Away;
            too_much = if error.may_be_too_much() {
                too_much + 1
            } else {
                0
            };
            let why = match verdict {
                Verdict::Poison => Why::Poison,
                Verdict::Fatal => Why::Fatal,
                Verdict::Retry if attempts + 1 >= patience.attempts => Why::Exhausted,
                Verdict::Retry => {
                    attempts += 1;
                    tracing::warn!(request, attempts, %error, "clickhouse refused: trying again");
                    tokio::time::sleep(waits.next().unwrap_or(self.config.max)).await;
                    continue;
                }
                Verdict::Away | Verdict::Busy if patience.too_much == Some(too_much) => {
                    Why::TooMuch
                }
                Verdict::Away | Verdict::Busy => {
                    self.note_waiting(request, &error);
                    tokio::time::sleep(waits.next().unwrap_or(self.config.max)).await;
                    continue;
                }
            };
            return Err(GaveUp {
                why,
                error,
                attempts: attempts + 1,
                unanswered,
            });
        }
    }

    /// Asks for what must be had: a refusal that might end is waited out. So is being
    /// told that data of ours is bad: it is not, and was harmed on its way.
    ///
    /// # Errors
    /// Only what is fatal.
    pub(crate) async fn insist<T, F>(
        &self,
        request: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match self.ask(request, &call).await {
                Ok(answer) => return Ok(answer),
                Err(GaveUp {
                    why: Why::Exhausted | Why::Poison | Why::TooMuch,
                    error,
                    ..
                }) => self.hold(request, &error).await,
                Err(GaveUp { error, .. }) => return Err(error),
            }
        }
    }

    /// Waits before what was refused for good is asked for once more; until it
    /// is answered, the sink is not ready.
    pub(crate) async fn hold(&self, request: &'static str, error: &StoreError) {
        self.readiness.block(CLICKHOUSE, error.to_string());
        tracing::error!(request, %error, "clickhouse refuses: holding until it does not");
        tokio::time::sleep(self.config.max).await;
    }

    /// Waits between attempts: exponential, with jitter, without end.
    pub(crate) fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.config.initial)
            .with_max_delay(self.config.max)
            .with_jitter()
            .without_max_times()
            .build()
    }

    fn note_waiting(&self, request: &'static str, error: &StoreError) {
        if self.readiness.is_ready() {
            tracing::warn!(request, %error, "clickhouse is away or busy: holding");
        }
        self.readiness.block(CLICKHOUSE, error.to_string());
    }
}
