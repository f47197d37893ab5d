//! The same steps without Kafka, for `plaudit standalone`.
//!
//! A local sequence stands in for a partition: offsets of partition 0 of a topic
//! called [`TOPIC`]. Requests that come while a batch is being written are
//! written together in the next one, and each is answered when its records are in
//! ClickHouse and in the ledger. There is no log behind it: what was not answered
//! was not promised. What a crash left of it is seen all the same: see [`cut_short`].

use std::sync::Arc;
use std::time::Duration;

use plaudit_event::Outcome;
use plaudit_service::Readiness;
use plaudit_store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, Incoming, Position};
use crate::config::SinkConfig;
use crate::consume::SinkError;
use crate::dead_letter::DeadLetters;
use crate::metrics;
use crate::origin::Origin;
use crate::outcomes::Outcomes;
use crate::pending::Pending;
use crate::retry::Retry;
use crate::steps::{Steps, Stop, now_millis};
use cut_short::End;

mod cut_short;

/// The topic of standalone receipts.
pub const TOPIC: &str = "standalone";

const PARTITION: i32 = 0;

/// Requests that wait for the next batch, and their bytes with those of the batch that
/// is being written (**P5**). A request that is larger is taken when nothing else waits.
const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 64 << 20;

/// Between two looks at what waits for its feedback.
const LOOK: Duration = Duration::from_secs(1);

/// A record to be stored: what Kafka would have been given.
#[derive(Clone, Debug)]
pub struct LocalRecord {
    /// The key.
    pub key: Vec<u8>,
    /// The encoded event.
    pub payload: Vec<u8>,
}

/// A record that ClickHouse cannot take, by the reason of a dead letter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotStored(pub &'static str);

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalSinkError {
    /// As many requests wait as may: try again. Nothing was written.
    #[error("the queue is full")]
    Full,
    /// The sink has ended; the records may or may not be written.
    #[error("the sink has ended")]
    Ended,
}

/// Hands records to the sink of this process. Cloning shares it.
#[derive(Clone, Debug)]
pub struct LocalSink {
    queue: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Request {
    records: Vec<LocalRecord>,
    answer: oneshot::Sender<Vec<Result<i64, NotStored>>>,
    /// Its part of the room, until it is answered: the sender may not wait for that.
    room: OwnedSemaphorePermit,
}

impl LocalRecord {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.payload.len()
    }
}

impl LocalSink {
    /// Opens the sink: the future runs it until `stop`, when what waits has been
    /// written, and must be driven by the caller.
    ///
    /// # Errors
    /// When ClickHouse does not answer or has another schema.
    pub async fn open(
        config: SinkConfig,
        store: Store,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> Result<(Self, impl Future<Output = Result<(), SinkError>> + Send), SinkError> {
        metrics::describe();
        store.check_schema().await.map_err(SinkError::Schema)?;
        let end = End::of(&store).await.map_err(|source| Stop::Store {
            request: "read the ledger",
            source,
        })?;
        let steps = Steps {
            store,
            retry: Retry::new(config.retry.clone(), readiness),
            dead_letters: DeadLetters::Sender,
            config,
            topic: Arc::from(TOPIC),
            pending: Pending::default(),
            origin: Origin::Local,
        };
        steps.pending.begin(PARTITION);
        let (sink, requests) = Self::queue();
        Ok((sink, commit_groups(steps, requests, end, stop)))
    }

    fn queue() -> (Self, mpsc::Receiver<Request>) {
        let (queue, requests) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        (Self { queue, room }, requests)
    }

    /// Whether the sink takes records.
    pub fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Stores records; returns, for each, its offset in the local sequence.
    ///
    /// Cancel safe in that what was taken is written although nobody waits.
    ///
    /// # Errors
    /// [`LocalSinkError`]; only `Full` says that nothing was written.
    pub async fn publish(
        &self,
        records: Vec<LocalRecord>,
    ) -> Result<Vec<Result<i64, NotStored>>, LocalSinkError> {
        let bytes: usize = records.iter().map(LocalRecord::bytes).sum();
        let bytes = u32::try_from(bytes.min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        let room = room.map_err(|_| LocalSinkError::Full)?;
        let (answer, answered) = oneshot::channel();
        let request = Request {
            records,
            answer,
            room,
        };
        self.queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LocalSinkError::Full,
            mpsc::error::TrySendError::Closed(_) => LocalSinkError::Ended,
        })?;
        answered.await.map_err(|_| LocalSinkError::Ended)
    }
}

