//! What a poll or a commit can end with, by what the sink does about it.

use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};

/// Why a poll returned no record. No record was skipped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The log does not have the next offset: retention overtook the sink, or the
    /// topic was made anew. The partitions stand still until
    /// [`start`](crate::GroupConsumer::start)ed again.
    #[error("the next offset is not in the log: {}", describe(.partitions))]
    OffsetOutOfRange {
        /// Which ones, as far as their leaders could be asked.
        partitions: Vec<OutOfRange>,
    },
    /// `max.poll.interval.ms` passed between two polls: the group took the
    /// partitions away, which the next polls will tell.
    #[error("polls were further apart than `max.poll.interval.ms`; the partitions are lost")]
    PollTooLate,
    /// The topic does not exist (any more); librdkafka goes on looking for it.
    #[error("the topic does not exist")]
    NoTopic,
    /// The cluster does not let this client read; librdkafka goes on trying.
    #[error("Kafka does not allow it: {reason}")]
    Unauthorized {
        /// The cluster's words.
        reason: String,
    },
    /// The consumer cannot go on, such as when another one has its `group.instance.id`.
    #[error("the consumer failed for good: {reason}")]
    Fatal {
        /// librdkafka's words.
        reason: String,
    },
    /// Something that librdkafka mends by itself, such as a slow answer.
    #[error("{reason}")]
    Transient {
        /// librdkafka's words.
        reason: String,
    },
}

impl ConsumeError {
    /// Of a client that has no broker left to ask.
    pub(crate) fn stranded() -> Self {
        Self::Fatal {
            reason: "the client has no broker left to ask".to_owned(),
        }
    }

    /// Whether this consumer has to be closed and a new one made.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal { .. })
    }

    /// `None` for what is nobody's error: the end of a partition, and each attempt to
    /// connect while the brokers are away, which [`crate::Health`] sums up.
    pub(crate) fn from_native(error: &Native) -> Option<Self> {
        let fatal = matches!(error, Native::MessageConsumptionFatal(_));
        match error.rdkafka_error_code()? {
            Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve if !fatal => None,
            code => Some(Self::read(code, fatal)),
        }
    }

    fn read(code: Code, fatal: bool) -> Self {
        let reason = code.to_string();
        match code {
            _ if fatal => Self::Fatal { reason },
            Code::Fatal | Code::FencedInstanceId => Self::Fatal { reason },
            Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => {
                Self::OffsetOutOfRange {
                    partitions: Vec::new(),
                }
            }
            Code::PollExceeded => Self::PollTooLate,
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                Self::NoTopic
            }
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication => Self::Unauthorized { reason },
            _ => Self::Transient { reason },
        }
    }
}

/// A partition whose next offset its log does not have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfRange {
    /// Which one.
    pub partition: i32,
    /// The offset that was to be read next.
    pub position: i64,
    /// The first offset that the log has.
    pub low: i64,
    /// The offset that the next record written will get.
    pub high: i64,
}

fn describe(partitions: &[OutOfRange]) -> String {
    let each = |gone: &OutOfRange| {
        let OutOfRange {
            partition,
            position,
            low,
            high,
        } = gone;
        format!("partition {partition} at {position}, its log is {low} to {high}")
    };
    match partitions {
        [] => "which partition is not known".to_owned(),
        some => some.iter().map(each).collect::<Vec<_>>().join("; "),
    }
}

/// Why offsets were not committed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Another member has the partitions: forget about them.
    #[error("the group has moved on without this member: {reason}")]
    Fenced {
        /// The cluster's words.
        reason: String,
    },
    /// The same commit may succeed later.
    #[error("offsets were not committed: {reason}")]
    Retry {
        /// The cluster's words.
        reason: String,
    },
}

impl CommitError {
    pub(super) fn read(error: &Native) -> Self {
        let code = error.rdkafka_error_code();
        let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
        match code {
            Some(
                Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::FencedInstanceId
                | Code::FencedMemberEpoch
                | Code::StaleMemberEpoch
                | Code::AssignmentLost,
            ) => Self::Fenced { reason },
            _ => Self::Retry { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_outside_the_log_is_told_apart_from_what_mends_itself() {
        for code in [
            Code::AutoOffsetReset,
            Code::OffsetOutOfRange,
            Code::LogTruncation,
        ] {
            let error = ConsumeError::read(code, false);
            assert!(
                matches!(error, ConsumeError::OffsetOutOfRange { .. }),
                "{code:?}"
            );
            assert!(!error.is_fatal());
        }
        let lost = ConsumeError::read(Code::RequestTimedOut, false);
        assert!(matches!(lost, ConsumeError::Transient { .. }));
        let away = Native::MessageConsumption(Code::AllBrokersDown);
        assert_eq!(ConsumeError::from_native(&away), None);
        assert!(ConsumeError::read(Code::UnknownMemberId, true).is_fatal());
        assert!(ConsumeError::read(Code::FencedInstanceId, false).is_fatal());
    }

    #[test]
    fn a_commit_that_the_group_refuses_is_not_tried_again() {
        let read = |code| CommitError::read(&Native::ConsumerCommit(code));
        assert!(matches!(
            read(Code::IllegalGeneration),
            CommitError::Fenced { .. }
        ));
        assert!(matches!(
            read(Code::RebalanceInProgress),
            CommitError::Retry { .. }
        ));
        assert!(matches!(
            read(Code::BrokerTransportFailure),
            CommitError::Retry { .. }
        ));
    }

    #[test]
    fn out_of_range_says_where_and_what_the_log_has() {
        let gone = OutOfRange {
            partition: 3,
            position: 10,
            low: 20,
            high: 30,
        };
        let error = ConsumeError::OffsetOutOfRange {
            partitions: vec![gone],
        };
        assert_eq!(
            error.to_string(),
            "the next offset is not in the log: partition 3 at 10, its log is 20 to 30"
        );
    }
}
