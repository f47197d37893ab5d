//! Puts and their changes into the row that a reader sees (PROTOCOL: step 4; **P4**).
//!
//! A fold is a function of the latest put and of all changes of its id. A row
//! that was read may be a fold itself; applying all changes to it again, in the
//! same order, gives the same row, because a change sets or clears whole fields.
//!
//! A change that ClickHouse cannot take folded in is given up, so that no fold
//! applies it any more, and so are those beyond the number that a version can count: see
//! `unfoldable`.

use std::collections::{BTreeSet, HashMap, HashSet};

use plaudit_event::{Micros, Operation, Patch, RowVersion, codec};
use plaudit_store::{Change, ChangeKind, CurrentRow, GaveUp, StoreError, Table};
use uuid::Uuid;

use crate::steps::{Steps, Stop};

mod unfoldable;

/// The project and id of a feedback: a change names no trace.
pub(crate) type Id = (String, Uuid);

/// Ids that one pair of queries asks for.
const IDS_A_QUERY: usize = 500;

/// What folding some ids came to.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// The ids that have a row, tombstones included.
    pub(crate) found: HashSet<Id>,
    /// Their changes that no fold applies, by partition and offset.
    pub(crate) given_up: HashMap<(i32, i64), GaveUp>,
    /// Those of them that were given up just now: marked, and no more than that.
    pub(crate) unfoldable: BTreeSet<(i32, i64)>,
}

/// The rows that one id's changes make, encoded.
#[derive(Clone, Debug)]
struct Fold {
    id: Id,
    version: RowVersion,
    rows: usize,
    data: Vec<u8>,
}

/// What is known of one id.
#[derive(Debug, Default)]
struct Known {
    /// The highest version of each trace that has it.
    rows: Vec<CurrentRow>,
    /// In the order in which they are applied.
    changes: Vec<Change>,
}

impl Steps {
    /// Folds the changes of these ids into their rows.
    pub(crate) async fn fold(&self, ids: &[Id]) -> Result<Folded, Stop> {
        let mut folded = Folded::default();
        let mut parts: Vec<&[Id]> = ids.chunks(IDS_A_QUERY).collect();
        while let Some(ids) = parts.pop() {
            let Some(mut known) = self.read_ids(ids).await? else {
                let (left, right) = ids.split_at(ids.len() / 2);
                parts.extend([right, left]);
                continue;
            };
            folded
                .unfoldable
                .extend(self.give_up_excess(&mut known).await?);
            let folds: Vec<Fold> = known
                .iter()
                .filter_map(|(id, known)| Fold::of(id, known, self.clock_skew()))
                .collect();
            for (id, error) in self.insert_folds(&folds).await? {
                if let Some(known) = known.get_mut(&id) {
                    let marked = self.give_up_unfoldable(&id, known, &error).await?;
                    folded.unfoldable.extend(marked);
                }
            }
            for (id, known) in known {
                let is_ours = |change: &&Change| *change.topic == *self.topic;
                let given_up = known.changes.iter().filter(is_ours);
                let by_place =
                    given_up.filter_map(|change| Some((change.place(), change.gave_up?)));
                folded.given_up.extend(by_place);
                folded.found.insert(id);
            }
        }
        Ok(folded)
    }

    /// What is known of those ids that have a row; `None` where it is too much at once.
    ///
    /// Rows first, then changes: whoever wrote a change and saw no row leaves it
    /// to whoever writes the row, who reads changes after that.
    async fn read_ids(&self, ids: &[Id]) -> Result<Option<HashMap<Id, Known>>, Stop> {
        let rows = self
            .insist("read current rows", || self.store.current_rows(ids))
            .await?;
        let mut known: HashMap<Id, Known> = HashMap::new();
        for row in rows {
            let id = (row.project.clone(), row.feedback.id);
            known.entry(id).or_default().rows.push(row);
        }
        if known.is_empty() {
            return Ok(Some(known));
        }
        let found: Vec<Id> = known.keys().cloned().collect();
        let changes = self
            .insist("read changes", || self.store.changes_of(&found))
            .await?;
        let Some(changes) = changes else {
            return Ok(None);
        };
        for change in changes {
            let id = (change.project.clone(), change.id);
            known.entry(id).or_default().changes.push(change);
        }
        Ok(Some(known))
    }

