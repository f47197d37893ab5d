//! What became of a batch's records, as ranges of the ledger (PROTOCOL: step 6).
//!
//! Nearly every record is stored, so only the others are kept one by one.

use std::collections::BTreeMap;

use plaudit_event::Outcome;
use plaudit_store::LedgerRange;

use crate::batch::{Position, Span};

/// The records of a batch that were not simply stored.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    others: BTreeMap<(i32, i64), Other>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Other {
    /// The ledger has it from before: write nothing about it.
    Ledgered,
    Ended(Outcome, &'static str),
}

impl Outcomes {
    /// The ledger has this offset already.
    pub(crate) fn skip(&mut self, position: Position) {
        self.others
            .insert((position.partition, position.offset), Other::Ledgered);
    }

    /// This record has another outcome than `stored`.
    pub(crate) fn set(&mut self, position: Position, outcome: Outcome, reason: &'static str) {
        let other = Other::Ended(outcome, reason);
        self.others
            .insert((position.partition, position.offset), other);
    }

    /// Whether the ledger has this offset from before.
    pub(crate) fn is_skipped(&self, position: Position) -> bool {
        self.others.get(&(position.partition, position.offset)) == Some(&Other::Ledgered)
    }

    /// How many offsets the ledger has from before.
    pub(crate) fn skipped(&self) -> usize {
        let others = self.others.values();
        others.filter(|other| **other == Other::Ledgered).count()
    }

    /// What became of this record; `None` when the ledger has it from before.
    pub(crate) fn of(&self, position: Position) -> Option<(Outcome, &'static str)> {
        match self.others.get(&(position.partition, position.offset)) {
            None => Some((Outcome::Stored, "")),
            Some(Other::Ended(outcome, reason)) => Some((*outcome, reason)),
            Some(Other::Ledgered) => None,
        }
    }

    /// The ledger's ranges for a batch that covers `spans`: no gap, no offset twice.
    pub(crate) fn ranges(&self, spans: &BTreeMap<i32, Span>) -> Vec<LedgerRange> {
        let mut ranges = Vec::with_capacity(spans.len());
        for (partition, span) in spans {
            let range = |first, last, outcome, reason: &str| LedgerRange {
                partition: *partition,
                first,
                last,
                outcome,
                reason: reason.to_owned(),
                min_timestamp: span.min_timestamp,
                max_timestamp: span.max_timestamp,
            };
            let mut next = span.first;
            let within = (*partition, span.first)..=(*partition, span.last);
            for ((_, offset), other) in self.others.range(within) {
                if next < *offset {
                    ranges.push(range(next, offset - 1, Outcome::Stored, ""));
                }
                if let Other::Ended(outcome, reason) = other {
                    match ranges.last_mut() {
                        Some(last)
                            if last.partition == *partition
                                && last.last == offset - 1
                                && last.outcome == *outcome
                                && last.reason == *reason =>
                        {
                            last.last = *offset;
                        }
                        _ => ranges.push(range(*offset, *offset, *outcome, reason)),
                    }
                }
                next = offset + 1;
            }
            if next <= span.last {
                ranges.push(range(next, span.last, Outcome::Stored, ""));
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Position {
        Position {
            partition: 0,
            offset,
            timestamp: offset,
        }
    }

    fn runs(outcomes: &Outcomes, first: i64, last: i64) -> Vec<(i64, i64, Outcome)> {
        let span = Span {
            first,
            last,
            min_timestamp: 0,
            max_timestamp: 0,
        };
        let ranges = outcomes.ranges(&BTreeMap::from([(0, span)]));
        ranges
            .iter()
            .map(|range| (range.first, range.last, range.outcome))
            .collect()
    }

    #[test]
    fn p2_every_offset_is_in_exactly_one_range() {
        use Outcome::{DeadLettered, Duplicate, Stored};

        let mut outcomes = Outcomes::default();
        assert_eq!(runs(&outcomes, 5, 9), [(5, 9, Stored)]);
        outcomes.set(at(5), Duplicate, "");
        outcomes.set(at(7), DeadLettered, "undecodable");
        outcomes.set(at(8), DeadLettered, "undecodable");
        assert_eq!(
            runs(&outcomes, 5, 9),
            [
                (5, 5, Duplicate),
                (6, 6, Stored),
                (7, 8, DeadLettered),
                (9, 9, Stored)
            ]
        );
        outcomes.skip(at(6));
        assert_eq!(
            runs(&outcomes, 5, 7),
            [(5, 5, Duplicate), (7, 7, DeadLettered)]
        );
        assert_eq!(outcomes.skipped(), 1);
    }
}
