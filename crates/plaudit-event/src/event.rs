//! An event: what happens to a feedback, and who said so when.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Feedback, Micros, Patch, RowVersion, Text};

/// One record of the topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Whose it is: a key reads and writes its own project only.
    pub project: Text<'a>,
    /// The API that it came by.
    pub dialect: Dialect,
    /// When the intake had it whole, by the intake's clock.
    pub received_at: Micros,
    /// What decides which of two versions is the later one (PROTOCOL: *versions*).
    pub version_time: Micros,
    /// What is to happen.
    pub operation: Operation<'a>,
}

/// What an event does.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation<'a> {
    /// Says something, or says it anew.
    Put(#[serde(borrow)] Feedback<'a>),
    /// Takes back what was said; a later put says it again.
    Withdraw(#[serde(borrow)] Feedback<'a>),
    /// Changes fields of what was said, in whichever trace it was said last.
    Patch {
        /// The feedback's id.
        id: Uuid,
        /// The changed fields.
        #[serde(borrow, rename = "changes")]
        patch: Patch<'a>,
    },
    /// Takes back for good, in every trace: nothing revives it.
    Retract {
        /// The feedback's id.
        id: Uuid,
    },
}

/// The API that an event came by. The names are public: metric label and column.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dialect {
    /// Plaudit's own.
    Native,
    /// Portkey.
    Portkey,
    /// TensorZero.
    Tensorzero,
    /// Patronus AI.
    Patronus,
    /// Humanloop.
    Humanloop,
    /// LangSmith.
    Langsmith,
}

/// The text names no dialect.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown dialect")]
pub struct UnknownDialect;

// === impl Event ===

impl Event<'_> {
    /// The id of the feedback that the event is about.
    pub fn id(&self) -> Uuid {
        match &self.operation {
            Operation::Put(feedback) | Operation::Withdraw(feedback) => feedback.id,
            Operation::Patch { id, .. } | Operation::Retract { id } => *id,
        }
    }

    /// The version of the row that a put or a withdrawal makes.
    pub fn row_version(&self) -> RowVersion {
        RowVersion::new(self.version_time, 0)
    }

    /// The Kafka key: the trace, or for a call by id the id, so that what
    /// happens to one of them stays in order.
    pub fn with_key<T>(&self, with: impl FnOnce(&str) -> T) -> T {
        match &self.operation {
            Operation::Put(feedback) | Operation::Withdraw(feedback) => with(&feedback.trace_id),
            Operation::Patch { id, .. } | Operation::Retract { id } => {
                with(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }
    }
}

// === impl Dialect ===

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 6] = [
        Self::Native,
        Self::Portkey,
        Self::Tensorzero,
        Self::Patronus,
        Self::Humanloop,
        Self::Langsmith,
    ];

    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Portkey => "portkey",
            Self::Tensorzero => "tensorzero",
            Self::Patronus => "patronus",
            Self::Humanloop => "humanloop",
            Self::Langsmith => "langsmith",
        }
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, UnknownDialect> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.name() == text)
            .ok_or(UnknownDialect)
    }
}
