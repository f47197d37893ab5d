//! Publishes to Kafka.

use std::sync::Arc;
use std::time::Duration;

use plaudit_dialects::{Batch, Delivery, Refused};
use plaudit_event::{Declaration, Micros, Receipt, codec};
use plaudit_kafka::{ConfirmingProducer, Delivery as Written, KafkaConfig, Reason, Record};

use crate::declarations::Declared;
use crate::publish::{NotReady, Publish, Unflushed};

/// Writes events to a topic, keyed so that a trace's stay in order.
#[derive(Debug)]
pub struct KafkaPublish {
    producer: ConfirmingProducer,
    topic: Arc<str>,
    metrics_topic: Arc<str>,
    deadline: Duration,
    version: String,
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
            topic: kafka.topic.as_str().into(),
            metrics_topic: kafka.metrics_topic.as_str().into(),
            deadline,
            version: codec::VERSION.to_string(),
        }
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

    async fn publish(&self, batch: Arc<Batch>) -> Vec<Delivery> {
        let pending = {
            let headers = [
                (codec::VERSION_HEADER, self.version.as_bytes()),
                (codec::PROJECT_HEADER, batch.project.as_bytes()),
                (codec::DIALECT_HEADER, batch.dialect.name().as_bytes()),
            ];
            let records = batch.records().map(|record| Record {
                key: Some(record.key),
                payload: Some(record.value),
                headers: &headers,
                timestamp_ms: batch.received_at.as_millis(),
            });
            self.producer.send_all(&self.topic, records)
        };
        // librdkafka has its own copy: the bytes need not wait for the brokers.
        drop(batch);
        let written = pending.wait(self.deadline).await;
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
        match health.fatal {
            Some(reason) => Err(NotReady(format!("failed for good: {reason}").into())),
            None if !health.connected => Err(NotReady("no broker is connected".into())),
            None => Ok(()),
        }
    }

    fn queue_len(&self) -> usize {
        self.producer.queue_len()
    }

    fn failures(&self) -> Vec<(&'static str, u64)> {
        self.producer.failures().collect()
    }

    async fn flush(&self, deadline: Duration) -> Result<(), Unflushed> {
        let flushed = self.producer.flush(deadline).await;
        flushed.map_err(|left| Unflushed {
            events: left.records,
        })
    }
}
