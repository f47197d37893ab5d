//! Whether a client can reach its cluster, and librdkafka's log.
//!
//! librdkafka reconnects by itself, with or without traffic, and reports the
//! state of each broker in its statistics twice a second: a client is connected
//! when at least one is up. Its "all brokers down" errors are not used: it raises
//! them for each attempt to connect, and also while brokers are up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::Statistics;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode};
use rdkafka::statistics::Broker;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a client last knew about its cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Health {
    /// At least one broker is connected. False until the first connection.
    pub connected: bool,
    /// Why this client can do nothing any more; it has to be made anew.
    pub fatal: Option<Arc<str>>,
    /// Why the last attempt to connect failed, in librdkafka's words, while no broker is
    /// connected: a certificate, a password, an address.
    pub last_failure: Option<Arc<str>>,
}

impl Health {
    /// Whether a request can be expected to succeed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.connected && self.fatal.is_none()
    }

    /// What is in the way, for people.
    #[must_use]
    pub fn reason(&self) -> String {
        match (&self.fatal, &self.last_failure) {
            (Some(reason), _) => format!("failed for good: {reason}"),
            (None, Some(reason)) => format!("no broker is connected: {reason}"),
            (None, None) => "no broker is connected".to_owned(),
        }
    }
}

/// Keeps a client's [`Health`] from librdkafka's callbacks.
pub(crate) struct Tracker {
    /// The client's kind, as a log field.
    client: &'static str,
    health: watch::Sender<Health>,
    /// Statistics in a row that knew of no broker.
    without_brokers: AtomicUsize,
    /// When a warning of a facility was last passed on.
    warned: Mutex<HashMap<String, Instant>>,
}

/// The facility of a connection that could not be made, or broke.
const CONNECTION_FAILED: &str = "FAIL";

/// Statistics in a row without a broker, half a second apart, before librdkafka can be
/// taken not to find its way back by itself (`metadata.recovery.rebootstrap.trigger.ms`).
const STRANDED: usize = 4;

/// librdkafka repeats itself: a warning a minute for each of its facilities will do.
const WARN_AGAIN: Duration = Duration::from_secs(60);

impl Tracker {
    pub(crate) fn new(client: &'static str) -> Self {
        Self {
            client,
            health: watch::Sender::new(Health::default()),
            without_brokers: AtomicUsize::new(0),
            warned: Mutex::default(),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Takes an error that concerns the client rather than a record.
    pub(crate) fn error(&self, error: &Native, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => self.set_fatal(reason),
            // Of a token that cannot be had nothing is in the log.
            Some(RDKafkaErrorCode::Authentication) => self.set_failure(reason),
            // Connections that fail, which the log has too; a consumer's poll hands
            // the others to its caller.
            _ => tracing::debug!(kafka.client = self.client, %error, "kafka client error"),
        }
    }

    /// Takes the statistics' word for which brokers are up.
    pub(crate) fn statistics(&self, statistics: &Statistics) {
        // The logical broker of the group coordinator mirrors a real one.
        let connected = statistics
            .brokers
            .values()
            .any(|broker| broker.source != "logical" && matches!(&*broker.state, "UP" | "UPDATE"));
        self.set_connected(connected);
        let is_known = |broker: &Broker| matches!(&*broker.source, "configured" | "learned");
        if statistics.brokers.values().any(is_known) {
            self.without_brokers.store(0, Ordering::Relaxed);
        } else {
            self.without_brokers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the client has nobody left to ask and will never connect again.
    ///
    /// A broker that stood still for long answers with a list of brokers that has not even
    /// itself, since the controller has given it up; librdkafka (2.10 to 2.12 at least) then
    /// forgets every broker, the configured ones too, and begins anew only some time after a
    /// request for metadata, which it may have had nobody to send to.
    pub(crate) fn is_stranded(&self) -> bool {
        self.without_brokers.load(Ordering::Relaxed) >= STRANDED
    }

    /// The client is made anew.
    pub(crate) fn begin_anew(&self) {
        self.without_brokers.store(0, Ordering::Relaxed);
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.client;
        if facility == CONNECTION_FAILED {
            self.set_failure(message);
        }
        // librdkafka's errors are a lost connection or the like, which it mends.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(kafka.client = client, facility, "librdkafka: {message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if self.may_warn(facility) => {
                tracing::warn!(kafka.client = client, facility, "librdkafka: {message}");
            }
            RDKafkaLogLevel::Notice => {
                tracing::info!(kafka.client = client, facility, "librdkafka: {message}");
            }
            _ => {
                tracing::debug!(kafka.client = client, facility, "librdkafka: {message}");
            }
        }
    }

    fn may_warn(&self, facility: &str) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let recently = warned
            .get(facility)
            .is_some_and(|last| now - *last < WARN_AGAIN);
        if !recently {
            warned.insert(facility.to_owned(), now);
        }
        !recently
    }

