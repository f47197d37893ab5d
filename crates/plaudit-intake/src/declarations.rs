//! Metrics that projects declare at run time, through a compacted topic.
//!
//! The newest record of a (project, metric) is what holds; one without a value
//! takes the declaration back. Every intake reads the topic from its start, so all
//! come to know the same; it is ready when it has read to the end once. An intake
//! that loses the brokers later goes on with what it knows.

use std::sync::Arc;
use std::time::Duration;

use plaudit_event::Declaration;
use plaudit_kafka::{Admin, ConsumeError, KafkaConfig, KafkaError, Message, Read, TopicReader};
use plaudit_service::Readiness;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::{Intake, Publish};

/// What an intake waits for before it is ready: the declarations, read once.
pub const DECLARATIONS: &str = "declarations";

/// A declaration as a record of the topic.
pub(crate) struct Declared;

/// Why what was declared cannot be followed now.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("find the topic of declarations")]
    Find(#[source] KafkaError),
    #[error("read the topic of declarations")]
    Read(#[source] ConsumeError),
}

/// How long to wait before the brokers are asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a request to the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the reader waits for a record before it looks whether it is to stop.
const POLL: Duration = Duration::from_millis(200);

impl Declared {
    /// Key and value of the record.
    pub(crate) fn encode(project: &str, declaration: &Declaration) -> (Vec<u8>, Option<Vec<u8>>) {
        let key = serde_json::json!([project, declaration.metric]);
        let value = declaration.declared.as_ref();
        let value = value.and_then(|metric| serde_json::to_vec(metric).ok());
        (key.to_string().into_bytes(), value)
    }

    /// What a record says; `None` when it is not one that this version knows.
    pub(crate) fn decode(key: &[u8], value: Option<&[u8]>) -> Option<(Arc<str>, Declaration)> {
        let (project, metric): (String, String) = serde_json::from_slice(key).ok()?;
        let declared = match value {
            Some(value) => Some(serde_json::from_slice(value).ok()?),
            None => None,
        };
        Some((project.into(), Declaration { metric, declared }))
    }
}

/// Keeps an intake's metrics at what the projects declare, until `stop`.
///
/// Ends by itself never: brokers that are away are asked again.
pub async fn follow<P: Publish>(
    kafka: KafkaConfig,
    intake: Arc<Intake<P>>,
    readiness: Readiness,
    stop: CancellationToken,
) {
    loop {
        let lost = match start(&kafka).await {
            Ok(low) => {
                let (kafka, intake) = (kafka.clone(), Arc::clone(&intake));
                let (readiness, stop) = (readiness.clone(), stop.clone());
                let read = move || read(&kafka, low, &intake, &readiness, &stop);
                // A panic in there is a bug; what is known so far still holds.
                match spawn_blocking(read).await {
                    Ok(Ok(())) | Err(_) => None,
                    Ok(Err(lost)) => Some(lost),
                }
            }
            Err(lost) => Some(lost),
        };
        if let Some(lost) = &lost {
            let error = plaudit_service::chain(lost);
            tracing::warn!(error, "declared metrics stay as they are for now");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn start(kafka: &KafkaConfig) -> Result<i64, Lost> {
    let admin = Admin::new(kafka).map_err(Lost::Find)?;
    let logs = admin.watermarks(&kafka.metrics_topic, PATIENCE).await;
    let logs = logs.map_err(Lost::Find)?;
    Ok(logs.first().map_or(0, |log| log.low))
}

/// Reads until `stop`. What comes before the first end is taken in as one.
fn read<P: Publish>(
    kafka: &KafkaConfig,
    low: i64,
    intake: &Intake<P>,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<(), Lost> {
    let reader =
        TopicReader::open(kafka, &kafka.metrics_topic, &[(PARTITION, low)]).map_err(Lost::Find)?;
    let mut waiting = Vec::new();
    let mut is_caught_up = false;
    while !stop.is_cancelled() {
        match reader.poll(POLL) {
            None => {}
            Some(Ok(Read::Record(message))) => match decode(&message) {
                Some(declared) => waiting.push(declared),
                None => tracing::warn!(
                    kafka.offset = message.offset(),
                    "a declaration cannot be read: it is left out"
                ),
            },
            Some(Ok(Read::End { .. })) => {
                is_caught_up = true;
                readiness.clear(DECLARATIONS);
            }
            Some(Err(error)) => return Err(Lost::Read(error)),
        }
        if is_caught_up && !waiting.is_empty() {
            intake.declare(&waiting);
            waiting.clear();
        }
    }
    Ok(())
}

/// The topic has one partition: its records have one order.
const PARTITION: i32 = 0;

fn decode(message: &Message<'_>) -> Option<(Arc<str>, Declaration)> {
    Declared::decode(message.key()?, message.payload())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_read_as_it_was_written() {
        let metric = serde_json::json!({"type": "float", "max": 5, "enforced": false});
        for declared in [None, Some(serde_json::from_value(metric).unwrap())] {
            let declaration = Declaration {
                metric: "m\0\"".to_owned(),
                declared,
            };
            let (key, value) = Declared::encode("p", &declaration);
            let read = Declared::decode(&key, value.as_deref());
            assert_eq!(read, Some(("p".into(), declaration)));
        }
        assert_eq!(Declared::decode(b"p", None), None);
        assert_eq!(Declared::decode(br#"["p","m"]"#, Some(b"{}")), None);
    }
}
