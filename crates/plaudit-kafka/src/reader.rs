//! Reads a topic from given offsets without joining a group.
//!
//! For what has to see a topic as it is: the dead letters, the declared metrics,
//! `verify`, `rebuild`. Commits nothing and takes no partition from the sinks.

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as Native;
use tokio::time::Instant;

use crate::config::KafkaConfig;
use crate::consumer::{ConsumeError, Context, with_offsets};
use crate::error::KafkaError;
use crate::health::Health;
use crate::message::Message;
use crate::settings::{Role, client_config};

/// How long one attempt to connect is followed, and how often it is looked at.
const ATTEMPT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Reads partitions of one topic. Lives on one thread.
pub struct TopicReader {
    base: BaseConsumer<Context>,
}

/// What a read of a topic came upon.
#[derive(Debug)]
pub enum Read<'a> {
    /// A record.
    Record(Message<'a>),
    /// The end of this partition as it is now. Said again after each record that is
    /// written later. Its last offsets may hold no record, in a compacted topic.
    End {
        /// Which one.
        partition: i32,
    },
}

impl TopicReader {
    /// Starts to read `topic`, each partition at its offset.
    ///
    /// [`Admin::watermarks`](crate::Admin::watermarks) tells what a log has.
    ///
    /// # Errors
    /// When a setting is refused. A broker that is away is no error.
    pub fn open(
        config: &KafkaConfig,
        topic: &str,
        starts: &[(i32, i64)],
    ) -> Result<Self, KafkaError> {
        let base = client(config, Role::Reader, topic)?;
        let refused = |error: Native| KafkaError::request("read a topic", &error);
        let list = with_offsets(topic, starts).map_err(refused)?;
        base.assign(&list).map_err(refused)?;
        Ok(Self { base })
    }

    /// Returns what comes next, waiting for at most `timeout`.
    ///
    /// # Errors
    /// See [`ConsumeError`]; of an offset out of range the partition is not known.
    pub fn poll(&self, timeout: Duration) -> Option<Result<Read<'_>, ConsumeError>> {
        if self.base.context().tracker().is_stranded() {
            return Some(Err(ConsumeError::stranded()));
        }
        Some(match self.base.poll(timeout)? {
            Ok(message) => Ok(Read::Record(Message::new(message))),
            Err(Native::PartitionEOF(partition)) => Ok(Read::End { partition }),
            Err(error) => Err(ConsumeError::from_native(&error)?),
        })
    }

    /// What the reader last knew about the cluster. Served by [`poll`](Self::poll).
    #[must_use]
    pub fn health(&self) -> Health {
        self.base.context().tracker().health()
    }
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader").finish_non_exhaustive()
    }
}

/// Why no broker can be connected to, if that is so. Blocks.
pub(crate) fn failure_to_connect(config: &KafkaConfig) -> Result<Option<String>, KafkaError> {
    let client = client(config, Role::Reader, &config.topic)?;
    let end = Instant::now() + ATTEMPT;
    loop {
        // What it hands out is not for this client; what it says meanwhile is.
        drop(client.poll(LOOK));
        let health = client.context().tracker().health();
        if health.connected || health.last_failure.is_some() || Instant::now() >= end {
            return Ok(health.last_failure.map(|reason| reason.to_string()));
        }
    }
}

/// A consumer that joins no group by itself.
pub(crate) fn client(
    config: &KafkaConfig,
    role: Role,
    topic: &str,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let context = Context::new("reader", topic);
    BaseConsumer::from_config_and_context(&client_config(config, role)?, context)
        .map_err(KafkaError::client)
}
