//! The members of a local stack: what they are called, who listens, how they stop.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ports::Listener;
use crate::services;

/// A part or a service of the local stack.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Member {
    /// Apache Kafka, a JVM.
    Kafka,
    /// The ClickHouse engine.
    Clickhouse,
    /// Takes feedback.
    Intake,
    /// Stores it.
    Sink,
    /// Answers questions about it.
    Query,
}

impl Member {
    /// All of them, in the order of starting, which is the reverse of stopping.
    pub const ALL: [Self; 5] = [
        Self::Kafka,
        Self::Clickhouse,
        Self::Sink,
        Self::Query,
        Self::Intake,
    ];

    /// Its name in messages, in `--only`, and as a subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Clickhouse => "clickhouse",
            Self::Intake => "intake",
            Self::Sink => "sink",
            Self::Query => "query",
        }
    }

    pub(super) fn listeners(self) -> &'static [Listener] {
        match self {
            Self::Kafka => &[Listener::Kafka, Listener::KafkaController],
            Self::Clickhouse => &[Listener::Clickhouse],
            Self::Intake => &[Listener::Intake, Listener::IntakeMetrics],
            Self::Sink => &[Listener::SinkMetrics],
            Self::Query => &[Listener::Query, Listener::QueryMetrics],
        }
    }

    /// How long it may take to stop: what is in flight is carried to its end.
    pub(super) fn grace(self) -> Duration {
        match self {
            // A little more than they give themselves.
            Self::Intake | Self::Query | Self::Sink => services::GRACE + Duration::from_secs(5),
            Self::Clickhouse | Self::Kafka => Duration::from_secs(20),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
