//! Records that cannot be stored, kept where a person finds them (PROTOCOL: step 5).
//!
//! A dead letter is named by the topic, partition and offset of its record, so a
//! second copy of it, after a crash, counts once (V3).

use std::sync::Arc;
use std::time::Duration;

use plaudit_kafka::{ConfirmingProducer, Delivery, Record};

use crate::batch::Position;
use crate::steps::now_millis;

/// The headers of a dead letter. The names are public: tools and people read them.
pub mod header {
    /// Why the record cannot be stored.
    pub const REASON: &str = "plaudit-dead-reason";
    /// How often ClickHouse refused it.
    pub const ATTEMPTS: &str = "plaudit-dead-attempts";
    /// The topic of the record.
    pub const TOPIC: &str = "plaudit-dead-topic";
    /// The partition of the record.
    pub const PARTITION: &str = "plaudit-dead-partition";
    /// The offset of the record.
    pub const OFFSET: &str = "plaudit-dead-offset";
    /// When it was given up, in milliseconds since 1970.
    pub const TIME: &str = "plaudit-dead-time";
}

/// A record on its way to the dead-letter topic: its own key and bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DeadLetter {
    pub(crate) position: Position,
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) reason: &'static str,
    pub(crate) attempts: usize,
}

/// Where dead letters go.
#[derive(Debug)]
pub(crate) enum DeadLetters {
    /// To a topic, by a producer that waits for every replica.
    Topic {
        producer: ConfirmingProducer,
        /// The topic of the records.
        original: Arc<str>,
        /// The dead-letter topic.
        topic: String,
    },
    /// Nowhere: the sender is still there, and is told.
    Sender,
}

/// How long one round of confirmations may take: beyond Kafka's own timeout.
const ROUND: Duration = Duration::from_secs(10);

/// Letters a round, so that the producer's queue is never full of them.
const LETTERS_A_ROUND: usize = 1000;

impl DeadLetters {
    /// Publishes the letters and waits until the broker has every one.
    ///
    /// While Kafka is away it waits: there is nowhere else to put them.
    pub(crate) async fn publish(
        &self,
        letters: &[DeadLetter],
        mut waits: impl Iterator<Item = Duration>,
    ) {
        let Self::Topic {
            producer,
            original,
            topic,
        } = self
        else {
            return;
        };
        for round in letters.chunks(LETTERS_A_ROUND) {
            let mut left: Vec<&DeadLetter> = round.iter().collect();
            loop {
                left = send(producer, original, topic, &left).await;
                if left.is_empty() {
                    break;
                }
                tracing::warn!(
                    records = left.len(),
                    "dead letters are not confirmed: trying again"
                );
                tokio::time::sleep(waits.next().unwrap_or(ROUND)).await;
            }
        }
    }
}

/// Sends letters once; returns those that were not confirmed.
async fn send<'l>(
    producer: &ConfirmingProducer,
    original: &str,
    topic: &str,
    letters: &[&'l DeadLetter],
) -> Vec<&'l DeadLetter> {
    let headers: Vec<Headers> = letters.iter().map(|letter| Headers::of(letter)).collect();
    let named: Vec<_> = headers
        .iter()
        .map(|headers| headers.named(original))
        .collect();
    let records = letters.iter().zip(&named).map(|(letter, headers)| Record {
        key: Some(&letter.key),
        payload: Some(&letter.payload),
        headers,
        // Now: retention counts from here, not from when the event came.
        timestamp_ms: 0,
    });
    let pending = producer.send_all(topic, records);
    let deliveries = pending.wait(ROUND).await;
    letters
        .iter()
        .zip(deliveries)
        .filter(|(_, delivery)| !matches!(delivery, Delivery::Confirmed { .. }))
        .map(|(letter, _)| *letter)
        .collect()
}

/// The headers of a dead letter, as text.
struct Headers {
    reason: &'static str,
    attempts: String,
    partition: String,
    offset: String,
    time: String,
}

impl Headers {
    fn of(letter: &DeadLetter) -> Self {
        Self {
            reason: letter.reason,
            attempts: letter.attempts.to_string(),
            partition: letter.position.partition.to_string(),
            offset: letter.position.offset.to_string(),
            time: now_millis().to_string(),
        }
    }

    fn named<'h>(&'h self, original: &'h str) -> [(&'static str, &'h [u8]); 6] {
        [
            (header::REASON, self.reason.as_bytes()),
            (header::ATTEMPTS, self.attempts.as_bytes()),
            (header::TOPIC, original.as_bytes()),
            (header::PARTITION, self.partition.as_bytes()),
            (header::OFFSET, self.offset.as_bytes()),
            (header::TIME, self.time.as_bytes()),
        ]
    }
}
