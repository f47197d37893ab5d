//! What is asked about topics and groups, and topics made where they are missing.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::Consumer;
use rdkafka::error::{IsError, KafkaError as Native, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

use crate::config::KafkaConfig;
use crate::consumer::{committed_offsets, with_offsets};
use crate::error::KafkaError;
use crate::health::Tracker;
use crate::reader;
use crate::settings::{Role, client_config};

mod create;

pub use create::TopicReport;

/// Asks about topics and creates them.
///
/// A request that nobody answers ends the client that it was made with, as it may have
/// lost its brokers for ever (see `Tracker::is_stranded`); the next request has a new one.
#[derive(Clone)]
pub struct Admin {
    client: Arc<RwLock<Client>>,
    config: KafkaConfig,
}

type Client = Arc<AdminClient<Context>>;

/// What a partition's log holds: the offsets from `low` up to, without, `high`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Watermarks {
    /// Which partition.
    pub partition: i32,
    /// The first offset that the log still has.
    pub low: i64,
    /// The offset that the next record will get.
    pub high: i64,
}

struct Context {
    tracker: Tracker,
}

impl Admin {
    /// Makes the client; connects in the background.
    ///
    /// # Errors
    /// When a setting is refused. A broker that is away is no error yet.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        Ok(Self {
            client: Arc::new(RwLock::new(connect(config)?)),
            config: config.clone(),
        })
    }

    fn client(&self) -> Client {
        let client = self.client.read();
        Arc::clone(&client.unwrap_or_else(PoisonError::into_inner))
    }

    fn renew(&self) -> Result<(), KafkaError> {
        let renewed = connect(&self.config)?;
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        let given_up = std::mem::replace(&mut *client, renewed);
        // Not under the lock: its end takes its time.
        drop(client);
        drop(given_up);
        Ok(())
    }

    /// The partitions of a topic.
    ///
    /// # Errors
    /// [`KafkaError::NoTopic`] if there is none, or when the cluster does not
    /// answer within `timeout`.
    pub async fn topic_partitions(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<i32>, KafkaError> {
        let found = self.describe(topic, timeout).await?;
        Ok(found.into_iter().map(|(partition, _)| partition).collect())
    }

    /// What the log of each partition of a topic holds.
    ///
    /// # Errors
    /// As [`topic_partitions`](Self::topic_partitions); `timeout` is for each request.
    pub async fn watermarks(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<Watermarks>, KafkaError> {
        const REQUEST: &str = "ask for a topic's offsets";
        let partitions = self.topic_partitions(topic, timeout).await?;
        let (client, topic) = (self.client(), topic.to_owned());
        blocking(REQUEST, move || {
            let ask = |partition| {
                let (low, high) = client
                    .inner()
                    .fetch_watermarks(&topic, partition, timeout)
                    .map_err(|error| KafkaError::request(REQUEST, &error))?;
                Ok(Watermarks {
                    partition,
                    low,
                    high,
                })
            };
            partitions.into_iter().map(ask).collect()
        })
        .await
    }

    /// Deletes the records of `kafka.topic` before these offsets, as retention does in
    /// its time: what somebody asked to have removed, and what tests of retention need.
    ///
    /// # Errors
    /// When the cluster does not answer within `timeout`, or refuses.
    pub async fn delete_before(
        &self,
        offsets: &[(i32, i64)],
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        const REQUEST: &str = "delete records";
        let refused = |error: Native| KafkaError::request(REQUEST, &error);
        let list = with_offsets(&self.config.topic, offsets).map_err(refused)?;
        let options = AdminOptions::new()
            .request_timeout(Some(timeout))
            .operation_timeout(Some(timeout));
        let answer = self.client().delete_records(&list, &options).await;
        for element in answer.map_err(refused)?.elements() {
            element.error().map_err(refused)?;
        }
        Ok(())
    }

    /// Deletes a topic with all it holds: what tests of one that was made anew need.
    ///
    /// # Errors
    /// When the cluster does not answer within `timeout`, or refuses.
    pub async fn delete_topic(&self, topic: &str, timeout: Duration) -> Result<(), KafkaError> {
        const REQUEST: &str = "delete the topic";
        let options = AdminOptions::new()
            .request_timeout(Some(timeout))
            .operation_timeout(Some(timeout));
        let answer = self.client().delete_topics(&[topic], &options).await;
        let results = answer.map_err(|error| KafkaError::request(REQUEST, &error))?;
        for result in results {
            result.map_err(|(_, code)| KafkaError::request_code(REQUEST, code))?;
        }
        Ok(())
    }

    /// Replaces the settings of `kafka.topic`, as an operator may at any time: those
    /// that are not named become the cluster's. For tests of what follows.
    ///
    /// # Errors
    /// When the cluster does not answer within `timeout`, or refuses.
    pub async fn alter_topic(
        &self,
        settings: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<(), KafkaError> {
        const REQUEST: &str = "alter a topic";
        let topic = ResourceSpecifier::Topic(&self.config.topic);
        let altered = settings
            .iter()
            .fold(AlterConfig::new(topic), |altered, (key, value)| {
                altered.set(key, value)
            });
        let options = AdminOptions::new().request_timeout(Some(timeout));
        let answer = self.client().alter_configs(&[altered], &options).await;
        let answer = answer.map_err(|error| KafkaError::request(REQUEST, &error))?;
        answer.into_iter().try_for_each(|result| {
            result
                .map(drop)
                .map_err(|(_, code)| KafkaError::request_code(REQUEST, code))
        })
    }

    /// The offsets that the group `kafka.group` committed for `kafka.topic`.
    ///
    /// # Errors
    /// As [`watermarks`](Self::watermarks).
    pub async fn committed(
        &self,
        timeout: Duration,
    ) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
        let partitions = self.topic_partitions(&self.config.topic, timeout).await?;
        let config = self.config.clone();
        blocking("ask for the group's committed offsets", move || {
            // It names the group, and as it subscribes to nothing never joins it.
            let client = reader::client(&config, Role::Consumer, &config.topic)?;
            committed_offsets(&client, &config.topic, &partitions, timeout)
        })
        .await
    }

    /// Per partition, the first offset whose record has this timestamp, in
    /// milliseconds, or a later one; the log's end where there is none.
    ///
    /// # Errors
    /// As [`watermarks`](Self::watermarks).
    pub async fn offsets_at(
        &self,
        topic: &str,
        timestamp_ms: i64,
        timeout: Duration,
    ) -> Result<Vec<(i32, i64)>, KafkaError> {
        const REQUEST: &str = "ask for the offsets at a time";
        let logs = self.watermarks(topic, timeout).await?;
        let (config, topic) = (self.config.clone(), topic.to_owned());
        blocking(REQUEST, move || {
            let refused = |error: Native| KafkaError::request(REQUEST, &error);
            let client = reader::client(&config, Role::Reader, &topic)?;
            let asked: Vec<_> = logs
                .iter()
                .map(|log| (log.partition, timestamp_ms))
                .collect();
            let asked = with_offsets(&topic, &asked).map_err(refused)?;
            let answer = client.offsets_for_times(asked, timeout).map_err(refused)?;
            let mut offsets = Vec::with_capacity(logs.len());
            for element in answer.elements() {
                element.error().map_err(refused)?;
                let partition = element.partition();
                let log = logs.iter().find(|log| log.partition == partition);
                match (element.offset(), log) {
                    (Offset::Offset(offset), _) => offsets.push((partition, offset)),
                    (_, Some(log)) => offsets.push((partition, log.high)),
                    (_, None) => {}
                }
            }
            Ok(offsets)
        })
        .await
    }

    /// How many members the group `kafka.group` has now: the sinks that run.
    ///
    /// # Errors
    /// When the cluster does not answer within `timeout`, or refuses; and with
    /// `group.protocol = "consumer"`, as such a group cannot be asked this way.
    pub async fn group_members(&self, timeout: Duration) -> Result<usize, KafkaError> {
        const REQUEST: &str = "ask for the group's members";
        if self.config.properties.get("group.protocol") == Some("consumer") {
            return Err(KafkaError::Refused {
                request: REQUEST,
                reason: "not with `group.protocol` = `consumer`".to_owned(),
            });
        }
        let (client, group) = (self.client(), self.config.group.clone());
        blocking(REQUEST, move || {
            let groups = client
                .inner()
                .fetch_group_list(Some(&group), timeout)
                .map_err(|error| KafkaError::request(REQUEST, &error))?;
            let known = groups.groups().iter().find(|known| known.name() == group);
            Ok(known.map_or(0, |known| known.members().len()))
        })
        .await
    }

    /// Each partition of a topic, and whether it has a leader.
    async fn describe(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<(i32, bool)>, KafkaError> {
        const REQUEST: &str = "ask for a topic's partitions";
        let (client, topic) = (self.client(), topic.to_owned());
        let found = blocking(REQUEST, move || {
            let metadata = client
                .inner()
                .fetch_metadata(Some(&topic), timeout)
                .map_err(|error| KafkaError::request(REQUEST, &error))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let no_topic = || KafkaError::NoTopic {
                topic: topic.clone(),
            };
            described(found.ok_or_else(no_topic)?)
                .map_err(|code| match code {
                    RDKafkaErrorCode::UnknownTopicOrPartition => no_topic(),
                    code => KafkaError::request_code(REQUEST, code),
                })
                .and_then(|found| {
                    if found.is_empty() {
                        Err(no_topic())
                    } else {
                        Ok(found)
                    }
                })
        });
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.explained(error).await),
        }
    }

    /// Says why nobody answered, where another attempt to connect tells: librdkafka says
    /// it to who polls a client, and nobody polls this one. Nobody can be told either that
    /// it has no broker left to ask, so another takes its place.
    async fn explained(&self, error: KafkaError) -> KafkaError {
        let KafkaError::Unreachable { request } = error else {
            return error;
        };
        let admin = self.clone();
        let tried = blocking(request, move || {
            admin.renew()?;
            reader::failure_to_connect(&admin.config)
        });
        match tried.await {
            Ok(Some(reason)) => KafkaError::NotConnected { request, reason },
            Ok(None) | Err(_) => error,
        }
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.tracker.log(level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        self.tracker.error(&error, reason);
    }
}

fn connect(config: &KafkaConfig) -> Result<Client, KafkaError> {
    let context = Context {
        tracker: Tracker::new("admin"),
    };
    let config = client_config(config, Role::Admin)?;
    let client = AdminClient::from_config_and_context(&config, context);
    client.map(Arc::new).map_err(KafkaError::client)
}

fn described(topic: &MetadataTopic) -> Result<Vec<(i32, bool)>, RDKafkaErrorCode> {
    if let Some(code) = topic.error().filter(IsError::is_error) {
        return Err(code.into());
    }
    let partitions = topic.partitions().iter();
    Ok(partitions.map(|p| (p.id(), p.leader() >= 0)).collect())
}

/// Asks librdkafka something that blocks for an answer from the network.
async fn blocking<T: Send + 'static>(
    request: &'static str,
    ask: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(answer) => answer,
        Err(error) => Err(KafkaError::Refused {
            request,
            reason: error.to_string(),
        }),
    }
}
