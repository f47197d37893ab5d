//! The same steps without Kafka, for `plaudit standalone`.
//!
//! A local sequence stands in for a partition: offsets of partition 0 of a topic
//! called [`TOPIC`]. Requests that come while a batch is being written are
//! written together in the next one, and each is answered when its records are in
//! ClickHouse and in the ledger. There is no log behind it: what was not answered
//! was not promised.

use std::sync::Arc;

use plaudit_event::Outcome;
use plaudit_service::Readiness;
use plaudit_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
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

/// The topic of standalone receipts.
pub const TOPIC: &str = "standalone";

const PARTITION: i32 = 0;

/// Requests that wait for the next batch (**P5**).
const QUEUE: usize = 4096;

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
}

#[derive(Debug)]
struct Request {
    records: Vec<LocalRecord>,
    answer: oneshot::Sender<Vec<Result<i64, NotStored>>>,
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
        let next = next_offset(&store).await.map_err(|source| Stop::Store {
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
        let (queue, requests) = mpsc::channel(QUEUE);
        Ok((Self { queue }, commit_groups(steps, requests, next, stop)))
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
        let (answer, answered) = oneshot::channel();
        let request = Request { records, answer };
        self.queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LocalSinkError::Full,
            mpsc::error::TrySendError::Closed(_) => LocalSinkError::Ended,
        })?;
        answered.await.map_err(|_| LocalSinkError::Ended)
    }
}

/// The sequence goes on above everything that was ever written.
async fn next_offset(store: &Store) -> Result<i64, StoreError> {
    let all = [(PARTITION, 0)];
    let ledger = store.ledger_ends(TOPIC, &all).await?;
    let stored = store.highest_stored(TOPIC, &all).await?;
    let ledgered = ledger.iter().map(|end| end.highest);
    let stored = stored.iter().map(|(_, offset)| offset + 1);
    Ok(ledgered.chain(stored).max().unwrap_or(0))
}

async fn commit_groups(
    steps: Steps,
    mut requests: mpsc::Receiver<Request>,
    mut next: i64,
    stop: CancellationToken,
) -> Result<(), SinkError> {
    let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        let first = tokio::select! {
            biased;
            request = requests.recv() => request,
            _ = look.tick() => {
                steps.retry_pending().await?;
                continue;
            }
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
    while let Some(Request { records, answer }) = request {
        let positions = records
            .iter()
            .map(|record| take(&mut batch, record, next))
            .collect();
        group.push((positions, answer));
        let is_full = batch.len() >= limits.max_rows || batch.bytes() >= limits.max_bytes;
        request = if is_full {
            None
        } else {
            requests.try_recv().ok()
        };
    }
    let outcomes = steps.carry_out(&batch, false).await?;
    for (positions, answer) in group {
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
