//! What `kafka.properties` may say: any setting of librdkafka, but for those that a
//! promise rests on.

use rdkafka::ClientConfig;

use crate::error::KafkaError;
use crate::properties::{Properties, familiar};

/// A setting that a promise depends on.
struct Fixed {
    key: &'static str,
    /// Values that may be repeated, all meaning what we set.
    allowed: &'static [&'static str],
    why: &'static str,
}

const FIXED: &[Fixed] = &[
    fixed("metadata.broker.list", &[], "set `kafka.brokers`"),
    fixed("group.id", &[], "set `kafka.group`"),
    fixed(
        "enable.idempotence",
        &["true"],
        "a retry would write an event twice or out of order",
    ),
    fixed(
        "request.required.acks",
        &["all", "-1"],
        "an acknowledged event could be lost",
    ),
    fixed(
        "transactional.id",
        &[],
        "events are not written in transactions",
    ),
    fixed(
        "partitioner",
        &["murmur2_random"],
        "a trace's records would leave their partition",
    ),
    fixed(
        "delivery.report.only.error",
        &["false"],
        "a written event could not be confirmed",
    ),
    fixed(
        "produce.offset.report",
        &["true"],
        "a receipt holds the offset",
    ),
    fixed(
        "enable.auto.commit",
        &["false"],
        "an offset is committed when its record is stored, not when it is read",
    ),
    fixed(
        "auto.commit.enable",
        &["false"],
        "an offset is committed when its record is stored, not when it is read",
    ),
    fixed(
        "enable.auto.offset.store",
        &["false"],
        "an offset is committed when its record is stored, not when it is read",
    ),
    fixed(
        "auto.offset.reset",
        &["error"],
        "records would be skipped without a word",
    ),
    fixed(
        "partition.assignment.strategy",
        &["cooperative-sticky"],
        "the sink hands partitions over one by one",
    ),
    fixed(
        "enable.partition.eof",
        &["false"],
        "only tools wait for the end of a partition",
    ),
    fixed(
        "allow.auto.create.topics",
        &["false"],
        "a topic would be made with the cluster's defaults; `plaudit migrate` makes them",
    ),
    fixed(
        "statistics.interval.ms",
        &[],
        "readiness and lag are read from the statistics",
    ),
];

const fn fixed(key: &'static str, allowed: &'static [&'static str], why: &'static str) -> Fixed {
    Fixed { key, allowed, why }
}

/// Settings whose `0` means "no bound" (P5).
const BOUNDED: &[&str] = &["queue.buffering.max.messages", "queue.buffering.max.kbytes"];

/// Whether it is set already, as each kind of client needs it.
pub(super) fn is_fixed(key: &str) -> bool {
    FIXED.iter().any(|fixed| fixed.key == key)
}

/// All that is wrong with `properties`, each line beginning with its key.
pub(crate) fn problems(properties: &Properties) -> Vec<String> {
    properties
        .iter()
        .filter_map(|(key, value)| check(key, value).err())
        .map(|error| match error {
            KafkaError::FixedProperty { key, why } => {
                format!(
                    "kafka.properties.{}: cannot be changed: {why}",
                    familiar(&key)
                )
            }
            KafkaError::UnknownProperty { key } => {
                format!("kafka.properties.{key}: not a librdkafka setting")
            }
            KafkaError::InvalidProperty { key } => {
                format!(
                    "kafka.properties.{}: librdkafka refuses the value",
                    familiar(&key)
                )
            }
            other => format!("kafka.properties: {other}"),
        })
        .collect()
}

/// Whether a property may have this value.
pub(super) fn check(key: &str, value: &str) -> Result<(), KafkaError> {
    if let Some(fixed) = FIXED.iter().find(|fixed| fixed.key == key)
        && !fixed.allowed.contains(&value)
    {
        return Err(KafkaError::FixedProperty {
            key: familiar(key).to_owned(),
            why: fixed.why,
        });
    }
    if key.starts_with("test.mock.") {
        return Err(KafkaError::FixedProperty {
            key: key.to_owned(),
            why: "events would go to a cluster that does not exist",
        });
    }
    if BOUNDED.contains(&key) && value.trim() == "0" {
        return Err(KafkaError::FixedProperty {
            key: key.to_owned(),
            why: "0 takes the bound off the queue",
        });
    }
    ClientConfig::new()
        .set(key, value)
        .create_native_config()
        .map(drop)
        .map_err(KafkaError::client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_the_key_and_never_the_value() {
        let properties = [
            ("sasl.mechanismo", "hunter2"),
            ("security.protocol", "hunter2"),
            ("acks", "hunter2"),
        ];
        let problems = problems(&properties.into_iter().collect());
        assert_eq!(problems.len(), 3);
        assert!(
            problems.iter().all(|problem| !problem.contains("hunter2")),
            "{problems:?}"
        );
        assert!(
            problems
                .iter()
                .any(|p| p.starts_with("kafka.properties.acks: ")),
            "{problems:?}"
        );
    }
}
