//! Topics are created where they are missing. Existing ones are never changed: a partition
//! count is part of where a trace's records are (P4), and the rest may have been chosen by
//! an operator.

use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode};
use tokio::time::Instant;

use super::Admin;
use crate::config::TopicSpec;
use crate::error::KafkaError;

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

/// Between two looks at whether a new topic has its leaders.
const LEADER_LOOK: Duration = Duration::from_millis(50);

impl Admin {
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
        let results = self.client().create_topics(&topics, &options).await;
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
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(spec.replication);
    let topic = NewTopic::new(&spec.name, spec.partitions, replication);
    spec.settings
        .iter()
        .fold(topic, |topic, (key, value)| topic.set(key, value))
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
