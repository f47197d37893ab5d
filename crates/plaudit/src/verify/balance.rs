//! The balance of one partition: its offsets, by what became of them.
//!
//! Everything here is a value. An offset has the strongest outcome that the ledger
//! gives it; without one it is in flight if the group has not committed it, else it
//! is a gap: nobody will read it again.

use std::ops::Range;

use plaudit_event::Outcome;
use plaudit_store::OutcomeRun;

use super::offsets::Offsets;
use crate::topic::Span;

/// What became of the offsets of a span.
#[derive(Clone, Debug)]
pub(super) struct Balance {
    pub(super) span: Span,
    by_outcome: Vec<(Outcome, Offsets)>,
    /// Not committed, and without an outcome yet.
    pub(super) in_flight: Offsets,
    /// Committed, and without an outcome.
    pub(super) gaps: Offsets,
}

impl Balance {
    /// Adds up the ledger's runs, with what the group had committed before they were
    /// read.
    pub(super) fn of(span: Span, committed: Option<i64>, runs: &[OutcomeRun]) -> Self {
        let mut left = Offsets::of(span.first..span.end);
        let mut by_outcome = Vec::with_capacity(Outcome::ALL.len());
        for outcome in Outcome::ALL.into_iter().rev() {
            let runs = runs.iter().filter(|run| run.outcome == outcome);
            let ledgered: Offsets = runs.map(|run| run.first..run.last + 1).collect();
            let (with, without) = left.split(&ledgered);
            by_outcome.push((outcome, with));
            left = without;
        }
        let committed = Offsets::of(span.first..committed.unwrap_or(span.first));
        let (gaps, in_flight) = left.split(&committed);
        Self {
            span,
            by_outcome,
            in_flight,
            gaps,
        }
    }

    /// The offsets with this outcome.
    pub(super) fn with(&self, outcome: Outcome) -> impl Iterator<Item = Range<i64>> {
        let of = self.by_outcome.iter().filter(move |(of, _)| *of == outcome);
        of.flat_map(|(_, offsets)| offsets.ranges())
    }

    /// How many offsets have this outcome.
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        let of = self.by_outcome.iter().filter(|(of, _)| *of == outcome);
        of.map(|(_, offsets)| offsets.len()).sum()
    }

    /// The outcome of an offset.
    pub(super) fn outcome_of(&self, offset: i64) -> Option<Outcome> {
        let mut outcomes = self.by_outcome.iter();
        let found = outcomes.find(|(_, offsets)| offsets.contains(offset));
        found.map(|(outcome, _)| *outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{DeadLettered, Duplicate, Pending, Stored};

    const SPAN: Span = Span {
        partition: 0,
        first: 10,
        end: 30,
    };

    fn balance(committed: Option<i64>, runs: &[(Outcome, i64, i64)]) -> Balance {
        let run = |(outcome, first, last): &(Outcome, i64, i64)| OutcomeRun {
            outcome: *outcome,
            first: *first,
            last: *last,
        };
        let runs: Vec<_> = runs.iter().map(run).collect();
        Balance::of(SPAN, committed, &runs)
    }

    #[test]
    fn p2_every_offset_is_counted_once_by_its_strongest_outcome() {
        let runs = [
            (Stored, 0, 14),
            (Pending, 13, 16),
            (DeadLettered, 16, 16),
            (Duplicate, 20, 21),
            (Stored, 28, 99),
        ];
        let balance = balance(Some(19), &runs);
        assert_eq!(balance.count(Stored), 5 + 2);
        assert_eq!(balance.count(Pending), 1);
        assert_eq!(balance.count(DeadLettered), 1);
        assert_eq!(balance.count(Duplicate), 2);
        assert_eq!(balance.gaps, Offsets::of(17..19));
        assert_eq!(balance.in_flight, [19..20, 22..28].into_iter().collect());
        let counted: u64 = Outcome::ALL.iter().map(|of| balance.count(*of)).sum();
        assert_eq!(
            counted + balance.gaps.len() + balance.in_flight.len(),
            SPAN.len()
        );
        assert_eq!(balance.outcome_of(16), Some(DeadLettered));
        assert_eq!(balance.outcome_of(17), None);
    }

    #[test]
    fn p2_what_was_never_committed_is_in_flight_and_not_lost() {
        let balance = balance(None, &[(Stored, 10, 12)]);
        assert_eq!(balance.gaps, Offsets::default());
        assert_eq!(balance.in_flight, Offsets::of(13..30));
    }
}
