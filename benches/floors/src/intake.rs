//! What the floor of the intake does with a body: read it, write its records.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientConfig, ClientContext};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::record::{Feedback, Operation, Record, Tags};

/// The fields of an item that the benchmark sends.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    trace_id: Cow<'a, str>,
    #[serde(borrow)]
    metric: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow, default)]
    comment: Cow<'a, str>,
    #[serde(borrow, default)]
    tags: Tags<'a>,
    #[serde(borrow)]
    rater: Cow<'a, str>,
}

/// What the records of one request have come to.
#[derive(Default)]
pub struct Confirmation {
    left: AtomicUsize,
    failed: AtomicBool,
    done: Notify,
}

/// Tells each record's confirmation.
struct Reports;

/// Writes requests to a topic.
pub struct Writer {
    producer: ThreadedProducer<Reports>,
    topic: String,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Confirmation>;

    fn delivery(&self, result: &DeliveryResult<'_>, confirmation: Arc<Confirmation>) {
        confirmation.one(result.is_ok());
    }
}

impl Confirmation {
    fn one(&self, confirmed: bool) {
        if !confirmed {
            self.failed.store(true, Ordering::Relaxed);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    /// Waits for all of them; whether all are durable.
    pub async fn wait(&self) -> bool {
        self.done.notified().await;
        !self.failed.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// A producer with the settings that durable writes want.
    ///
    /// # Errors
    /// When librdkafka cannot make it.
    pub fn new(brokers: &str, topic: &str) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        for (key, value) in [
            ("bootstrap.servers", brokers),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("compression.codec", "lz4"),
            ("linger.ms", "2"),
            ("partitioner", "murmur2_random"),
        ] {
            config.set(key, value);
        }
        let producer = config
            .create_with_context(Reports)
            .context("make the producer")?;
        Ok(Self {
            producer,
            topic: topic.to_owned(),
        })
    }

    /// Writes the events of a body, one or an array. How many, and what to wait for.
    ///
    /// # Errors
    /// When it is no JSON of that form, or the queue is full.
    pub fn write(&self, body: &[u8]) -> anyhow::Result<(usize, Arc<Confirmation>)> {
        let items: Vec<Item<'_>> = if body.first() == Some(&b'[') {
            serde_json::from_slice(body)?
        } else {
            vec![serde_json::from_slice(body)?]
        };
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
        let confirmation = Arc::new(Confirmation::default());
        confirmation.left.store(items.len(), Ordering::Release);
        let (count, mut payload) = (items.len(), Vec::with_capacity(512));
        for item in items {
            payload.clear();
            let key = item.trace_id.clone();
            serde_json::to_writer(&mut payload, &item.record(now))?;
            let record = BaseRecord::with_opaque_to(&self.topic, Arc::clone(&confirmation))
                .key(&*key)
                .payload(&payload);
            if let Err((error, _)) = self.producer.send(record) {
                bail!("cannot write: {error}");
            }
        }
        Ok((count, confirmation))
    }

    /// How many records wait to be written.
    pub fn waiting(&self) -> i32 {
        self.producer.in_flight_count()
    }
}

impl<'a> Item<'a> {
    fn record(self, now: i64) -> Record<'a> {
        let number = self.value.get();
        let feedback = Feedback {
            id: Uuid::now_v7(),
            trace_id: self.trace_id,
            metric: self.metric,
            score: match number {
                "true" => Some(1.0),
                "false" => Some(0.0),
                _ => number.parse().ok(),
            },
            value: Some(self.value),
            comment: self.comment,
            tags: self.tags,
            rater: self.rater,
            ..Feedback::default()
        };
        Record {
            v: 1,
            project: Cow::Borrowed("bench"),
            dialect: Cow::Borrowed("native"),
            received_at: now,
            version_time: now,
            operation: Operation::Put(Box::new(feedback)),
        }
    }
}
