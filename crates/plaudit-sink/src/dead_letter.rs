//! Records that cannot be stored, kept where a person finds them (PROTOCOL: step 5).
//!
//! A dead letter is named by the topic, partition and offset of its record, so a
//! second copy of it, after a crash, counts once (V3).

use std::sync::Arc;
use std::time::Duration;

use plaudit_kafka::{ConfirmingProducer, Delivery, Reason, Record};
use plaudit_service::Readiness;

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
    /// There where the broker takes no letter with the record's value in it, and says how
    /// many bytes that had. The record is in its own topic, as long as that keeps it.
    pub const VALUE_BYTES: &str = "plaudit-dead-value-bytes";
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
        /// Told while letters are not confirmed.
        readiness: Readiness,
    },
    /// Nowhere: the sender is still there, and is told.
    Sender,
}

/// The condition of readiness that letters which cannot be written stand for.
const CONDITION: &str = "dead_letters";

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
            readiness,
        } = self
        else {
            return;
        };
        for round in letters.chunks(LETTERS_A_ROUND) {
            let mut left: Vec<Sent<'_>> = round.iter().map(Sent::together).collect();
            loop {
                let too_large = attempt(producer, original, topic, &mut left).await;
                if left.is_empty() {
                    break;
                }
                if too_large {
                    continue;
                }
                tracing::warn!(
                    records = left.len(),
                    "dead letters are not confirmed: trying again"
                );
                readiness.block(CONDITION, "dead letters are not confirmed");
                tokio::time::sleep(waits.next().unwrap_or(ROUND)).await;
            }
            readiness.clear(CONDITION);
        }
    }

    /// Ends with the reason when no letter can be written any more.
    pub(crate) async fn failed_for_good(&self) -> Arc<str> {
        match self {
            Self::Topic { producer, .. } => producer.failed_for_good().await,
            Self::Sender => std::future::pending().await,
        }
    }
}

/// A letter on its way.
#[derive(Clone, Copy)]
struct Sent<'l> {
    letter: &'l DeadLetter,
    form: Form,
}

/// How a letter is sent: the next form is for one that is too large in this one.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    /// With others, in a batch that a broker refuses as a whole.
    Together,
    /// By itself: what is said of the batch is said of it.
    Alone,
    /// Without the record's value.
    WithoutValue,
}

impl<'l> Sent<'l> {
    fn together(letter: &'l DeadLetter) -> Self {
        let form = Form::Together;
        Self { letter, form }
    }
}

/// Sends letters once, each in its form, and leaves those that were not confirmed.
/// Whether some were too large, which is no reason to wait.
async fn attempt(
    producer: &ConfirmingProducer,
    original: &str,
    topic: &str,
    letters: &mut Vec<Sent<'_>>,
) -> bool {
    let is_alone = |sent: &mut Sent<'_>| sent.form == Form::Alone;
    let alone: Vec<_> = letters.extract_if(.., is_alone).collect();
    let mut too_large = send(producer, original, topic, letters).await;
    for sent in alone {
        let mut one = vec![sent];
        too_large |= send(producer, original, topic, &mut one).await;
        letters.append(&mut one);
    }
    too_large
}

/// Sends letters once and leaves those that were not confirmed; those that are too large
/// for the broker in their next form. Whether there were any.
async fn send(
    producer: &ConfirmingProducer,
    original: &str,
    topic: &str,
    letters: &mut Vec<Sent<'_>>,
) -> bool {
    let headers: Vec<Headers> = letters.iter().map(Headers::of).collect();
    let named: Vec<_> = headers
        .iter()
        .map(|headers| headers.named(original))
        .collect();
    let records = letters.iter().zip(&named).map(|(sent, headers)| Record {
        key: Some(&sent.letter.key),
        payload: (sent.form != Form::WithoutValue).then_some(&sent.letter.payload),
        headers,
        // Now: retention counts from here, not from when the event came.
        timestamp_ms: 0,
    });
    let pending = producer.send_all(topic, records);
    let mut deliveries = pending.wait(ROUND).await.into_iter();
    let mut too_large = false;
    letters.retain_mut(|sent| match deliveries.next() {
        Some(Delivery::Confirmed { .. }) => false,
        Some(Delivery::Refused(Reason::TooLarge)) if sent.form == Form::Together => {
            sent.form = Form::Alone;
            too_large = true;
            true
        }
        Some(Delivery::Refused(Reason::TooLarge)) if sent.form == Form::Alone => {
            tracing::warn!(
                kafka.partition = sent.letter.position.partition,
                kafka.offset = sent.letter.position.offset,
                "dead letter is too large for its topic: kept without the record's value"
            );
            sent.form = Form::WithoutValue;
            too_large = true;
            true
        }
        _ => true,
    });
    too_large
}

/// The headers of a dead letter, as text.
struct Headers {
    reason: &'static str,
    attempts: String,
    partition: String,
    offset: String,
    time: String,
    value_bytes: Option<String>,
}

impl Headers {
    fn of(sent: &Sent<'_>) -> Self {
        let letter = sent.letter;
        let bytes = letter.payload.len();
        Self {
            reason: letter.reason,
            attempts: letter.attempts.to_string(),
            partition: letter.position.partition.to_string(),
            offset: letter.position.offset.to_string(),
            time: now_millis().to_string(),
            value_bytes: (sent.form == Form::WithoutValue).then(|| bytes.to_string()),
        }
    }

    fn named<'h>(&'h self, original: &'h str) -> Vec<(&'static str, &'h [u8])> {
        let mut named = vec![
            (header::REASON, self.reason.as_bytes()),
            (header::ATTEMPTS, self.attempts.as_bytes()),
            (header::TOPIC, original.as_bytes()),
            (header::PARTITION, self.partition.as_bytes()),
            (header::OFFSET, self.offset.as_bytes()),
            (header::TIME, self.time.as_bytes()),
        ];
        let value_bytes = self.value_bytes.as_deref();
        named.extend(value_bytes.map(|bytes| (header::VALUE_BYTES, bytes.as_bytes())));
        named
    }
}
