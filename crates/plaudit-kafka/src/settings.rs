//! librdkafka's settings: whose value wins, and which are not negotiable.
//!
//! From weak to strong: librdkafka's defaults, ours, `kafka.properties`, and the
//! few that a promise rests on, which `kafka.properties` may only repeat. A
//! client gets the settings that concern its kind: librdkafka would warn about
//! `linger.ms` on a consumer.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::config::{DEAD_MAX_MESSAGE_BYTES, KafkaConfig};
use crate::error::KafkaError;

mod allowed;

pub(crate) use allowed::problems;
use allowed::{check, is_fixed};

/// The kind of client that settings are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Writes events.
    Producer,
    /// Writes dead letters: few, and larger than an event may be.
    DeadLetterProducer,
    /// Writes events that a broker refused together with others, each by itself.
    SingleProducer,
    /// A member of the sink's group.
    Consumer,
    /// Reads whole topics without committing.
    Reader,
    /// Asks about the cluster and creates topics.
    Admin,
}

/// Settings that librdkafka 2.12 documents as a producer's only.
const PRODUCER_ONLY: &[&str] = &[
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "delivery.report.only.error",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "message.send.max.retries",
    "message.timeout.ms",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Settings that librdkafka 2.12 documents as a consumer's only.
const CONSUMER_ONLY: &[&str] = &[
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.poll.interval.ms",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// Settings of group membership, which a reader without a group has no use for.
const MEMBERSHIP: &[&str] = &[
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "partition.assignment.strategy",
];

/// Set by us for every kind of client.
const COMMON: &[(&str, &str)] = &[
    ("client.id", "plaudit"),
    // A topic made by a slip would have the wrong partitions and retention.
    ("allow.auto.create.topics", "false"),
    // A broker that is back is used within about a second.
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    // A lone broker that stood still answers for a moment with an empty list of brokers, and
    // librdkafka forgets them all. The default begins anew after five minutes.
    ("metadata.recovery.rebootstrap.trigger.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    // The OpenSSL that is built in looks where no distribution has certificates.
    ("ssl.ca.location", "probe"),
    // A broker closes idle connections as a matter of course.
    ("log.connection.close", "false"),
];

const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("request.required.acks", "all"),
    ("compression.codec", "lz4"),
    // Batches form under load; alone, a request waits this long for company.
    ("queue.buffering.max.ms", "2"),
    // The Java producer's own rule. It differs from `murmur2` for records without
    // a key only: those (dead letters of foreign records) are spread.
    ("partitioner", "murmur2_random"),
    // Below the 8 s of an HTTP answer, or a client would repeat what still lands.
    ("message.timeout.ms", "7000"),
    // An unknown topic is said to be one before the record's time is up.
    ("topic.metadata.propagation.max.ms", "5000"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "65536"),
    ("statistics.interval.ms", STATISTICS_INTERVAL_MS),
];

/// A batch is a record here, so that a broker's word about a batch is about a record.
const SINGLE: &[(&str, &str)] = &[
    ("batch.num.messages", "1"),
    // Nobody to wait for.
    ("queue.buffering.max.ms", "0"),
    ("queue.buffering.max.kbytes", "16384"),
];

const CONSUMER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "false"),
    // The default of 1 s idles the consumer each time its prefetch queue is full:
    // a fifth of the rate.
    ("fetch.queue.backoff.ms", "5"),
    ("max.poll.interval.ms", MAX_POLL_INTERVAL_MS),
    // One queue for all partitions, and what a fetch may add to it, compressed: together
    // with librdkafka's own about 20 MiB at most. More makes it no faster.
    ("queued.max.messages.kbytes", "4096"),
    ("fetch.max.bytes", "2097152"),
    ("statistics.interval.ms", STATISTICS_INTERVAL_MS),
];

/// By default; a member that takes longer between two polls loses its partitions.
pub(crate) const MAX_POLL_INTERVAL_MS: &str = "300000";

/// Readiness turns true again within this time of a broker's answer.
const STATISTICS_INTERVAL_MS: &str = "500";

/// The settings of one client.
///
/// # Errors
/// When `kafka.properties` holds a key that is refused or unknown.
pub(crate) fn client_config(config: &KafkaConfig, role: Role) -> Result<ClientConfig, KafkaError> {
    let mut client = ClientConfig::new();
    // What is shown is up to the subscriber; librdkafka says little at this level.
    client.set_log_level(RDKafkaLogLevel::Info);
    set_all(&mut client, COMMON);
    client.set("metadata.broker.list", &config.brokers);
    match role {
        Role::Producer => set_all(&mut client, PRODUCER),
        Role::DeadLetterProducer => {
            set_all(&mut client, PRODUCER);
            client.set("message.max.bytes", DEAD_MAX_MESSAGE_BYTES.to_string());
        }
        Role::SingleProducer => {
            set_all(&mut client, PRODUCER);
            set_all(&mut client, SINGLE);
        }
        Role::Consumer => {
            set_all(&mut client, CONSUMER);
            client.set("group.id", &config.group);
            if config.properties.get("group.protocol") != Some("consumer") {
                // With the newer protocol these two are the broker's to decide.
                client.set("partition.assignment.strategy", "cooperative-sticky");
                // A sink that was killed keeps its partitions for this long. The
                // heartbeats come from a thread of their own, so a busy sink does not
                // miss it.
                client.set("session.timeout.ms", "10000");
            }
        }
        Role::Reader => {
            set_all(&mut client, CONSUMER);
            // librdkafka assigns partitions only to a client with a group; it is
            // never joined, and nothing is committed to it.
            client.set("group.id", format!("{}-reader", config.group));
            // Of a compacted topic, the last offset may hold no record any more.
            client.set("enable.partition.eof", "true");
        }
        Role::Admin => {}
    }
    if config.properties.get("https.ca.pem").is_none() {
        // The same for who gives out tokens; with the other it is refused.
        client.set("https.ca.location", "probe");
    }
    for (key, value) in config.properties.iter() {
        check(key, value)?;
        // A repeated one is set already, as this kind of client needs it.
        if !is_fixed(key) && concerns(role, key) {
            client.set(key, value);
        }
    }
    Ok(client)
}

