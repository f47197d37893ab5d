//! Publishes to Kafka.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plaudit_dialects::{Batch, Delivery, Record as Encoded, Refused};
use plaudit_event::{Declaration, Micros, Receipt};
use plaudit_kafka::{
    ConfirmingProducer, Delivery as Written, KafkaConfig, Pending, Reason, Record,
};
use tokio::time::Instant;

use crate::declarations::Declared;
use crate::publish::{NotReady, Publish, Unflushed};

/// Writes events to a topic, keyed so that a trace's stay in order.
#[derive(Debug)]
pub struct KafkaPublish {
    producer: ConfirmingProducer,
    /// Made when a broker refuses a batch for its size. `None` if it cannot be.
    one_by_one: OnceLock<Option<ConfirmingProducer>>,
    kafka: KafkaConfig,
    topic: Arc<str>,
    metrics_topic: Arc<str>,
    deadline: Duration,
}

/// Seconds after which a full queue has drained, when Kafka is well.
const QUEUE_RETRY_AFTER: u32 = 1;

/// Seconds after which it is worth asking a cluster again that says no.
const CLUSTER_RETRY_AFTER: u32 = 5;

impl KafkaPublish {
    /// Publishes events to `kafka.topic` and declarations to `kafka.metrics_topic`.
    /// `deadline` (`intake.http_timeout`) is longer than the producer's
    /// `message.timeout.ms`, so that it never passes unless the producer hangs.
    pub fn new(producer: ConfirmingProducer, kafka: &KafkaConfig, deadline: Duration) -> Self {
        Self {
            producer,
            one_by_one: OnceLock::new(),
            kafka: kafka.clone(),
            topic: kafka.topic.as_str().into(),
            metrics_topic: kafka.metrics_topic.as_str().into(),
            deadline,
        }
    }

    /// Sends `events`, which are some or all of the batch's.
    fn send<'b>(
        &self,
        producer: &ConfirmingProducer,
        batch: &Batch,
        events: impl ExactSizeIterator<Item = Encoded<'b>>,
    ) -> Pending {
        let records = events.map(|event| Record {
            key: Some(event.key),
            payload: Some(event.value),
            headers: &[],
            timestamp_ms: batch.received_at.as_millis(),
        });
        producer.send_all(&self.topic, records)
    }

    /// What sends each record by itself.
    fn one_by_one(&self) -> Option<&ConfirmingProducer> {
        let made = self.one_by_one.get_or_init(|| {
            tracing::warn!(
                topic = &*self.topic,
                "a broker refuses batches for their size, so their records are sent one by one: \
                 if this goes on under load, set kafka.properties.batch.size below the topic's \
                 max.message.bytes"
            );
            let made = ConfirmingProducer::one_by_one(&self.kafka);
            made.inspect_err(|error| tracing::error!(%error, "cannot send records one by one"))
                .ok()
        });
        made.as_ref()
    }

    /// Sends again what a broker refused for its size, each record by itself: it
    /// refuses a batch as a whole, and most of what was in it may be small.
    async fn separate(&self, batch: &Batch, written: &mut [Written], end: Instant) {
        let all = batch.records().zip(written.iter());
        let events: Vec<_> = all
            .filter_map(|(event, one)| is_too_large(one).then_some(event))
            .collect();
        let again = match self.one_by_one() {
            Some(producer) => {
                let pending = self.send(producer, batch, events.into_iter());
                pending.wait(end.duration_since(Instant::now())).await
            }
            // They are not in the topic, and it is not known that they cannot be.
            None => vec![Written::Unconfirmed; events.len()],
        };
        let refused = written.iter_mut().filter(|one| is_too_large(one));
        for (one, again) in refused.zip(again) {
            *one = again;
        }
    }

    /// Every producer there is.
    fn producers(&self) -> impl Iterator<Item = &ConfirmingProducer> {
        let other = self.one_by_one.get().and_then(Option::as_ref);
        std::iter::once(&self.producer).chain(other)
    }

    fn delivery(&self, written: Written) -> Delivery {
        match written {
            Written::Confirmed { partition, offset } => Delivery::Confirmed(Receipt {
                topic: Arc::clone(&self.topic),
                partition,
                offset,
            }),
            Written::Refused(reason) => Delivery::Refused(refused(reason)),
            Written::Failed(_) | Written::Unconfirmed => Delivery::Unconfirmed,
        }
    }
}

fn is_too_large(one: &Written) -> bool {
    *one == Written::Refused(Reason::TooLarge)
}

fn refused(reason: Reason) -> Refused {
    match reason {
        Reason::TooLarge => Refused::TooLarge,
        Reason::QueueFull => Refused::Busy {
            retry_after: QUEUE_RETRY_AFTER,
        },
        _ => Refused::Busy {
            retry_after: CLUSTER_RETRY_AFTER,
        },
    }
}

impl Publish for KafkaPublish {
    const CONDITION: &'static str = "kafka";
    const COMES_BACK: bool = true;

    async fn publish(&self, batch: Arc<Batch>, deadline: Duration) -> Vec<Delivery> {
        let end = Instant::now() + deadline;
        let pending = self.send(&self.producer, &batch, batch.records());
        let mut written = pending.wait(deadline).await;
        if written.iter().any(is_too_large) {
            Box::pin(self.separate(&batch, &mut written, end)).await;
        }
        written.into_iter().map(|one| self.delivery(one)).collect()
    }

    async fn declare(&self, project: &str, declarations: &[Declaration]) -> Result<(), NotReady> {
        let records: Vec<_> = declarations
            .iter()
            .map(|declaration| Declared::encode(project, declaration))
            .collect();
        let timestamp_ms = Micros::now().as_millis();
        let pending = {
            let records = records.iter().map(|(key, payload)| Record {
                key: Some(key),
                payload: payload.as_deref(),
                headers: &[],
                timestamp_ms,
            });
            self.producer.send_all(&self.metrics_topic, records)
        };
        let written = pending.wait(self.deadline).await;
        let durable = |one: &Written| matches!(one, Written::Confirmed { .. });
        if written.iter().all(durable) {
            Ok(())
        } else {
            Err(NotReady("the declaration was not confirmed".into()))
        }
    }

    fn readiness(&self) -> Result<(), NotReady> {
        let health = self.producer.health();
        if health.is_ready() {
            Ok(())
        } else {
            Err(NotReady(health.reason().into()))
        }
    }

    async fn failed_for_good(&self) -> NotReady {
        NotReady(self.producer.failed_for_good().await.to_string().into())
    }

    fn queue_len(&self) -> usize {
        let lengths = self.producers().map(ConfirmingProducer::queue_len);
        lengths.sum()
    }

    fn queue_fullness(&self) -> f64 {
        self.producers()
            .map(ConfirmingProducer::fullness)
            .fold(0.0, f64::max)
    }

    fn failures(&self) -> Vec<(&'static str, u64)> {
        let mut failures: Vec<_> = self.producer.failures().collect();
        for other in self.producers().skip(1) {
            for ((_, sum), (_, count)) in failures.iter_mut().zip(other.failures()) {
                *sum += count;
            }
        }
        failures
    }

    async fn flush(&self, deadline: Duration) -> Result<(), Unflushed> {
        let end = Instant::now() + deadline;
        for producer in self.producers() {
            // Nothing is published any more, so none of them gets more to do.
            let flushed = producer.flush(end.duration_since(Instant::now())).await;
            flushed.map_err(|_| Unflushed {
                events: self.queue_len(),
            })?;
        }
        Ok(())
    }
}
