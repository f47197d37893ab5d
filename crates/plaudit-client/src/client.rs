//! The client that an application holds.

use std::borrow::Borrow;
use std::sync::Arc;

use plaudit_event::{Feedback, Patch, Receipt, Text, identity};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::builder::OnGivenUp;
use crate::deliver::{Delivery, Verdict};
use crate::item::{Item, Operation};
use crate::queue::{Message, Queued, Worker};
use crate::{Api, BatchLimits, ClientBuilder, Error, Reason};

/// Sends feedback, in the background or while the caller waits.
///
/// Cloning is cheap and shares the queue. Call [`close`](Client::close) before the
/// last clone goes: dropped without it, the client gives up what is still queued.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    queue: mpsc::Sender<Message>,
    /// Bytes that may still be queued.
    room: Arc<Semaphore>,
    delivery: Delivery,
    limits: BatchLimits,
    /// The background task: awaited by `close`, aborted when dropped.
    task: Mutex<JoinSet<()>>,
}

/// An item with its place in the caller's list.
struct Placed {
    place: usize,
    item: Item,
}

/// A feedback with a new id (UUIDv7), which says nothing yet.
pub fn feedback<'a>(trace_id: impl Into<Text<'a>>, metric: impl Into<Text<'a>>) -> Feedback<'a> {
    Feedback::new(identity::new(), trace_id, metric)
}

// === impl Client ===

impl Client {
    /// Sets up a client of the intake at `base_url`, such as `http://127.0.0.1:8080`.
    pub fn builder(base_url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(base_url)
    }

