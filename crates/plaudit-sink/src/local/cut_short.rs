//! A batch that a crash left between its rows and its ledger.
//!
//! Nobody was promised its records, and none comes again: there is no log that has
//! them. But rows are seen as soon as they are in, so they get the changes that were
//! acknowledged before (**P4**). Its own changes act, or wait, as those of any batch.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use plaudit_event::{Micros, Outcome};
use plaudit_store::{Change, ChangeKind, Store, StoreError};

use super::{PARTITION, TOPIC};
use crate::batch::{Position, Span};
use crate::outcomes::Outcomes;
use crate::steps::{Steps, Stop, now_millis};

/// Where the last life of the sequence ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The offset after the highest that the ledger has.
    ledgered: i64,
    /// The offset after the highest that has a row or a change.
    stored: i64,
}

impl End {
    pub(super) async fn of(store: &Store) -> Result<Self, StoreError> {
        let all = [(PARTITION, 0)];
        let ledger = store.ledger_ends(TOPIC, &all).await?;
        let stored = store.highest_stored(TOPIC, &all).await?;
        let ledgered = ledger.iter().map(|end| end.highest);
        let stored = stored.iter().map(|(_, offset)| offset + 1);
        Ok(Self {
            ledgered: ledgered.max().unwrap_or(0),
            stored: stored.max().unwrap_or(0),
        })
    }

    /// The sequence goes on above everything that was ever written.
    pub(super) fn next(self) -> i64 {
        self.ledgered.max(self.stored)
    }

    /// Folds and ledgers what has rows or changes and no outcome yet. Batches are
    /// written one after the other, so that is above all that the ledger has.
    pub(super) async fn end_cut_short(self, steps: &Steps) -> Result<(), Stop> {
        if self.stored <= self.ledgered {
            return Ok(());
        }
        let (first, last) = (self.ledgered, self.stored - 1);
        let range = [(PARTITION, first, last)];
        let changes = steps
            .insist("read changes", || steps.store.changes_at(TOPIC, &range))
            .await?;
        // Of any age: a fold applies none that is older than its put.
        let mut ids = steps
            .insist("look up changes", || {
                steps.store.changed_among(TOPIC, &range, Micros(0))
            })
            .await?;
        let changed = changes.iter();
        ids.extend(changed.map(|change| (change.project.clone(), change.id)));
        ids.sort_unstable();
        ids.dedup();
        let folded = steps.fold(&ids).await?;
        steps.end_given_up(&folded.unfoldable).await?;
        let rows = steps.stored_in(&range).await?;
        let rows: HashSet<i64> = rows.places().map(|(_, offset)| offset).collect();
        let outcomes = outcomes_of(first..=last, &rows, &changes);
        let now = now_millis();
        let span = Span {
            first,
            last,
            min_timestamp: now,
            max_timestamp: now,
        };
        let ranges = outcomes.ranges(&BTreeMap::from([(PARTITION, span)]));
        steps.write_ledger(&ranges).await?;
        tracing::warn!(first, last, "ended the batch that a crash had cut short");
        Ok(())
    }
}

/// A patch waits, until the next look tells of its feedback; the rest is stored. Of an
/// offset without anything there is nothing to say.
fn outcomes_of(offsets: RangeInclusive<i64>, rows: &HashSet<i64>, changes: &[Change]) -> Outcomes {
    let kinds = changes.iter().map(|change| (change.offset, change.kind));
    let kinds: BTreeMap<i64, ChangeKind> = kinds.collect();
    let mut outcomes = Outcomes::default();
    for offset in offsets {
        let position = Position {
            partition: PARTITION,
            offset,
            timestamp: 0,
        };
        match kinds.get(&offset) {
            Some(ChangeKind::Patch) => outcomes.set(position, Outcome::Pending, ""),
            Some(ChangeKind::Retract) => {}
            None if rows.contains(&offset) => {}
            None => outcomes.skip(position),
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn p2_of_a_batch_that_was_cut_short_only_what_is_there_has_an_outcome() {
        use Outcome::{Pending, Stored};

        let change = |offset, kind| Change {
            project: "p".to_owned(),
            id: Uuid::from_u128(1),
            topic: TOPIC.to_owned(),
            partition: PARTITION,
            offset,
            kind,
            version_time: Micros(0),
            received_at: Micros(0),
            record: Vec::new(),
            gave_up: None,
        };
        let changes = [change(6, ChangeKind::Patch), change(9, ChangeKind::Retract)];
        let outcomes = outcomes_of(5..=9, &HashSet::from([5, 8]), &changes);
        let span = Span {
            first: 5,
            last: 9,
            min_timestamp: 0,
            max_timestamp: 0,
        };
        let ranges = outcomes.ranges(&BTreeMap::from([(PARTITION, span)]));
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| (range.first, range.last, range.outcome))
            .collect();
        assert_eq!(ranges, [(5, 5, Stored), (6, 6, Pending), (8, 9, Stored)]);
    }
}
