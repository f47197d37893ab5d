//! The producer whose every record ends in a [`Delivery`].
//!
//! Idempotent, `acks=all`, bounded. Sending never blocks and never sleeps: a full
//! queue is an answer. librdkafka's events are served by one thread of ours, which
//! settles the confirmations; [`Pending`] is the other side of it.
//!
//! Not here: retries after a refusal (the caller's client does that) and what a
//! record holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::KafkaConfig;
use crate::confirmation::{Confirmation, Delivery, Pending, Reason};
use crate::error::KafkaError;
use crate::health::Health;
use crate::settings::{Role, client_config};
use live::{Context, FULL, Live, Ticket};

mod live;

/// A record to be written. librdkafka copies it while it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// Decides the partition; records of one key keep their order. `None` only
    /// for the dead letter of a record that had none.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub payload: Option<&'a [u8]>,
    /// Name and value of each header, kept in this order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Milliseconds since 1970; 0 is the time of sending. The topic's retention
    /// counts from it.
    pub timestamp_ms: i64,
}

/// Writes records and says, for each, what became of it.
///
/// Cheap to clone; all clones share one queue and one connection per broker. The
/// last one to be dropped gives up what is not confirmed yet, so
/// [`flush`](Self::flush) before.
#[derive(Clone)]
pub struct ConfirmingProducer {
    shared: Arc<Shared>,
}

/// Records were still unconfirmed when [`ConfirmingProducer::flush`] had to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{records} records are not confirmed by Kafka")]
pub struct Unflushed {
    /// How many.
    pub records: usize,
}

struct Shared {
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    poll: Option<JoinHandle<()>>,
}

/// How often the poll thread looks whether it is to stop.
const POLL: Duration = Duration::from_millis(100);

/// How often a flush looks whether the queue is empty.
const FLUSH_LOOK: Duration = Duration::from_millis(5);

// === impl ConfirmingProducer ===