    pub(crate) fn start(
        delivery: Delivery,
        limits: BatchLimits,
        on_given_up: OnGivenUp,
        runtime: &Handle,
    ) -> Self {
        let (queue, messages) = mpsc::channel(limits.max_queued_events.max(1));
        let worker = Worker {
            messages,
            limits,
            delivery: delivery.clone(),
            on_given_up,
            batch: Vec::new(),
        };
        let mut task = JoinSet::new();
        task.spawn_on(worker.run(), runtime);
        let room = limits.max_queued_bytes.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            queue,
            room: Arc::new(Semaphore::new(room)),
            delivery,
            limits,
            task: Mutex::new(task),
        }))
    }

    /// Queues a feedback and returns its id at once.
    ///
    /// What cannot be delivered later reaches the callback of
    /// [`ClientBuilder::on_given_up`].
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Closed`] or [`Error::Encode`]: it is not queued,
    /// and the callback will not hear of it.
    pub fn create_feedback(&self, feedback: &Feedback<'_>) -> Result<Uuid, Error> {
        let item = Item::encode(&Operation::Put(feedback))?;
        let id = item.id;
        self.0.enqueue(item, None)?;
        Ok(id)
    }

    /// Sends one feedback now and waits for its receipt, apart from the queue.
    ///
    /// # Errors
    /// [`Error::GivenUp`] when it was rejected, refused, or not confirmed within
    /// [`stop_after_attempt`](crate::RetryPolicy::stop_after_attempt) requests.
    pub async fn send(&self, feedback: &Feedback<'_>) -> Result<Receipt, Error> {
        let mut verdicts = self.send_all(std::slice::from_ref(feedback)).await?;
        // One goes in, so one comes out.
        verdicts
            .pop()
            .unwrap_or(Err(Reason::Dropped))
            .map_err(Error::GivenUp)
    }

    /// Sends feedbacks now, in requests of at most
    /// [`max_events`](BatchLimits::max_events) that end with the one that makes them
    /// [`max_bytes`](BatchLimits::max_bytes) long, and waits for all receipts; the results
    /// are in the order of the feedbacks.
    ///
    /// Dropped midway, an unknown part of them is stored.
    ///
    /// # Errors
    /// [`Error::Encode`] before anything is sent.
    pub async fn send_all(&self, feedbacks: &[Feedback<'_>]) -> Result<Vec<Verdict>, Error> {
        let encode = |(place, feedback)| {
            let item = Item::encode(&Operation::Put(feedback))?;
            Ok(Placed { place, item })
        };
        let mut items = feedbacks
            .iter()
            .enumerate()
            .map(encode)
            .collect::<Result<Vec<_>, Error>>()?;
        let mut verdicts = Vec::with_capacity(items.len());
        while !items.is_empty() {
            let rest = items.split_off(first_batch(&items, &self.0.limits));
            self.0
                .delivery
                .deliver(&mut items, |placed, verdict| {
                    verdicts.push((placed.place, verdict))
                })
                .await;
            items = rest;
        }
        // A retried item is settled after those behind it.
        verdicts.sort_by_key(|(place, _)| *place);
        Ok(verdicts.into_iter().map(|(_, verdict)| verdict).collect())
    }

    /// Changes fields of a feedback, after everything that was queued before, and
    /// waits for the receipt.
    ///
    /// # Errors
    /// As [`create_feedback`](Client::create_feedback), and [`Error::GivenUp`].
    pub async fn patch(&self, id: Uuid, patch: &Patch<'_>) -> Result<Receipt, Error> {
        self.0.change(&Operation::Patch(id, patch)).await
    }

    /// Takes a feedback back for good, after everything that was queued before,
    /// and waits for the receipt.
    ///
    /// # Errors
    /// As [`create_feedback`](Client::create_feedback), and [`Error::GivenUp`].
    pub async fn retract(&self, id: Uuid) -> Result<Receipt, Error> {
        self.0.change(&Operation::Retract(id)).await
    }

    /// Waits until everything queued before this call is delivered or given up.
    ///
    /// Cancel safe: the queue goes on being sent.
    pub async fn flush(&self) {
        let (flushed, done) = oneshot::channel();
        // Either fails only when the task is gone, and with it the queue.
        if self.0.queue.send(Message::Flush(flushed)).await.is_ok() {
            done.await.ok();
        }
    }

    /// Takes no more feedback, and waits until all of the queue is delivered or
    /// given up.
    ///
    /// While the intake is away this may take as long as every attempt for every
    /// batch; put a [`timeout`](tokio::time::timeout) around it where that is too
    /// long. What is then left is given up when the client is dropped.
    pub async fn close(&self) {
        // It fails only when the task is gone already.
        self.0.queue.send(Message::Close).await.ok();
        while self.0.task.lock().await.join_next().await.is_some() {}
    }

    /// The exchanges below the queue, reads among them.
    pub fn api(&self) -> &Api {
        &self.0.delivery.api
    }
}

/// How many of the items go into one request; at least one.
fn first_batch(items: &[Placed], limits: &BatchLimits) -> usize {
    let mut bytes = 0;
    let before_full = items.iter().take(limits.max_events).position(|placed| {
        bytes += placed.item.json.len();
        bytes >= limits.max_bytes
    });
    let most = items.len().min(limits.max_events.max(1));
    before_full.map_or(most, |last| last + 1)
}

// === impl Inner ===

impl Inner {
    async fn change(&self, operation: &Operation<'_>) -> Result<Receipt, Error> {
        let (waiting, verdict) = oneshot::channel();
        self.enqueue(Item::encode(operation)?, Some(waiting))?;
        let verdict = verdict.await.unwrap_or(Err(Reason::Dropped));
        verdict.map_err(Error::GivenUp)
    }

    fn enqueue(&self, item: Item, waiting: Option<oneshot::Sender<Verdict>>) -> Result<(), Error> {
        let bytes = u32::try_from(item.json.len()).map_err(|_| Error::QueueFull)?;
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(bytes)
            .map_err(|_| Error::QueueFull)?;
        let queued = Queued {
            item,
            since: Instant::now(),
            waiting,
            _room: room,
        };
        self.queue
            .try_send(Message::Deliver(queued))
            .map_err(|error| match error {
                TrySendError::Full(_) => Error::QueueFull,
                TrySendError::Closed(_) => Error::Closed,
            })
    }
}

impl Borrow<Item> for Placed {
    fn borrow(&self) -> &Item {
        &self.item
    }
}

#[cfg(test)]
mod tests;
