//! The background: a bounded queue, and the one task that empties it.
//!
//! One request is under way at a time, so what was queued first arrives first: a
//! patch never overtakes the feedback that it is about. What goes elsewhere must
//! not depend on that order.

use std::borrow::Borrow;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::builder::OnGivenUp;
use crate::deliver::{Delivery, Verdict};
use crate::item::Item;
use crate::{BatchLimits, GivenUp, Reason};

/// What the task is told.
pub(crate) enum Message {
    /// Deliver this.
    Deliver(Queued),
    /// Deliver everything before this, then say so.
    Flush(oneshot::Sender<()>),
    /// Take no more; deliver what is there.
    Close,
}

/// An item in the queue.
pub(crate) struct Queued {
    pub(crate) item: Item,
    pub(crate) since: Instant,
    /// Who waits for the receipt. A batch with somebody waiting is sent at once.
    pub(crate) waiting: Option<oneshot::Sender<Verdict>>,
    /// The item's share of `max_queued_bytes`, given back when it is settled.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// The task's state. Dropping it reports what it still holds.
pub(crate) struct Worker {
    pub(crate) messages: mpsc::Receiver<Message>,
    pub(crate) limits: BatchLimits,
    pub(crate) delivery: Delivery,
    pub(crate) on_given_up: OnGivenUp,
    pub(crate) batch: Vec<Queued>,
}

/// Why a batch is closed.
enum Closed {
    /// A limit was reached, or somebody waits for an item of it.
    Full,
    /// Somebody waits for all of it.
    Flush(oneshot::Sender<()>),
}

impl Borrow<Item> for Queued {
    fn borrow(&self) -> &Item {
        &self.item
    }
}

// === impl Worker ===

impl Worker {
    /// Runs until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        while let Some(message) = self.messages.recv().await {
            let closed = self.fill(message).await;
            let on_given_up = Arc::clone(&self.on_given_up);
            self.delivery
                .deliver(&mut self.batch, |queued, verdict| {
                    settle(&on_given_up, queued, verdict);
                })
                .await;
            if let Closed::Flush(flushed) = closed {
                // Whoever asked may have stopped waiting.
                flushed.send(()).ok();
            }
        }
    }

    /// Collects a batch that begins with `message`.
    async fn fill(&mut self, message: Message) -> Closed {
        let mut next = Some(message);
        let mut bytes = 0;
        let mut due = Instant::now() + self.limits.max_age;
        while let Some(message) = next {
            match message {
                Message::Flush(flushed) => return Closed::Flush(flushed),
                Message::Close => self.messages.close(),
                Message::Deliver(queued) => {
                    bytes += queued.item.json.len();
                    due = due.min(queued.since + self.limits.max_age);
                    let awaited = queued.waiting.is_some();
                    self.batch.push(queued);
                    let full = self.batch.len() >= self.limits.max_events
                        || bytes >= self.limits.max_bytes;
                    if full || awaited {
                        return Closed::Full;
                    }
                }
            }
            next = tokio::select! {
                // What is there already goes along, even when the batch is due.
                biased;
                message = self.messages.recv() => message,
                () = sleep_until(due) => None,
            };
        }
        Closed::Full
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut report = |queued| settle(&self.on_given_up, queued, Err(Reason::Dropped));
        self.batch.drain(..).for_each(&mut report);
        self.messages.close();
        while let Ok(message) = self.messages.try_recv() {
            if let Message::Deliver(queued) = message {
                report(queued);
            }
        }
    }
}

/// Tells whoever waits for the item, or the callback; never both.
fn settle(on_given_up: &OnGivenUp, queued: Queued, verdict: Verdict) {
    let Queued { item, waiting, .. } = queued;
    match (waiting, verdict) {
        (Some(waiting), verdict) => {
            // Whoever waited may be gone; the item is settled all the same.
            waiting.send(verdict).ok();
        }
        (None, Ok(_)) => {}
        (None, Err(reason)) => on_given_up(GivenUp {
            id: item.id,
            reason: &reason,
            item: &item.json,
        }),
    }
}
