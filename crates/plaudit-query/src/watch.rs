//! Waiting for receipts: one look at the ledger for all who wait.
//!
//! However many requests wait, ClickHouse sees one query each
//! `query.receipts.poll_interval`, and none while nobody waits.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use plaudit_event::{Outcome, Receipt};
use plaudit_store::read::{Reader, Settled};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{ReceiptsConfig, metrics};

/// Hands receipts to the [`Watcher`]. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct LedgerWatch(mpsc::Sender<Waiter>);

/// As many requests wait as may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyWait;

/// Looks at the ledger for those who wait.
#[derive(Debug)]
pub(crate) struct Watcher {
    reader: Reader,
    arrivals: mpsc::Receiver<Waiter>,
    poll_interval: Duration,
    max_waiting: usize,
}

/// A request that waits until none of its receipts is pending.
#[derive(Debug)]
struct Waiter {
    pending: Vec<Receipt>,
    settled: oneshot::Sender<()>,
}

/// The most receipts of one query.
const RECEIPTS_A_QUERY: usize = 10_000;

/// The longest pause between two looks while the ledger cannot be read.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Whether waiting for more is of no use.
pub(crate) fn is_settled(settled: Option<&Settled>) -> bool {
    settled.is_some_and(|settled| settled.outcome != Outcome::Pending)
}

pub(crate) fn new(reader: Reader, config: &ReceiptsConfig) -> (LedgerWatch, Watcher) {
    let (sender, arrivals) = mpsc::channel(config.max_waiting);
    let watcher = Watcher {
        reader,
        arrivals,
        poll_interval: config.poll_interval,
        max_waiting: config.max_waiting,
    };
    (LedgerWatch(sender), watcher)
}

impl LedgerWatch {
    /// Waits until none of `receipts` is pending, or until the service stops:
    /// what became of them is then to be read.
    ///
    /// Cancel safe: who stops waiting is forgotten.
    pub(crate) async fn settled(&self, pending: Vec<Receipt>) -> Result<(), TooManyWait> {
        let (settled, wait) = oneshot::channel();
        match self.0.try_send(Waiter { pending, settled }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(TooManyWait),
            // Stopping: there is nothing to wait for.
            Err(TrySendError::Closed(_)) => return Ok(()),
        }
        // An error is a watcher that stopped.
        wait.await.or(Ok(()))
    }
}

impl Watcher {
    /// Runs until `stop`, and lets go of all who wait then.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut waiting = Vec::new();
        let mut pause = self.poll_interval;
        loop {
            let arrived = tokio::select! {
                () = stop.cancelled() => break,
                arrived = self.arrivals.recv(), if waiting.is_empty() => arrived,
                () = tokio::time::sleep(pause), if !waiting.is_empty() => None,
            };
            waiting.extend(arrived);
            while waiting.len() < self.max_waiting
                && let Ok(waiter) = self.arrivals.try_recv()
            {
                waiting.push(waiter);
            }
            waiting.retain(|waiter: &Waiter| !waiter.settled.is_closed());
            metrics::waiting(waiting.len());
            let looked = tokio::select! {
                () = stop.cancelled() => break,
                looked = self.look(&waiting) => looked,
            };
            let (found, is_whole) = looked;
            pause = match is_whole {
                true => self.poll_interval,
                false => (pause * 2).min(MAX_PAUSE),
            };
            waiting = waiting
                .into_iter()
                .filter_map(|waiter| waiter.told(&found))
                .collect();
        }
        metrics::waiting(0);
    }

    /// What the ledger knows of all that is waited for, and whether it could be read
    /// whole: what could not is no news to those who wait.
    async fn look(&self, waiting: &[Waiter]) -> (HashMap<Receipt, Settled>, bool) {
        let receipts: HashSet<&Receipt> =
            waiting.iter().flat_map(|waiter| &waiter.pending).collect();
        let mut receipts: Vec<Receipt> = receipts.into_iter().cloned().collect();
        // So that those of one place are asked for together.
        receipts.sort_unstable_by(|one, other| {
            let place = |receipt: &Receipt| (receipt.partition, receipt.offset);
            (&one.topic, place(one)).cmp(&(&other.topic, place(other)))
        });
        let mut found = HashMap::new();
        let mut is_whole = true;
        for some in receipts.chunks(RECEIPTS_A_QUERY) {
            match self.reader.receipts(some).await {
                Ok(known) => found.extend(known),
                Err(error) => {
                    tracing::debug!(%error, "cannot read the ledger for those who wait");
                    is_whole = false;
                }
            }
        }
        (found, is_whole)
    }
}

impl Waiter {
    /// The waiter with what is still pending; `None` when nothing is, and it
    /// was told.
    fn told(mut self, found: &HashMap<Receipt, Settled>) -> Option<Self> {
        self.pending
            .retain(|receipt| !is_settled(found.get(receipt)));
        if !self.pending.is_empty() {
            return Some(self);
        }
        // One that is gone needs no answer.
        self.settled.send(()).unwrap_or_default();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_is_told_when_none_of_its_receipts_is_pending() {
        let receipt = |text: &str| text.parse::<Receipt>().unwrap();
        let known = |outcome| Settled {
            outcome,
            reason: String::new(),
        };
        let (settled, mut wait) = oneshot::channel();
        let waiter = Waiter {
            pending: vec![receipt("t:0:1"), receipt("t:0:2")],
            settled,
        };

        let mut found = HashMap::from([
            (receipt("t:0:1"), known(Outcome::Stored)),
            (receipt("t:0:2"), known(Outcome::Pending)),
        ]);
        let waiter = waiter.told(&found).expect("one is pending");
        assert_eq!(waiter.pending, [receipt("t:0:2")]);
        assert!(wait.try_recv().is_err());

        found.insert(receipt("t:0:2"), known(Outcome::DeadLettered));
        assert!(waiter.told(&found).is_none());
        assert!(wait.try_recv().is_ok());
    }
}
