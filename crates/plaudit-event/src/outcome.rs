//! What became of a record of the topic (promise **P2**).

use std::str::FromStr;

/// The fate of a record.
///
/// The names are public: a metric label, a column of `ledger` and a state in
/// the API. Add variants; never rename one. The order is the ledger's: where
/// two rows cover one offset, the greater outcome holds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Outcome {
    /// A patch that is durable in `changes` and whose feedback is not there yet.
    Pending,
    /// The topic dropped the record before the sink read it.
    Expired,
    /// The record cannot be stored; it is in the dead-letter topic with its reason.
    DeadLettered,
    /// The same id and version as an earlier record.
    Duplicate,
    /// Its row, or the change that it asks for, is in ClickHouse.
    Stored,
}

/// The text names no outcome that this version knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown outcome")]
pub struct UnknownOutcome;

impl Outcome {
    /// Every outcome, the weakest first.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Expired,
        Self::DeadLettered,
        Self::Duplicate,
        Self::Stored,
    ];

    /// The name in the ledger and in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Expired => "expired",
            Self::DeadLettered => "dead_lettered",
            Self::Duplicate => "duplicate",
            Self::Stored => "stored",
        }
    }

    /// The name in a receipt's `state`: what is stored is visible.
    pub const fn state(self) -> &'static str {
        match self {
            Self::Stored => "visible",
            other => other.code(),
        }
    }
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.code() == text)
            .ok_or(UnknownOutcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_the_strongest_outcome_of_an_offset_holds() {
        assert!(Outcome::Stored > Outcome::Duplicate);
        assert!(Outcome::Duplicate > Outcome::DeadLettered);
        assert!(Outcome::DeadLettered > Outcome::Expired);
        assert!(Outcome::Expired > Outcome::Pending);
        for outcome in Outcome::ALL {
            assert_eq!(outcome.code().parse(), Ok(outcome));
        }
    }
}
