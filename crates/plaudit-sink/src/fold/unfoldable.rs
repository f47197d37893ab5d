//! Changes that cannot be folded in (**P6**): ClickHouse does not take the row, or the
//! feedback has been patched too often.
//!
//! The fold of an id is refused as data: one of its changes sets what the table
//! cannot hold. The changes that no fold has applied yet are tried one by one on
//! top of those that one has; the ones that are refused are marked in `changes`,
//! which is final, and every later fold is made without them.
//!
//! A retraction is never given up: `feedback_current` hides its feedback from the
//! moment it is in `changes`, whether or not a tombstone can be written.

use std::collections::HashMap;

use plaudit_event::{Outcome, RowVersion};
use plaudit_store::{Change, GaveUp, LedgerRange, StoreError, Table, encode_change};

use super::{Fold, Id, Known};
use crate::steps::{Steps, Stop};

impl Steps {
    /// Finds and marks the changes of an id whose fold was refused. Their dead
    /// letters and their outcomes are left to the caller.
    pub(super) async fn give_up_unfoldable(
        &self,
        id: &Id,
        known: &mut Known,
        error: &StoreError,
    ) -> Result<Vec<(i32, i64)>, Stop> {
        let whole = Fold::of(id, known, self.clock_skew());
        if whole.is_none_or(|fold| fold.version == RowVersion::FINAL) {
            tracing::error!(%error, "clickhouse cannot take a tombstone: hidden by its retraction");
            return Ok(Vec::new());
        }
        let suspects = self.suspects(&known.changes).await?;
        mark(known, &suspects, Some(GaveUp::Unfoldable));
        let mut marked = Vec::new();
        for suspect in suspects {
            mark(known, &[suspect], None);
            if let Some(fold) = Fold::of(id, known, self.clock_skew())
                && !self.takes(&fold).await?
            {
                mark(known, &[suspect], Some(GaveUp::Unfoldable));
                marked.extend(known.changes.get(suspect).cloned());
            }
        }
        if !marked.is_empty() {
            self.insert_marked(&marked).await?;
            tracing::error!(
                records = marked.len(),
                %error,
                "clickhouse cannot take a row with these changes folded in: dead letters"
            );
        }
        Ok(self.own_places(&marked))
    }

    /// Marks the patches that are too many. What becomes of them is the caller's.
    pub(super) async fn give_up_excess(
        &self,
        known: &mut HashMap<Id, Known>,
    ) -> Result<Vec<(i32, i64)>, Stop> {
        let mut marked = Vec::new();
        for known in known.values_mut() {
            let excess = known.excess(self.clock_skew());
            mark(known, &excess, Some(GaveUp::Unfoldable));
            marked.extend(
                excess
                    .iter()
                    .filter_map(|index| known.changes.get(*index))
                    .cloned(),
            );
        }
        if marked.is_empty() {
            return Ok(Vec::new());
        }
        self.insert_marked(&marked).await?;
        tracing::error!(
            records = marked.len(),
            most = RowVersion::MAX_CHANGES,
            "patches of feedback that was patched too often since it was put: dead letters"
        );
        Ok(self.own_places(&marked))
    }

    /// Where those of this topic stand.
    fn own_places(&self, changes: &[Change]) -> Vec<(i32, i64)> {
        let own = changes.iter().filter(|change| *change.topic == *self.topic);
        own.map(Change::place).collect()
    }

    /// Makes given-up changes final, so that no fold applies them any more.
    pub(crate) async fn insert_marked(&self, changes: &[Change]) -> Result<(), Stop> {
        let mut rows = Vec::new();
        for change in changes {
            encode_change(&mut rows, change);
        }
        self.insert_own("give up changes", Table::Changes, changes.len(), &rows)
            .await
    }

    /// The changes that may be to blame: those that no fold has applied, or all
    /// where each was folded into another put.
    async fn suspects(&self, changes: &[Change]) -> Result<Vec<usize>, Stop> {
        let own: Vec<_> = changes
            .iter()
            .filter(|change| *change.topic == *self.topic)
            .map(|change| (change.partition, change.offset, change.offset))
            .collect();
        let ledger = self
            .insist("read the ledger", || {
                self.store.ledger_overlapping(&self.topic, &own)
            })
            .await?;
        let is_new = |change: &Change| *change.topic == *self.topic && !is_stored(&ledger, change);
        let still = changes
            .iter()
            .enumerate()
            .filter(|(_, c)| c.gave_up.is_none());
        let (new, old): (Vec<_>, Vec<_>) = still.partition(|(_, change)| is_new(change));
        let suspects = if new.is_empty() { old } else { new };
        Ok(suspects.into_iter().map(|(index, _)| index).collect())
    }

    /// Whether ClickHouse takes this fold. One that an error answer left in the
    /// table is seen, so this goes on until it is whole.
    async fn takes(&self, fold: &Fold) -> Result<bool, Stop> {
        loop {
            let refused = self.insert_folds(std::slice::from_ref(fold)).await?;
            let Some((id, error)) = refused.first() else {
                return Ok(true);
            };
            let rows = self
                .insist("read current rows", || {
                    self.store.current_rows(std::slice::from_ref(id))
                })
                .await?;
            if rows.iter().all(|row| row.version != fold.version) {
                return Ok(false);
            }
            self.retry.hold("complete a stored fold", error).await;
        }
    }
}

fn mark(known: &mut Known, indices: &[usize], gave_up: Option<GaveUp>) {
    for index in indices {
        if let Some(change) = known.changes.get_mut(*index) {
            change.gave_up = gave_up;
        }
    }
}

fn is_stored(ledger: &[LedgerRange], change: &Change) -> bool {
    let mut stored = ledger
        .iter()
        .filter(|range| range.outcome == Outcome::Stored);
    stored.any(|range| range.covers(change.partition, change.offset))
}