impl ConfirmingProducer {
    /// Makes a producer of events and starts its thread; connects in the background.
    ///
    /// # Errors
    /// When a setting is refused. A broker that is away is no error: see
    /// [`health`](Self::health).
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        Self::with_role(config, Role::Producer)
    }

    /// Makes a producer of dead letters, which may be larger than events.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn for_dead_letters(config: &KafkaConfig) -> Result<Self, KafkaError> {
        Self::with_role(config, Role::DeadLetterProducer)
    }

    /// Makes a producer that sends each record by itself: for those that a broker
    /// refused together with others, [`Reason::TooLarge`]. It refuses a batch as a
    /// whole, for the batch's size, and says of every record in it that it is too large.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn one_by_one(config: &KafkaConfig) -> Result<Self, KafkaError> {
        Self::with_role(config, Role::SingleProducer)
    }

    fn with_role(config: &KafkaConfig, role: Role) -> Result<Self, KafkaError> {
        let live = Arc::new(Live::new(client_config(config, role)?)?);
        let stop = Arc::new(AtomicBool::new(false));
        let poll = std::thread::Builder::new()
            .name("kafka-producer".to_owned())
            .spawn({
                let (live, stop) = (Arc::clone(&live), Arc::clone(&stop));
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        live.producer().poll(POLL);
                        live.renew_if_stranded();
                    }
                }
            });
        let poll = poll.map_err(|error| KafkaError::Thread {
            reason: error.to_string(),
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                live,
                stop,
                poll: Some(poll),
            }),
        })
    }

    /// Puts all records of a request into the queue for `topic`, without blocking.
    ///
    /// Each record has its own end. From the first one that finds the queue full,
    /// the rest is refused ([`Reason::QueueFull`]), so that what was accepted is a
    /// prefix, save for records that are too large; [`Pending::is_refused`] tells
    /// whether that is nothing at all.
    pub fn send_all<'r, I>(&self, topic: &str, records: I) -> Pending
    where
        I: IntoIterator<Item = Record<'r>>,
        I::IntoIter: ExactSizeIterator,
    {
        let records = records.into_iter();
        let expected = records.len();
        let confirmation = Confirmation::new(expected);
        let producer = self.shared.live.producer();
        let context = producer.context();
        // Before the first is sent: its end may come before this returns.
        context.open.fetch_add(expected, Ordering::Relaxed);
        let (mut seen, mut accepted, mut full) = (0, 0, false);
        for (index, record) in records.take(expected).enumerate() {
            seen += 1;
            let sent = if full {
                Err(Reason::QueueFull)
            } else {
                send(&producer, topic, &record, &confirmation, index)
            };
            match sent {
                Ok(()) => accepted += 1,
                Err(reason) => {
                    full |= reason == Reason::QueueFull;
                    context.count(reason);
                    confirmation.settle(index, Delivery::Refused(reason));
                }
            }
        }
        confirmation.close(expected - seen);
        context
            .open
            .fetch_sub(expected - accepted, Ordering::Relaxed);
        Pending::new(confirmation, seen, accepted)
    }

    /// Records accepted and without an end yet; bounded by `queue.buffering.max.messages`.
    #[must_use]
    pub fn queue_len(&self) -> usize {
        self.shared.live.context.open.load(Ordering::Relaxed)
    }

    /// How full the queue was half a second ago at most, from 0 to 1, in records
    /// (`queue.buffering.max.messages`) or in bytes (`queue.buffering.max.kbytes`),
    /// whichever is nearer to its bound.
    #[must_use]
    pub fn fullness(&self) -> f64 {
        let thousandths = &self.shared.live.context.fullness;
        let thousandths = u32::try_from(thousandths.load(Ordering::Relaxed));
        f64::from(thousandths.unwrap_or(FULL)) / f64::from(FULL)
    }

    /// Records that were refused or failed since the start, by closed code.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = &self.shared.live.context.failures;
        Reason::CODES
            .into_iter()
            .zip(counts)
            .map(|(code, count)| (code, count.load(Ordering::Relaxed)))
    }

    /// What the producer knew about the cluster half a second ago at most.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.live.context.tracker.health()
    }

    /// Ends with the reason when this producer has failed for good. It has to be made
    /// anew then; nothing that it confirmed is lost.
    pub async fn failed_for_good(&self) -> Arc<str> {
        let mut health = self.watch_health();
        loop {
            if let Some(reason) = &health.borrow_and_update().fatal {
                return Arc::clone(reason);
            }
            if health.changed().await.is_err() {
                // Closed: it fails no more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Follows [`health`](Self::health); a fatal producer never recovers.
    #[must_use]
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.shared.live.context.tracker.watch()
    }

    /// Waits until every accepted record has its end. For shutdown, when nothing
    /// is sent any more.
    ///
    /// # Errors
    /// When `deadline` passes first; those records may be written still.
    pub async fn flush(&self, deadline: Duration) -> Result<(), Unflushed> {
        let end = Instant::now() + deadline;
        loop {
            match self.queue_len() {
                0 => return Ok(()),
                records if Instant::now() >= end => return Err(Unflushed { records }),
                _ => tokio::time::sleep(FLUSH_LOOK).await,
            }
        }
    }
}

impl std::fmt::Debug for ConfirmingProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfirmingProducer")
            .field("queue_len", &self.queue_len())
            .finish_non_exhaustive()
    }
}

fn send(
    producer: &BaseProducer<Context>,
    topic: &str,
    record: &Record<'_>,
    confirmation: &Arc<Confirmation>,
    index: usize,
) -> Result<(), Reason> {
    let ticket = Box::new(Ticket {
        confirmation: Arc::clone(confirmation),
        index,
    });
    let native = BaseRecord::<[u8], [u8], _> {
        topic,
        partition: None,
        payload: record.payload,
        key: record.key,
        timestamp: Some(record.timestamp_ms),
        headers: native_headers(record.headers),
        delivery_opaque: ticket,
    };
    producer.send(native).map_err(|(error, _)| {
        let code = error.rdkafka_error_code();
        Reason::from_code(code.unwrap_or(RDKafkaErrorCode::InvalidArgument))
    })
}

fn native_headers(headers: &[(&str, &[u8])]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let native = OwnedHeaders::new_with_capacity(headers.len());
    Some(headers.iter().fold(native, |native, (key, value)| {
        native.insert(Header {
            key,
            value: Some(*value),
        })
    }))
}

