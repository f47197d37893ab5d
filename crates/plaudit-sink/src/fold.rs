//! Puts and their changes into the row that a reader sees (PROTOCOL: step 4; **P4**).
//!
//! A fold is a function of the latest put and of all changes of its id. A row
//! that was read may be a fold itself; applying all changes to it again, in the
//! same order, gives the same row, because a change sets or clears whole fields.

use std::collections::{HashMap, HashSet};

use plaudit_event::{Operation, Patch, RowVersion, codec};
use plaudit_store::{Change, ChangeKind, CurrentRow, Table};
use uuid::Uuid;

use crate::steps::{Steps, Stop};

/// The project and id of a feedback: a change names no trace.
pub(crate) type Id = (String, Uuid);

/// Ids that one pair of queries asks for.
const IDS_A_QUERY: usize = 500;

impl Steps {
    /// Folds the changes of these ids into their rows; returns the ids that have
    /// a row, tombstones included.
    pub(crate) async fn fold(&self, ids: &[Id]) -> Result<HashSet<Id>, Stop> {
        let mut found = HashSet::new();
        for ids in ids.chunks(IDS_A_QUERY) {
            // Rows first, then changes: whoever wrote a change and saw no row
            // leaves it to whoever writes the row, who reads changes after that.
            let current = self
                .insist("read current rows", || self.store.current_rows(ids))
                .await?;
            let changes = self
                .insist("read changes", || self.store.changes_of(ids))
                .await?;
            let mut folds = Folds::default();
            let mut by_id: HashMap<Id, Vec<CurrentRow>> = HashMap::new();
            for row in current {
                by_id
                    .entry((row.project.clone(), row.feedback.id))
                    .or_default()
                    .push(row);
            }
            let mut changes_by_id: HashMap<Id, Vec<Change>> = HashMap::new();
            for change in changes {
                changes_by_id
                    .entry((change.project.clone(), change.id))
                    .or_default()
                    .push(change);
            }
            for (id, rows) in by_id {
                let changes = changes_by_id.remove(&id).unwrap_or_default();
                folds.add(&rows, &changes, self.clock_skew());
                found.insert(id);
            }
            if folds.rows > 0 {
                self.insert_own("insert folds", Table::Feedback, folds.rows, &folds.data)
                    .await?;
            }
        }
        Ok(found)
    }
}

/// Folded rows, encoded.
#[derive(Default)]
struct Folds {
    rows: usize,
    data: Vec<u8>,
}

impl Folds {
    /// Folds one id: `rows` has the highest version of each trace that has it.
    fn add(&mut self, rows: &[CurrentRow], changes: &[Change], clock_skew: i64) {
        if changes
            .iter()
            .any(|change| change.kind == ChangeKind::Retract)
        {
            for row in rows.iter().filter(|row| row.version != RowVersion::FINAL) {
                self.push(row, RowVersion::FINAL, true);
            }
            return;
        }
        // A patch acts on the latest, in whichever trace that is (V15).
        let Some(latest) = rows.iter().max_by_key(|row| row.version) else {
            return;
        };
        // A withdrawn feedback stays as it is; nothing is done to a final row.
        if latest.is_deleted || latest.version == RowVersion::FINAL {
            return;
        }
        let put_time = latest.version.version_time();
        let since = put_time.0.saturating_sub(clock_skew);
        let mut applied = 0;
        let mut row = latest.clone();
        for change in changes
            .iter()
            .filter(|change| change.version_time.0 >= since)
        {
            if let Some(patch) = patch_of(change) {
                patch.apply(&mut row.feedback);
            }
            applied += 1;
        }
        if applied > 0 {
            self.push(&row, RowVersion::new(put_time, applied), false);
        }
    }

    fn push(&mut self, row: &CurrentRow, version: RowVersion, is_deleted: bool) {
        row.encode(&mut self.data, version, is_deleted);
        self.rows += 1;
    }
}

/// What a change sets. Its record was decoded before it was stored, so `None` is
/// a record that a newer Plaudit wrote and this one holds.
fn patch_of(change: &Change) -> Option<Patch<'static>> {
    let event = codec::decode(&change.record, || None).ok()?;
    match event.operation {
        Operation::Patch { patch, .. } => Some(patch.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