fn set_all(client: &mut ClientConfig, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        client.set(*key, *value);
    }
}

fn concerns(role: Role, key: &str) -> bool {
    match role {
        Role::Producer => !CONSUMER_ONLY.contains(&key),
        Role::SingleProducer => {
            !CONSUMER_ONLY.contains(&key) && SINGLE.iter().all(|(ours, _)| *ours != key)
        }
        // Its limit for a record is not the intake's.
        Role::DeadLetterProducer => !CONSUMER_ONLY.contains(&key) && key != "message.max.bytes",
        Role::Consumer => !PRODUCER_ONLY.contains(&key),
        Role::Reader => !PRODUCER_ONLY.contains(&key) && !MEMBERSHIP.contains(&key),
        Role::Admin => !PRODUCER_ONLY.contains(&key) && !CONSUMER_ONLY.contains(&key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> KafkaConfig {
        KafkaConfig {
            properties: pairs.iter().copied().collect(),
            ..KafkaConfig::default()
        }
    }

    const ROLES: [Role; 6] = [
        Role::Producer,
        Role::DeadLetterProducer,
        Role::SingleProducer,
        Role::Consumer,
        Role::Reader,
        Role::Admin,
    ];

    #[test]
    fn librdkafka_accepts_what_we_set() {
        for role in ROLES {
            let client = client_config(&KafkaConfig::default(), role).unwrap();
            assert!(client.create_native_config().is_ok(), "{role:?}");
        }
    }

    #[test]
    fn a_property_wins_over_our_default_in_any_spelling() {
        for spelling in ["linger.ms", "queue.buffering.max.ms", "linger_ms"] {
            let client = client_config(&with(&[(spelling, "5")]), Role::Producer).unwrap();
            assert_eq!(
                client.get("queue.buffering.max.ms"),
                Some("5"),
                "{spelling}"
            );
            assert_eq!(client.get("linger.ms"), None, "{spelling}");
        }
    }

    #[test]
    fn what_a_promise_depends_on_may_be_repeated_but_not_changed() {
        for (key, same, other) in [
            ("enable.idempotence", "true", "false"),
            ("acks", "all", "1"),
            ("request.required.acks", "-1", "0"),
            ("enable.auto.commit", "false", "true"),
            ("enable.auto.offset.store", "false", "true"),
            ("auto.offset.reset", "error", "latest"),
            ("partitioner", "murmur2_random", "consistent"),
            (
                "partition.assignment.strategy",
                "cooperative-sticky",
                "range",
            ),
        ] {
            for role in ROLES {
                let repeated = client_config(&with(&[(key, same)]), role).unwrap();
                let ours = client_config(&KafkaConfig::default(), role).unwrap();
                assert_eq!(repeated.config_map(), ours.config_map(), "{key}");
                let error = client_config(&with(&[(key, other)]), role).unwrap_err();
                assert!(matches!(error, KafkaError::FixedProperty { .. }), "{key}");
            }
        }
        for key in ["bootstrap.servers", "group.id", "statistics.interval.ms"] {
            assert!(
                client_config(&with(&[(key, "1")]), Role::Admin).is_err(),
                "{key}"
            );
        }
        assert!(
            client_config(
                &with(&[("queue.buffering.max.messages", "0")]),
                Role::Producer
            )
            .is_err()
        );
    }

    #[test]
    fn a_setting_goes_only_to_the_clients_it_concerns() {
        let config = with(&[
            ("batch.size", "1000"),
            ("fetch.min.bytes", "10"),
            ("client.id", "mine"),
            ("group.instance.id", "sink-1"),
        ]);
        let given = |role, key: &str| {
            let client = client_config(&config, role).unwrap();
            client.get(key).map(str::to_owned)
        };
        assert_eq!(given(Role::Producer, "batch.size").as_deref(), Some("1000"));
        assert_eq!(given(Role::Consumer, "batch.size"), None);
        assert_eq!(given(Role::Producer, "fetch.min.bytes"), None);
        assert_eq!(
            given(Role::Consumer, "fetch.min.bytes").as_deref(),
            Some("10")
        );
        assert_eq!(
            given(Role::Consumer, "group.instance.id").as_deref(),
            Some("sink-1")
        );
        assert_eq!(given(Role::Reader, "group.instance.id"), None);
        for role in ROLES {
            assert_eq!(
                given(role, "client.id").as_deref(),
                Some("mine"),
                "{role:?}"
            );
        }
    }

    #[test]
    fn a_killed_sink_keeps_its_partitions_for_ten_seconds_unless_told_otherwise() {
        let session = |properties: &[(&str, &str)]| {
            let client = client_config(&with(properties), Role::Consumer).unwrap();
            client.get("session.timeout.ms").map(str::to_owned)
        };
        assert_eq!(session(&[]).as_deref(), Some("10000"));
        let told = session(&[("session.timeout.ms", "6000")]);
        assert_eq!(told.as_deref(), Some("6000"));
        assert_eq!(session(&[("group.protocol", "consumer")]), None);
    }
}
