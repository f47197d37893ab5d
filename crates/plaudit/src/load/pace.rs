//! Which events the next request carries, and when it should leave.
//!
//! Open loop with a rate: request `n` is due at its own time whatever became of the
//! others, and its latency counts from then, so that a server which stalls cannot hide
//! it by holding up the requests behind (coordinated omission). Without a rate a
//! request is due when a connection is free.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// When the load ends.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// After this many events.
    Events(u64),
    /// After this long.
    Duration(Duration),
}

/// Hands out turns to all connections.
pub(crate) struct Pace {
    next: AtomicU64,
    extent: Extent,
    batch: NonZeroU64,
    /// Events a second.
    rate: Option<f64>,
    start: Instant,
    stop: CancellationToken,
}

/// One request to make.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The first event.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u64,
    /// When to send it; `None` is at once.
    pub(crate) due: Option<Instant>,
}

impl Pace {
    pub(crate) fn start(
        extent: Extent,
        batch: NonZeroU64,
        rate: Option<f64>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            next: AtomicU64::new(0),
            extent,
            batch,
            rate,
            start: Instant::now(),
            stop,
        }
    }

    pub(crate) fn start_time(&self) -> Instant {
        self.start
    }

    /// The next request, until the extent is reached or the load is stopped.
    pub(crate) fn turn(&self) -> Option<Turn> {
        if self.stop.is_cancelled() {
            return None;
        }
        let first = self.next.fetch_add(self.batch.get(), Ordering::Relaxed);
        let due = self.rate.map(|rate| {
            #[expect(clippy::cast_precision_loss, reason = "exact for 2^53 events")]
            let seconds = first as f64 / rate;
            self.start + Duration::from_secs_f64(seconds)
        });
        let count = match self.extent {
            Extent::Events(events) => events.saturating_sub(first).min(self.batch.get()),
            Extent::Duration(length) if due.unwrap_or_else(Instant::now) < self.start + length => {
                self.batch.get()
            }
            Extent::Duration(_) => 0,
        };
        (count > 0).then_some(Turn { first, count, due })
    }

    /// Waits until a turn is due. `None` when the load is stopped first.
    pub(crate) async fn wait(&self, turn: &Turn) -> Option<Instant> {
        let Some(due) = turn.due else {
            return Some(Instant::now());
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            () = tokio::time::sleep_until(due) => Some(due),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(extent: Extent, rate: Option<f64>) -> Pace {
        Pace::start(
            extent,
            NonZeroU64::new(100).unwrap(),
            rate,
            CancellationToken::new(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_request_carries_the_rest() {
        let pace = pace(Extent::Events(250), None);
        let counts: Vec<u64> = std::iter::from_fn(|| pace.turn())
            .map(|turn| turn.count)
            .collect();
        assert_eq!(counts, [100, 100, 50]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_due_at_its_own_time_however_late_the_others_are() {
        let pace = pace(Extent::Duration(Duration::from_secs(1)), Some(200.0));
        let first = pace.turn().unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        let second = pace.turn().unwrap();
        assert_eq!(
            second.due.unwrap() - first.due.unwrap(),
            Duration::from_millis(500)
        );
        assert_eq!(pace.wait(&second).await, second.due);
        assert!(pace.turn().is_none(), "the third is due when the load ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_load_has_no_more_turns() {
        let pace = pace(Extent::Events(1000), Some(1.0));
        pace.turn();
        let waits = pace.turn().unwrap();
        pace.stop.cancel();
        assert_eq!(pace.wait(&waits).await, None);
        assert!(pace.turn().is_none());
    }
}