async fn commit_groups(
    steps: Steps,
    mut requests: mpsc::Receiver<Request>,
    end: End,
    stop: CancellationToken,
) -> Result<(), SinkError> {
    end.end_cut_short(&steps).await?;
    // The sequence goes on above everything that was ever written.
    let mut next = end.next();
    let mut look = tokio::time::interval(LOOK);
    loop {
        let first = tokio::select! {
            biased;
            // Before the requests, of which there may always be one.
            _ = look.tick() => {
                steps.retry_pending().await?;
                // However long that took, the requests have their turn.
                look.reset();
                continue;
            }
            request = requests.recv() => request,
            () = stop.cancelled() => {
                // Nothing more comes in; what has come is written.
                requests.close();
                requests.recv().await
            }
        };
        let Some(first) = first else { return Ok(()) };
        commit_group(&steps, first, &mut requests, &mut next).await?;
    }
}

/// Writes a request, and those that wait behind it, as one batch.
async fn commit_group(
    steps: &Steps,
    first: Request,
    requests: &mut mpsc::Receiver<Request>,
    next: &mut i64,
) -> Result<(), SinkError> {
    let limits = &steps.config.batch;
    let mut batch = Batch::default();
    let mut group = Vec::new();
    let mut request = Some(first);
    while let Some(Request {
        records,
        answer,
        room,
    }) = request
    {
        let positions = records
            .iter()
            .map(|record| take(&mut batch, record, next))
            .collect();
        group.push((positions, answer, room));
        let is_full = batch.len() >= limits.max_rows || batch.bytes() >= limits.max_bytes;
        request = if is_full {
            None
        } else {
            requests.try_recv().ok()
        };
    }
    let outcomes = steps.carry_out(&batch, false).await?;
    for (positions, answer, _room) in group {
        if answer.send(answers(&outcomes, positions)).is_err() {
            tracing::debug!("a sender went away before its answer");
        }
    }
    Ok(())
}

fn take(batch: &mut Batch, record: &LocalRecord, next: &mut i64) -> Position {
    let position = Position {
        partition: PARTITION,
        offset: *next,
        timestamp: now_millis(),
    };
    *next += 1;
    let incoming = Incoming {
        position,
        key: &record.key,
        payload: &record.payload,
    };
    // This process wrote it, so it is of a version that this process reads.
    if batch.push(TOPIC, incoming, || None).is_err() {
        tracing::error!("a record of this process is of a newer version");
    }
    position
}

fn answers(outcomes: &Outcomes, positions: Vec<Position>) -> Vec<Result<i64, NotStored>> {
    let answer = |position: Position| match outcomes.of(position) {
        Some((Outcome::DeadLettered, reason)) => Err(NotStored(reason)),
        _ => Ok(position.offset),
    };
    positions.into_iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands it over and goes away, as at a deadline; whether it was taken.
    async fn hand_over(sink: &LocalSink, bytes: usize) -> bool {
        let record = LocalRecord {
            key: Vec::new(),
            payload: vec![0; bytes],
        };
        let published = sink.publish(vec![record]);
        match tokio::time::timeout(Duration::ZERO, published).await {
            Err(_) => true,
            Ok(Err(LocalSinkError::Full)) => false,
            Ok(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn p5_requests_that_nobody_waits_for_are_bounded_by_their_bytes() {
        let (sink, mut requests) = LocalSink::queue();
        assert!(hand_over(&sink, QUEUE_BYTES / 2).await);
        assert!(!hand_over(&sink, QUEUE_BYTES / 2).await);
        assert!(hand_over(&sink, 100).await, "there is room for less");
        drop(requests.recv().await);
        drop(requests.recv().await);
        assert!(hand_over(&sink, 2 * QUEUE_BYTES).await, "alone");
        assert!(!hand_over(&sink, 0).await);
        drop(requests.recv().await);
        assert!(hand_over(&sink, QUEUE_BYTES / 2).await);
    }
}
