//! The thread that polls Kafka, fills batches and commits (PROTOCOL: step 7).
//!
//! It never stops polling for long, since that is what keeps the sink in its
//! group: batches go through their steps on the runtime, and when all of them are
//! under way and the next one is full, the partitions are paused (**P5**).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plaudit_event::codec;
use plaudit_kafka::{ConsumeError, GroupConsumer, KafkaError, Message};
use plaudit_service::Readiness;
use plaudit_store::MigrateError;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, Incoming, Newer, Position};
use crate::metrics;
use crate::offsets::Offsets;
use crate::start::Start;
use crate::steps::{Steps, Stop, now_millis};

mod assignment;

/// Why the sink ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// A client could not be made, or a partition not be started.
    #[error("cannot use Kafka")]
    Kafka(#[from] KafkaError),
    /// Kafka ended the consumer.
    #[error("cannot read the topic")]
    Consume(#[source] ConsumeError),
    /// No dead letter can be written any more.
    #[error("the producer of dead letters has failed for good: {0}")]
    Producer(Arc<str>),
    /// Retention overtook the sink: records are gone.
    #[error(
        "records left the log before they were stored ({0}): set `sink.on_expired` to `skip` to go \
         on without them"
    )]
    Overtaken(String),
    /// The schema is not this binary's.
    #[error("cannot use the schema")]
    Schema(#[source] MigrateError),
    /// A step must not go on.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// The polling thread could not be started, or panicked.
    #[error("the polling thread failed: {0}")]
    Thread(String),
}

/// The open batch, those under way, and what may be committed.
pub(crate) struct Work {
    steps: Arc<Steps>,
    handle: Handle,
    readiness: Readiness,
    stop: CancellationToken,
    batch: Batch,
    under_way: JoinSet<(u64, Result<Batch, Stop>)>,
    /// Emptied batches, for the next ones.
    spare: Vec<Batch>,
    /// Batches under way: how many records, and the oldest's timestamp.
    sizes: BTreeMap<u64, (usize, i64)>,
    offsets: Offsets,
    /// Partitions that were assigned and have no start yet, with what is committed.
    unstarted: BTreeMap<i32, Option<i64>>,
    /// Finds the starts of those; one at a time.
    finding: JoinSet<Result<Vec<Start>, SinkError>>,
    /// Whether some partition that is not known stands still, out of range.
    is_out_of_range: bool,
    /// Per partition, the highest offset that was stored before this sink had it.
    read_back_until: BTreeMap<i32, i64>,
    /// Partitions whose next record was written by a newer Plaudit, and where it is.
    held: BTreeMap<i32, i64>,
    paused: bool,
    /// What failed within a rebalance, which has no one to return it to.
    failed: Option<SinkError>,
    next_start: Instant,
    next_commit: Instant,
    next_report: Instant,
}

/// How long a full sink waits before it pauses: pausing makes Kafka's client
/// throw away what it has fetched, so it is for standstill, not for bursts.
const BEFORE_PAUSE: Duration = Duration::from_secs(1);
/// Batches that have ended and wait for one before them, and those under way (**P5**).
/// What they hold is read again after a crash.
const MOST_OPEN: usize = 64;
/// The longest poll: bounds how late an ended batch or a stop signal is seen.
const POLL: Duration = Duration::from_millis(20);
/// Between two commits. What is not committed is read again after a crash.
const COMMIT: Duration = Duration::from_millis(250);
/// For asking how long the log of a paused partition has become.
const REFRESH: Duration = Duration::from_millis(500);
/// Between two attempts at starting partitions, and two reports of lag.
const SECOND: Duration = Duration::from_secs(1);

impl Work {
    pub(crate) fn new(
        steps: Arc<Steps>,
        handle: Handle,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let batch = Batch::with_room(&steps.config.batch);
        Self {
            steps,
            handle,
            readiness,
            stop,
            batch,
            under_way: JoinSet::new(),
            spare: Vec::new(),
            sizes: BTreeMap::new(),
            offsets: Offsets::default(),
            unstarted: BTreeMap::new(),
            finding: JoinSet::new(),
            is_out_of_range: false,
            read_back_until: BTreeMap::new(),
            held: BTreeMap::new(),
            paused: false,
            failed: None,
            next_start: now,
            next_commit: now,
            next_report: now,
        }
    }

