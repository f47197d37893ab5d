//! The section `kafka` of the configuration.
//!
//! Values only: nothing here connects. How the settings become librdkafka's is in
//! `settings`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings;

pub use crate::properties::Properties;

/// Where Kafka is and what the topics look like (`kafka.*`).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// Brokers to start from, `host:port` separated by commas. The rest of the
    /// cluster is learned from them.
    pub brokers: String,
    /// Topic of the events; `<topic>.dead` is its dead-letter topic.
    pub topic: String,
    /// Partitions of `topic` when it is created: the most sinks that share the
    /// work. An existing topic is left as it is.
    pub partitions: i32,
    /// Copies of each record, 1 to the number of brokers. With 3, a record is
    /// acknowledged when 2 brokers have it.
    pub replication: i32,
    /// How long an event stays in the topic. A sink that is away for longer loses
    /// events, so this bounds every outage of the store.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How long a dead letter waits for a person.
    #[serde(with = "humantime_serde")]
    pub dead_retention: Duration,
    /// Compacted topic of the metric declarations that were made at run time.
    pub metrics_topic: String,
    /// Consumer group of the sinks. Another group reads the topic again.
    pub group: String,
    /// Any librdkafka setting, over our defaults; see [`Properties`].
    pub properties: Properties,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            topic: "plaudit.feedback".to_owned(),
            partitions: 12,
            replication: 1,
            retention: Duration::from_secs(7 * 24 * 3600),
            dead_retention: Duration::from_secs(30 * 24 * 3600),
            metrics_topic: "plaudit.metrics".to_owned(),
            group: "plaudit-sink".to_owned(),
            properties: Properties::default(),
        }
    }
}

impl KafkaConfig {
    /// The topic of the records that can never be stored.
    #[must_use]
    pub fn dead_topic(&self) -> String {
        format!("{}.dead", self.topic)
    }

    /// How far apart two polls may be before the group takes a member's partitions away:
    /// `max.poll.interval.ms`.
    #[must_use]
    pub fn max_poll_interval(&self) -> Duration {
        let told = self.properties.get("max.poll.interval.ms");
        let milliseconds = told.unwrap_or(settings::MAX_POLL_INTERVAL_MS).trim();
        // What is no number is a problem of its own.
        Duration::from_millis(milliseconds.parse().unwrap_or(u64::MAX))
    }

    /// All that is wrong, one line each, beginning with the key as it is typed.
    ///
    /// Unknown and refused librdkafka settings are found here, without a broker.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.brokers.split(',').all(is_address) {
            problems.push("kafka.brokers: must be `host:port`, separated by commas".to_owned());
        }
        for (key, topic) in [
            ("kafka.topic", self.topic.as_str()),
            ("kafka.topic", self.dead_topic().as_str()),
            ("kafka.metrics_topic", self.metrics_topic.as_str()),
        ] {
            if !is_topic_name(topic) {
                problems.push(format!(
                    "{key}: a topic's name is 1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` \
                     and `-` (with `.dead` after it, for `kafka.topic`)"
                ));
            }
        }
        problems.dedup();
        if self.topic == self.metrics_topic || self.dead_topic() == self.metrics_topic {
            problems.push("kafka.metrics_topic: must differ from the other topics".to_owned());
        }
        if self.partitions < 1 {
            problems.push("kafka.partitions: must be at least 1".to_owned());
        }
        if !(1..=i32::from(i16::MAX)).contains(&self.replication) {
            problems.push("kafka.replication: must be at least 1".to_owned());
        }
        for (key, duration) in [
            ("kafka.retention", self.retention),
            ("kafka.dead_retention", self.dead_retention),
        ] {
            if duration < Duration::from_secs(1) || i64::try_from(duration.as_millis()).is_err() {
                problems.push(format!("{key}: must be at least 1s"));
            }
        }
        if self.group.is_empty() {
            problems.push("kafka.group: must not be empty".to_owned());
        }
        problems.extend(settings::problems(&self.properties));
        problems
    }

    /// Settings of the topics that [`crate::Admin::ensure_topics`] creates.
    pub(crate) fn topics(&self) -> [TopicSpec; 3] {
        let delete = |retention: Duration| {
            BTreeMap::from([
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", retention.as_millis().to_string()),
            ])
        };
        let mut dead = delete(self.dead_retention);
        // A record at the feedback topic's limit, with the headers of a dead
        // letter, must still fit, or it could not be got out of the way.
        dead.insert("max.message.bytes", DEAD_MAX_MESSAGE_BYTES.to_string());
        let metrics = BTreeMap::from([("cleanup.policy", "compact".to_owned())]);
        [
            (self.topic.clone(), self.partitions, delete(self.retention)),
            (self.dead_topic(), self.partitions, dead),
            (self.metrics_topic.clone(), 1, metrics),
        ]
        .map(|(name, partitions, mut settings)| {
            if self.replication >= 3 {
                // One broker may be away; a write to one copy alone is no ack (P1).
                settings.insert("min.insync.replicas", "2".to_owned());
            }
            TopicSpec {
                name,
                partitions,
                replication: self.replication,
                settings,
            }
        })
    }
}

/// Largest dead letter, in bytes: twice Kafka's default limit for a record.
pub(crate) const DEAD_MAX_MESSAGE_BYTES: u32 = 2 * 1_048_588;

/// A topic as it is to be created.
#[derive(Clone, Debug)]
pub(crate) struct TopicSpec {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replication: i32,
    pub(crate) settings: BTreeMap<&'static str, String>,
}

fn is_address(address: &str) -> bool {
    let address = address.trim();
    // librdkafka takes `SSL://host:port` too.
    let address = address
        .split_once("://")
        .map_or(address, |(_, address)| address);
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(KafkaConfig::default().validate(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_reported_under_its_key() {
        let config = KafkaConfig {
            brokers: "localhost".to_owned(),
            topic: "feed back".to_owned(),
            partitions: 0,
            replication: 0,
            retention: Duration::ZERO,
            dead_retention: Duration::MAX,
            metrics_topic: String::new(),
            group: String::new(),
            properties: [("acks", "1"), ("lingr.ms", "2")].into_iter().collect(),
        };
        let problems = config.validate();
        let keys: Vec<_> = problems
            .iter()
            .filter_map(|problem| problem.split_once(": ").map(|(key, _)| key))
            .collect();
        assert_eq!(
            keys,
            [
                "kafka.brokers",
                "kafka.topic",
                "kafka.metrics_topic",
                "kafka.partitions",
                "kafka.replication",
                "kafka.retention",
                "kafka.dead_retention",
                "kafka.group",
                "kafka.properties.lingr.ms",
                "kafka.properties.acks",
            ]
        );
    }

    #[test]
    fn broker_lists_take_several_addresses_and_protocols() {
        for good in ["a:1", "a:1,b:2", "a:1, b:2", "SSL://a:9093", "[::1]:9092"] {
            assert!(good.split(',').all(is_address), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:x", "a:1,"] {
            assert!(!bad.split(',').all(is_address), "{bad}");
        }
    }

    #[test]
    fn only_replicated_topics_ask_for_two_in_sync() {
        let single = KafkaConfig::default().topics();
        assert!(
            single
                .iter()
                .all(|t| !t.settings.contains_key("min.insync.replicas"))
        );
        let replicated = KafkaConfig {
            replication: 3,
            ..KafkaConfig::default()
        };
        for topic in replicated.topics() {
            assert_eq!(topic.settings["min.insync.replicas"], "2", "{}", topic.name);
        }
    }
}