    fn set_connected(&self, connected: bool) {
        let changed = self.health.send_if_modified(|health| {
            if connected {
                health.last_failure = None;
            }
            std::mem::replace(&mut health.connected, connected) != connected
        });
        if changed && connected {
            tracing::info!(kafka.client = self.client, "kafka connected");
        } else if changed {
            tracing::warn!(kafka.client = self.client, "kafka unreachable");
        }
    }

    /// Tells nobody: it is for who asks.
    fn set_failure(&self, message: &str) {
        // `[thrd:…]: ` is whose thread it was.
        let reason = message
            .split_once("]: ")
            .map_or(message, |(_, reason)| reason);
        self.health.send_if_modified(|health| {
            if !health.connected {
                health.last_failure = Some(reason.into());
            }
            false
        });
    }

    fn set_fatal(&self, reason: &str) {
        let first = self.health.send_if_modified(|health| {
            let first = health.fatal.is_none();
            health.fatal.get_or_insert_with(|| reason.into());
            first
        });
        if first {
            tracing::error!(
                kafka.client = self.client,
                reason,
                "kafka client failed for good"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(brokers: &[(&str, &str)]) -> Statistics {
        let brokers = brokers.iter().enumerate().map(|(index, (source, state))| {
            let broker = Broker {
                source: (*source).to_owned(),
                state: (*state).to_owned(),
                ..Broker::default()
            };
            (index.to_string(), broker)
        });
        Statistics {
            brokers: brokers.collect(),
            ..Statistics::default()
        }
    }

    #[test]
    fn one_broker_that_is_up_is_enough() {
        let tracker = Tracker::new("test");
        assert!(!tracker.health().is_ready());
        tracker.statistics(&statistics(&[("learned", "DOWN"), ("learned", "UP")]));
        assert!(tracker.health().is_ready());
        tracker.statistics(&statistics(&[("learned", "DOWN"), ("logical", "UP")]));
        assert!(!tracker.health().is_ready());
    }

    #[test]
    fn an_attempt_to_connect_that_fails_is_not_the_last_word() {
        let tracker = Tracker::new("test");
        tracker.statistics(&statistics(&[("learned", "UP")]));
        tracker.error(
            &Native::Global(RDKafkaErrorCode::AllBrokersDown),
            "0/2 brokers are down",
        );
        assert!(tracker.health().is_ready());
    }

    #[test]
    fn why_no_broker_is_connected_is_known_until_one_is() {
        let tracker = Tracker::new("test");
        assert_eq!(tracker.health().reason(), "no broker is connected");
        let said = "[thrd:ssl://h:1/bootstrap]: ssl://h:1/bootstrap: SSL handshake failed";
        tracker.log(RDKafkaLogLevel::Error, "FAIL", said);
        assert_eq!(
            tracker.health().reason(),
            "no broker is connected: ssl://h:1/bootstrap: SSL handshake failed"
        );
        tracker.statistics(&statistics(&[("learned", "UP")]));
        tracker.log(RDKafkaLogLevel::Error, "FAIL", said);
        assert_eq!(tracker.health().last_failure, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_is_passed_on_once_a_minute_for_each_facility() {
        let tracker = Tracker::new("test");
        assert!(tracker.may_warn("FAIL"));
        assert!(!tracker.may_warn("FAIL"));
        assert!(tracker.may_warn("REQTMOUT"));
        tokio::time::advance(WARN_AGAIN).await;
        assert!(tracker.may_warn("FAIL"));
    }

    #[test]
    fn a_fatal_error_stays_and_keeps_its_first_reason() {
        let tracker = Tracker::new("test");
        tracker.error(&Native::Global(RDKafkaErrorCode::Fatal), "epoch");
        tracker.error(&Native::Global(RDKafkaErrorCode::Fatal), "later");
        tracker.statistics(&statistics(&[("learned", "UP")]));
        let health = tracker.health();
        assert_eq!(health.fatal.as_deref(), Some("epoch"));
        assert!(health.connected && !health.is_ready());
    }

    #[test]
    fn p5_a_client_without_any_broker_is_stranded_and_one_whose_brokers_are_down_is_not() {
        let tracker = Tracker::new("test");
        let (away, nobody) = (
            [("learned", "DOWN")],
            [("logical", "DOWN"), ("internal", "UP")],
        );
        for _ in 0..2 * STRANDED {
            tracker.statistics(&statistics(&away));
        }
        assert!(!tracker.is_stranded());
        for _ in 1..STRANDED {
            tracker.statistics(&statistics(&nobody));
        }
        assert!(!tracker.is_stranded(), "not yet");
        tracker.statistics(&statistics(&nobody));
        assert!(tracker.is_stranded());
        tracker.begin_anew();
        assert!(!tracker.is_stranded());
    }
}
