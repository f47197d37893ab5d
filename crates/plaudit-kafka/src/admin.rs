//! Topics: made where they are missing, and what their logs hold.
//!
//! Existing topics are never changed: a partition count is part of where a trace's
//! records are (P4), and the rest may have been chosen by an operator.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::Consumer;
use rdkafka::error::{IsError, KafkaError as Native, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use tokio::time::Instant;

use crate::config::{KafkaConfig, TopicSpec};
use crate::consumer::{committed_offsets, with_offsets};
use crate::error::KafkaError;
use crate::health::Tracker;
use crate::reader;
use crate::settings::{Role, client_config};

/// Asks about topics and creates them.
#[derive(Clone)]
pub struct Admin {
    client: Arc<AdminClient<Context>>,
    config: KafkaConfig,
}

/// A topic that is there now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicReport {
    /// Its name.
    pub name: String,
    /// Whether it was made just now.
    pub created: bool,
    /// Its partitions.
    pub partitions: i32,
    /// The partitions that the configuration asks for; another count is accepted,
    /// and worth a warning.
    pub configured_partitions: i32,
}

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

/// Between two looks at whether a new topic has its leaders.
const LEADER_LOOK: Duration = Duration::from_millis(50);

impl Admin {
    /// Makes the client; connects in the background.
    ///
    /// # Errors
    /// When a setting is refused. A broker that is away is no error yet.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let context = Context {
            tracker: Tracker::new("admin"),
        };
        let client =
            AdminClient::from_config_and_context(&client_config(config, Role::Admin)?, context)
                .map_err(KafkaError::client)?;
        Ok(Self {
            client: Arc::new(client),
            config: config.clone(),
        })
    }

    /// Creates the topics that are missing and waits until all can be written to.
    ///
    /// In order: events, dead letters, declared metrics. Can be repeated, and run
    /// by several processes at once.
    ///
    /// # Errors
    /// When the cluster does not answer or refuses within `deadline`; what was
    /// created by then stays.
    pub async fn ensure_topics(&self, deadline: Duration) -> Result<Vec<TopicReport>, KafkaError> {
        let end = Instant::now() + deadline;
        let specs = self.config.topics();
        let results = self.create(&specs, deadline).await?;
        let mut reports = Vec::with_capacity(specs.len());
        for (spec, result) in specs.iter().zip(results) {
            let partitions = self.ready_partitions(spec, result, end).await?;
            reports.push(TopicReport {
                name: spec.name.clone(),
                created: result == RDKafkaErrorCode::NoError,
                partitions,
                configured_partitions: spec.partitions,
            });
        }
        Ok(reports)
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
        let (client, topic) = (Arc::clone(&self.client), topic.to_owned());
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
        let answer = self.client.delete_records(&list, &options).await;
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
        let answer = self.client.delete_topics(&[topic], &options).await;
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
        let answer = self.client.alter_configs(&[altered], &options).await;
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
        let (client, group) = (Arc::clone(&self.client), self.config.group.clone());
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

    /// Asks for all topics to be created; the codes are in their order.
    async fn create(
        &self,
        specs: &[TopicSpec],
        timeout: Duration,
    ) -> Result<Vec<RDKafkaErrorCode>, KafkaError> {
        const REQUEST: &str = "create the topics";
        let topics: Vec<_> = specs.iter().map(new_topic).collect();
        let options = AdminOptions::new()
            .request_timeout(Some(timeout))
            .operation_timeout(Some(timeout));
        let results = self.client.create_topics(&topics, &options).await;
        let results = match results {
            Ok(results) => results,
            Err(Native::AdminOp(code)) => {
                let error = KafkaError::request_code(REQUEST, code);
                return Err(self.explained(error).await);
            }
            Err(other) => return Err(KafkaError::request(REQUEST, &other)),
        };
        let code = |result: Result<String, (String, RDKafkaErrorCode)>| {
            result.map_or_else(|(_, code)| code, |_| RDKafkaErrorCode::NoError)
        };
        Ok(results.into_iter().map(code).collect())
    }

    /// Waits until each partition of the topic has a leader, and counts them.
    ///
    /// A creation that failed is no error if the topic is there: an operator may
    /// have made it, and allow no others.
    async fn ready_partitions(
        &self,
        spec: &TopicSpec,
        created: RDKafkaErrorCode,
        end: Instant,
    ) -> Result<i32, KafkaError> {
        let expected = matches!(
            created,
            RDKafkaErrorCode::NoError | RDKafkaErrorCode::TopicAlreadyExists
        );
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.describe(&spec.name, left.max(LEADER_LOOK)).await {
                Ok(found) if found.iter().all(|(_, has_leader)| *has_leader) => {
                    return Ok(i32::try_from(found.len()).unwrap_or(i32::MAX));
                }
                Err(KafkaError::NoTopic { .. } | KafkaError::Refused { .. }) if !expected => {
                    return Err(not_created(spec, created));
                }
                // The brokers have not all heard of it yet.
                Ok(_) | Err(KafkaError::NoTopic { .. }) if !left.is_zero() => {
                    tokio::time::sleep(LEADER_LOOK).await;
                }
                Ok(_) => {
                    let request = "wait for a leader of each partition";
                    return Err(KafkaError::Unreachable { request });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Each partition of a topic, and whether it has a leader.
    async fn describe(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<Vec<(i32, bool)>, KafkaError> {
        const REQUEST: &str = "ask for a topic's partitions";
        let (client, topic) = (Arc::clone(&self.client), topic.to_owned());
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
    /// it to who polls a client, and nobody polls this one.
    async fn explained(&self, error: KafkaError) -> KafkaError {
        let KafkaError::Unreachable { request } = error else {
            return error;
        };
        let config = self.config.clone();
        let tried = blocking(request, move || reader::failure_to_connect(&config));
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

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(spec.replication);
    let topic = NewTopic::new(&spec.name, spec.partitions, replication);
    spec.settings
        .iter()
        .fold(topic, |topic, (key, value)| topic.set(key, value))
}

fn described(topic: &MetadataTopic) -> Result<Vec<(i32, bool)>, RDKafkaErrorCode> {
    if let Some(code) = topic.error().filter(IsError::is_error) {
        return Err(code.into());
    }
    let partitions = topic.partitions().iter();
    Ok(partitions.map(|p| (p.id(), p.leader() >= 0)).collect())
}

fn not_created(spec: &TopicSpec, code: RDKafkaErrorCode) -> KafkaError {
    let reason = match code {
        RDKafkaErrorCode::InvalidReplicationFactor => format!(
            "`kafka.replication` = {} is more than the cluster has brokers",
            spec.replication
        ),
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "the cluster does not allow it; have it created by an operator".to_owned()
        }
        code => code.to_string(),
    };
    KafkaError::CreateTopic {
        topic: spec.name.clone(),
        reason,
    }
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