// === impl Shared ===

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Ends within one poll. The producer itself goes with the last `Arc` to it.
        if let Some(poll) = self.poll.take()
            && poll.join().is_err()
        {
            tracing::error!("the kafka producer's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Statistics;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A producer whose broker is away: nothing listens on the discard port.
    fn without_broker(properties: &[(&str, &str)]) -> ConfirmingProducer {
        let config = KafkaConfig {
            brokers: "127.0.0.1:9".to_owned(),
            properties: properties.iter().copied().collect(),
            ..KafkaConfig::default()
        };
        ConfirmingProducer::new(&config).unwrap()
    }

    fn records(count: usize) -> Vec<Record<'static>> {
        let record = Record {
            key: Some(b"trace"),
            ..Record::default()
        };
        vec![record; count]
    }

    #[tokio::test]
    async fn p5_a_full_queue_refuses_the_rest_of_the_request_at_once() {
        let producer = without_broker(&[("queue.buffering.max.messages", "3")]);
        let first = producer.send_all("events", records(5));
        assert_eq!(first.accepted(), 3);
        assert_eq!(producer.queue_len(), 3);
        let second = producer.send_all("events", records(2));
        assert!(second.is_refused());
        assert_eq!(
            second.wait(HOUR).await,
            [Delivery::Refused(Reason::QueueFull); 2]
        );
        let counted: Vec<_> = producer.failures().filter(|(_, n)| *n > 0).collect();
        assert_eq!(counted, [("queue_full", 4)]);
        drop(producer);
        let deliveries = first.wait(HOUR).await;
        assert_eq!(deliveries[..3], [Delivery::Failed(Reason::Closed); 3]);
        assert_eq!(deliveries[3..], [Delivery::Refused(Reason::QueueFull); 2]);
    }

    #[tokio::test]
    async fn p5_a_stranded_client_is_made_anew_and_what_it_had_has_its_end() {
        let producer = without_broker(&[]);
        let first = producer.send_all("events", records(2));
        let live = &producer.shared.live;
        let stranded = Arc::downgrade(&live.producer());
        while std::ptr::eq(Arc::as_ptr(&live.producer()), stranded.as_ptr()) {
            if !live.context.tracker.is_stranded() {
                live.context.tracker.statistics(&Statistics::default());
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(
            first.wait(HOUR).await,
            [Delivery::Failed(Reason::Closed); 2]
        );
        let second = producer.send_all("events", records(1));
        assert_eq!((second.accepted(), producer.queue_len()), (1, 1));
    }

    #[tokio::test]
    async fn a_queue_is_as_full_as_its_nearest_bound() {
        let records = ("queue.buffering.max.messages", "4");
        let bytes = ("queue.buffering.max.kbytes", "1");
        for (full, bound) in [(0.5, records), (0.6, bytes)] {
            let producer = without_broker(&[bound]);
            let payload = [0; 300];
            let record = Record {
                payload: Some(&payload),
                ..Record::default()
            };
            let _pending = producer.send_all("events", [record; 2]);
            while (producer.fullness() - full).abs() > 0.05 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn p1_without_a_broker_nothing_is_confirmed_and_the_producer_is_not_ready() {
        let producer = without_broker(&[("message.timeout.ms", "100")]);
        let deliveries = producer.send_all("events", records(2)).wait(HOUR).await;
        assert_eq!(deliveries, [Delivery::Failed(Reason::TimedOut); 2]);
        assert!(!producer.health().is_ready());
    }

    #[tokio::test]
    async fn a_flush_says_how_many_records_it_leaves() {
        let producer = without_broker(&[]);
        let pending = producer.send_all("events", records(2));
        let left = producer.flush(Duration::ZERO).await;
        assert_eq!(left, Err(Unflushed { records: 2 }));
        let deliveries = pending.wait(Duration::ZERO).await;
        assert_eq!(deliveries, [Delivery::Unconfirmed; 2]);
    }

    #[tokio::test]
    async fn a_record_that_is_too_large_is_refused_before_it_is_sent() {
        let producer = without_broker(&[("message.max.bytes", "1000")]);
        let large = [0; 1001];
        let mut records = records(2);
        records[0].payload = Some(&large);
        let pending = producer.send_all("events", records);
        assert_eq!(pending.accepted(), 1);
        drop(producer);
        let deliveries = pending.wait(HOUR).await;
        assert_eq!(
            deliveries,
            [
                Delivery::Refused(Reason::TooLarge),
                Delivery::Failed(Reason::Closed)
            ]
        );
    }
}
