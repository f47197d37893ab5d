//! How the sink batches, retries and gives up (`sink.*`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The sink's settings.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinkConfig {
    /// When a batch closes.
    pub batch: BatchConfig,
    /// How often a batch that ClickHouse refuses is sent again.
    pub retry: RetryConfig,
    /// What becomes of records whose attempts are used up.
    pub on_exhausted: OnExhausted,
    /// What becomes of records that left the log before they were stored.
    pub on_expired: OnExpired,
    /// Patches and retractions.
    pub changes: ChangesConfig,
    /// Batches under way at a time. More than one keeps ClickHouse busy while the
    /// next is sent; each costs up to `batch.max_bytes` of memory twice.
    pub max_in_flight: usize,
    /// How long work that has begun may take when a partition is taken away or
    /// the sink is told to stop. What is not done by then is done again by
    /// whoever has the partition next.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

/// When a batch closes: at whichever limit comes first (`sink.batch.*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Records that close a batch. Larger batches make fewer, larger parts.
    pub max_rows: usize,
    /// Bytes that close a batch: encoded rows and the records they came from.
    pub max_bytes: usize,
    /// Age of the oldest record that closes a batch, such as `"1s"`.
    ///
    /// This bounds how stale a read can be while traffic is light.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
}

/// Attempts at what ClickHouse refuses (`sink.retry.*`).
///
/// An attempt is an answer: while nobody answers, the sink waits and counts none.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Attempts in all, at least 1.
    pub stop_after_attempt: usize,
    /// The wait after the first; each further one is twice as long, with jitter.
    #[serde(with = "humantime_serde")]
    pub initial: Duration,
    /// The longest wait.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
}

/// What becomes of records whose attempts are used up (`sink.on_exhausted`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// They go to the dead-letter topic, and the sink goes on.
    #[default]
    DeadLetter,
    /// The sink goes on trying, and its partitions wait.
    Hold,
}

/// What to do when the log no longer has the next record to store (`sink.on_expired`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpired {
    /// The sink stops and says which: a person may still have them elsewhere.
    #[default]
    Stop,
    /// They are written down as expired, and the sink goes on after them.
    Skip,
}

/// Patches and retractions (`sink.changes.*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChangesConfig {
    /// How long a patch waits for its feedback before it is dead-lettered.
    #[serde(with = "humantime_serde")]
    pub give_up_after: Duration,
    /// How far two intakes' clocks may be apart: a patch this much older than a
    /// put still applies to it.
    #[serde(with = "humantime_serde")]
    pub clock_skew: Duration,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            batch: BatchConfig::default(),
            retry: RetryConfig::default(),
            on_exhausted: OnExhausted::default(),
            on_expired: OnExpired::default(),
            changes: ChangesConfig::default(),
            max_in_flight: 2,
            drain: Duration::from_secs(20),
        }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            max_rows: 50_000,
            // So that narrow events close a batch by their number: what ClickHouse
            // spends on an event falls with the rows of a part.
            max_bytes: 28 << 20,
            max_age: Duration::from_secs(1),
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            stop_after_attempt: 10,
            initial: Duration::from_millis(200),
            max: Duration::from_secs(10),
        }
    }
}

impl Default for ChangesConfig {
    fn default() -> Self {
        Self {
            give_up_after: Duration::from_secs(24 * 3600),
            clock_skew: Duration::from_secs(1),
        }
    }
}

impl SinkConfig {
    /// Every problem, by the key that the user typed.
    pub fn problems(&self) -> Vec<String> {
        let positive = [
            ("sink.batch.max_rows", self.batch.max_rows),
            ("sink.batch.max_bytes", self.batch.max_bytes),
            (
                "sink.retry.stop_after_attempt",
                self.retry.stop_after_attempt,
            ),
            ("sink.max_in_flight", self.max_in_flight),
        ];
        let mut problems: Vec<String> = positive
            .iter()
            .filter(|(_, number)| *number == 0)
            .map(|(key, _)| format!("{key}: must be at least 1"))
            .collect();
        if self.retry.initial > self.retry.max {
            problems.push("sink.retry.initial: must be at most sink.retry.max".to_owned());
        }
        if u32::try_from(self.batch.max_bytes).is_err() {
            problems.push("sink.batch.max_bytes: must be below 4 GiB".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problems_and_zeros_do() {
        assert_eq!(SinkConfig::default().problems(), Vec::<String>::new());
        let mut config = SinkConfig::default();
        config.batch.max_rows = 0;
        config.retry.initial = Duration::from_secs(99);
        assert_eq!(config.problems().len(), 2);
    }
}