    /// Inserts folds; returns the ids whose fold ClickHouse cannot take.
    async fn insert_folds(&self, folds: &[Fold]) -> Result<Vec<(Id, StoreError)>, Stop> {
        const REQUEST: &str = "insert folds";

        let payload_of = |folds: &[Fold]| {
            let rows = folds.iter().map(|fold| fold.rows).sum();
            let data: Vec<u8> = folds.iter().flat_map(|fold| &fold.data).copied().collect();
            self.store.payload(Table::Feedback, rows, &data)
        };
        let on_exhausted = self.config.on_exhausted;
        let (mut alone, mut parts) = (Vec::new(), vec![folds]);
        while let Some(part) = parts.pop() {
            let refused = self
                .insert_or_isolate(REQUEST, part, on_exhausted, payload_of, |_| ())
                .await?;
            for refused in refused {
                if let [fold] = refused.items {
                    alone.push((fold.id.clone(), refused.gave_up.error));
                } else {
                    // Nothing is taken: that is no fault of these changes.
                    self.retry.hold(REQUEST, &refused.gave_up.error).await;
                    parts.push(refused.items);
                }
            }
        }
        Ok(alone)
    }
}

impl Known {
    /// What a patch acts on: the latest, in whichever trace that is (V15).
    fn latest(&self) -> Option<&CurrentRow> {
        self.rows.iter().max_by_key(|row| row.version)
    }

    /// The patches that apply to a put of this time and were not given up, by index.
    fn patches_of(&self, put: Micros, clock_skew: i64) -> impl Iterator<Item = (usize, &Change)> {
        let since = put.0.saturating_sub(clock_skew);
        let applies = move |change: &Change| {
            change.gave_up.is_none()
                && change.kind == ChangeKind::Patch
                && change.version_time.0 >= since
        };
        let changes = self.changes.iter().enumerate();
        changes.filter(move |(_, change)| applies(change))
    }

    /// The patches of the latest put, by index, beyond as many as a version can count
    /// (**P5**: each fold reads and applies all of them again).
    fn excess(&self, clock_skew: i64) -> Vec<usize> {
        let Some(latest) = self.latest() else {
            return Vec::new();
        };
        self.patches_of(latest.version.version_time(), clock_skew)
            .map(|(index, _)| index)
            .skip(usize::try_from(RowVersion::MAX_CHANGES).unwrap_or(usize::MAX))
            .collect()
    }
}

impl Fold {
    /// Applies the changes that were not given up; `None` where there is nothing
    /// to write.
    fn of(id: &Id, known: &Known, clock_skew: i64) -> Option<Self> {
        let fold = |version| Self {
            id: id.clone(),
            version,
            rows: 0,
            data: Vec::new(),
        };
        let retracts =
            |change: &Change| change.gave_up.is_none() && change.kind == ChangeKind::Retract;
        if known.changes.iter().any(retracts) {
            let mut fold = fold(RowVersion::FINAL);
            for row in &known.rows {
                if row.version != RowVersion::FINAL {
                    fold.push(row, true);
                }
            }
            return (fold.rows > 0).then_some(fold);
        }
        let latest = known.latest()?;
        // A withdrawn feedback stays as it is; nothing is done to a final row.
        if latest.is_deleted || latest.version == RowVersion::FINAL {
            return None;
        }
        let put_time = latest.version.version_time();
        let (mut row, mut applied) = (latest.clone(), 0);
        for (_, change) in known.patches_of(put_time, clock_skew) {
            if let Some(patch) = patch_of(change) {
                patch.apply(&mut row.feedback);
            }
            applied += 1;
        }
        if applied == 0 {
            return None;
        }
        let mut fold = fold(RowVersion::new(put_time, applied));
        fold.push(&row, false);
        Some(fold)
    }

    fn push(&mut self, row: &CurrentRow, is_deleted: bool) {
        row.encode(&mut self.data, self.version, is_deleted);
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