    /// Polls until the stop signal, then drains within `sink.drain`.
    pub(crate) fn run(mut self, consumer: GroupConsumer) -> Result<(), SinkError> {
        let result = self.poll_until_stopped(&consumer);
        if result.is_ok() {
            // Gives the partitions back, which drains and commits.
            consumer.close(&mut self);
        }
        // What failed while draining is a failure too.
        self.failed.take().map_or(result, Err)
    }

    fn poll_until_stopped(&mut self, consumer: &GroupConsumer) -> Result<(), SinkError> {
        while !self.stop.is_cancelled() {
            self.reap()?;
            self.start_partitions(consumer)?;
            self.commit_when_due(consumer);
            self.report(consumer);
            // While paused too: a rebalance may have sent the full batch on its way.
            if self.is_due() || self.paused {
                self.dispatch_or_pause(consumer)?;
            }
            match consumer.poll(self.poll_timeout(), self) {
                Some(Ok(message)) => self.push(consumer, &message)?,
                Some(Err(error)) => self.on_error(error)?,
                None => {}
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
        }
        Ok(())
    }

    fn push(&mut self, consumer: &GroupConsumer, message: &Message<'_>) -> Result<(), SinkError> {
        let partition = message.partition();
        // It is read again from where it starts.
        if self.held.contains_key(&partition) || self.unstarted.contains_key(&partition) {
            return Ok(());
        }
        let record = Incoming {
            position: Position {
                partition,
                offset: message.offset(),
                timestamp: message.timestamp_ms().unwrap_or(0),
            },
            key: message.key().unwrap_or_default(),
            payload: message.payload().unwrap_or_default(),
        };
        let header = || codec::version_in(|name| message.header(name));
        if let Err(Newer(version)) = self.batch.push(&self.steps.topic, record, header) {
            // An upgrade is under way: the next binary reads on from here.
            tracing::error!(
                kafka.partition = partition,
                kafka.offset = message.offset(),
                version,
                "record is of a newer version: partition held until this sink is upgraded"
            );
            self.held.insert(partition, message.offset());
            self.readiness
                .block("upgrade", format!("records of version {version} are held"));
            consumer.pause(&[partition])?;
        }
        Ok(())
    }

    /// Whether the open batch is to be closed.
    fn is_due(&self) -> bool {
        let limits = &self.steps.config.batch;
        self.batch.len() >= limits.max_rows
            || self.batch.bytes() >= limits.max_bytes
            || self
                .batch
                .opened_at
                .is_some_and(|at| at.elapsed() >= limits.max_age)
    }

    fn poll_timeout(&self) -> Duration {
        let age = self.batch.opened_at.map(|at| at.elapsed());
        let left = age.map_or(POLL, |age| {
            self.steps.config.batch.max_age.saturating_sub(age)
        });
        // A batch that is due and cannot begin is no reason to spin.
        if left.is_zero() { POLL } else { left.min(POLL) }
    }

    fn dispatch_or_pause(&mut self, consumer: &GroupConsumer) -> Result<(), SinkError> {
        if !self.has_room() && !self.paused {
            self.wait_for_one(BEFORE_PAUSE)?;
        }
        if self.has_room() {
            self.dispatch();
            if self.paused {
                let mut owned = consumer.owned();
                owned.retain(|partition| {
                    !self.held.contains_key(partition) && !self.unstarted.contains_key(partition)
                });
                consumer.resume(&owned)?;
                self.paused = false;
            }
        } else if !self.paused {
            tracing::warn!(
                topic = %self.steps.topic,
                batches = self.under_way.len(),
                "every batch is under way: partitions paused"
            );
            consumer.pause(&consumer.owned())?;
            self.paused = true;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.under_way.len() < self.steps.config.max_in_flight && self.offsets.open() < MOST_OPEN
    }

    /// Sends the open batch on its way through the steps.
    fn dispatch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let next = self.spare.pop();
        let next = next.unwrap_or_else(|| Batch::with_room(&self.steps.config.batch));
        let batch = std::mem::replace(&mut self.batch, next);
        let age = batch.opened_at.map(|at| at.elapsed()).unwrap_or_default();
        metrics::batch_closed(batch.len(), age);
        let ranges = batch.ranges();
        let read_back = ranges.iter().any(|(partition, first, _)| {
            self.read_back_until
                .get(partition)
                .is_some_and(|until| first <= until)
        });
        let oldest = batch.spans.values().map(|span| span.min_timestamp).min();
        let number = self.offsets.begin(&ranges);
        self.sizes
            .insert(number, (batch.len(), oldest.unwrap_or_default()));
        let steps = Arc::clone(&self.steps);
        let carry_out = async move {
            let result = steps.carry_out(&batch, read_back).await;
            let emptied = |_| batch.emptied(&steps.config.batch);
            (number, result.map(emptied))
        };
        self.under_way.spawn_on(carry_out, &self.handle);
    }

    /// Takes note of the batches that have ended.
    fn reap(&mut self) -> Result<(), SinkError> {
        while let Some(ended) = self.under_way.try_join_next() {
            self.settle(ended)?;
        }
        Ok(())
    }

    fn wait_for_one(&mut self, at_most: Duration) -> Result<(), SinkError> {
        let handle = self.handle.clone();
        let ended = handle
            .block_on(async { tokio::time::timeout(at_most, self.under_way.join_next()).await });
        match ended {
            Ok(Some(ended)) => self.settle(ended),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn settle(
        &mut self,
        ended: Result<(u64, Result<Batch, Stop>), tokio::task::JoinError>,
    ) -> Result<(), SinkError> {
        let (number, result) = ended.map_err(|error| SinkError::Thread(error.to_string()))?;
        self.spare.push(result?);
        self.sizes.remove(&number);
        self.offsets.finish(number);
        Ok(())
    }

    /// Step 7, now and then; on revoke and at the end it is synchronous.
    fn commit_when_due(&mut self, consumer: &GroupConsumer) {
        if Instant::now() < self.next_commit {
            return;
        }
        if consumer.has_failed_commit() {
            self.offsets.take_again();
        }
        if self.offsets.has_done() {
            self.next_commit = Instant::now() + COMMIT;
            let done = self.offsets.take_done();
            if let Err(error) = consumer.commit_async(&done) {
                tracing::warn!(%error, "offsets are not committed: a later commit makes up for it");
            }
        }
    }

    fn on_error(&mut self, error: ConsumeError) -> Result<(), SinkError> {
        match error {
            ConsumeError::OffsetOutOfRange { partitions } => {
                self.begin_anew(&partitions);
                Ok(())
            }
            error if error.is_fatal() => Err(SinkError::Consume(error)),
            error => {
                tracing::warn!(%error, "kafka is in trouble: polling on");
                Ok(())
            }
        }
    }

    fn report(&mut self, consumer: &GroupConsumer) {
        if Instant::now() < self.next_report {
            return;
        }
        self.next_report = Instant::now() + SECOND;
        let health = consumer.health();
        self.readiness
            .set("kafka", health.is_ready(), &health.reason());
        if self.paused
            && let Err(error) = consumer.refresh_lag(REFRESH)
        {
            tracing::debug!(%error, "the lag of paused partitions is not known");
        }
        let unread: i64 = consumer
            .lag()
            .iter()
            .map(|lag| {
                lag.high
                    .saturating_sub(lag.position.unwrap_or(lag.low))
                    .max(0)
            })
            .sum();
        let under_way: usize = self.sizes.values().map(|(records, _)| records).sum();
        let in_flight = under_way + self.batch.len();
        let open = self.batch.spans.values().map(|span| span.min_timestamp);
        let oldest = self
            .sizes
            .values()
            .map(|(_, oldest)| *oldest)
            .chain(open)
            .min();
        let age = oldest.map_or(0, |oldest| now_millis().saturating_sub(oldest));
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        let records = unread.saturating_add(i64::try_from(in_flight).unwrap_or(i64::MAX));
        metrics::lag(records, age, in_flight);
    }
}
