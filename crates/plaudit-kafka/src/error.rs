//! What can go wrong outside of a single record: settings, clients, requests.

use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode};
use rdkafka::types::RDKafkaConfRes;

/// Why a client could not be made or a request to the cluster failed.
///
/// Texts name keys, topics and the cluster's own words for an error, never the
/// value of a setting: that may be a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// A key under `kafka.properties` that librdkafka does not know.
    #[error("`kafka.properties.{key}` is not a librdkafka setting")]
    UnknownProperty {
        /// The key as librdkafka spells it.
        key: String,
    },
    /// A key under `kafka.properties` whose value librdkafka refuses.
    #[error("`kafka.properties.{key}` has a value that librdkafka refuses")]
    InvalidProperty {
        /// The key as librdkafka spells it.
        key: String,
    },
    /// A key under `kafka.properties` that a promise depends on.
    #[error("`kafka.properties.{key}` cannot be changed: {why}")]
    FixedProperty {
        /// The key as librdkafka spells it.
        key: String,
        /// What would break, or what to set in its place.
        why: &'static str,
    },
    /// librdkafka refuses the settings as a whole.
    #[error("librdkafka refuses the settings: {reason}")]
    Client {
        /// librdkafka's words.
        reason: String,
    },
    /// The thread that serves a client could not be started.
    #[error("start the Kafka client's thread: {reason}")]
    Thread {
        /// The system's words.
        reason: String,
    },
    /// A request to the cluster was not answered in time.
    #[error("{request}: no answer from Kafka in time; is `kafka.brokers` right and reachable?")]
    Unreachable {
        /// What was asked, as verb and object.
        request: &'static str,
    },
    /// A request to the cluster was not answered in time, as no broker is connected.
    #[error("{request}: no answer from Kafka in time; the last connection failed: {reason}")]
    NotConnected {
        /// What was asked, as verb and object.
        request: &'static str,
        /// librdkafka's words: a certificate, a password, an address.
        reason: String,
    },
    /// The cluster refused a request.
    #[error("{request}: {reason}")]
    Refused {
        /// What was asked, as verb and object.
        request: &'static str,
        /// The cluster's words.
        reason: String,
    },
    /// The topic is not there.
    #[error("topic `{topic}` does not exist; `plaudit migrate` creates it")]
    NoTopic {
        /// The topic's name.
        topic: String,
    },
    /// A topic could not be created.
    #[error("create topic `{topic}`: {reason}")]
    CreateTopic {
        /// The topic's name.
        topic: String,
        /// The cluster's words, with what to do where that is known.
        reason: String,
    },
}

impl KafkaError {
    /// Reads an error met while a client is made.
    pub(crate) fn client(error: Native) -> Self {
        match error {
            // librdkafka's description repeats the value: only the key is kept.
            Native::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, key, _) => {
                Self::UnknownProperty { key }
            }
            Native::ClientConfig(_, _, key, _) => Self::InvalidProperty { key },
            Native::ClientCreation(reason) => Self::Client { reason },
            other => Self::Client {
                reason: other.to_string(),
            },
        }
    }

    /// Reads an error answered to `request`.
    pub(crate) fn request(request: &'static str, error: &Native) -> Self {
        match error.rdkafka_error_code() {
            Some(code) => Self::request_code(request, code),
            None => Self::Refused {
                request,
                reason: error.to_string(),
            },
        }
    }

    pub(crate) fn request_code(request: &'static str, code: RDKafkaErrorCode) -> Self {
        match code {
            RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::TimedOutQueue
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve => Self::Unreachable { request },
            code => Self::Refused {
                request,
                reason: code.to_string(),
            },
        }
    }
}
