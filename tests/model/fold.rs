//! Step 4: puts and their changes into the row that a reader sees, as `fold.rs` of
//! the sink.

use crate::bits::Bits;
use crate::mutation::Mutation;
use crate::protocol::Protocol;
use crate::scenario::Kind;
use crate::state::State;
use crate::tables::{Row, Version};
use crate::work::{Doing, Folded, Task};

impl Protocol {
    /// Step 4: the ids of the rows just written that have changes.
    pub(crate) fn changed_among(&self, state: &State, at: usize) -> Bits {
        let work = &state.works[at];
        let puts = work.records & self.scenario.those(|r| r.is_put());
        let times = puts
            .iter()
            .map(|put| self.scenario.record(put).version_time);
        let oldest = times.min().unwrap_or(0);
        let since = oldest.saturating_sub(self.scenario.clock_skew);
        let asked = if self.is(Mutation::LookUpBeforeRows) {
            puts
        } else {
            state.tables.stored() & work.records
        };
        let ids: Bits = asked.iter().map(|r| self.scenario.record(r).id).collect();
        if self.is(Mutation::PutIgnoresChanges) {
            return Bits::NONE;
        }
        let recent = state.tables.changes.filter(|change| {
            self.is_retraction(change) || self.scenario.record(change).version_time >= since
        });
        recent
            .iter()
            .map(|change| self.scenario.record(change).id)
            .filter(|id| ids.has(*id))
            .collect()
    }

    /// The rows are read; now all changes of their ids.
    pub(crate) fn read_changes(&self, state: &mut State, at: usize, rows: &[Row]) {
        let found: Bits = rows.iter().map(|row| row.id).collect();
        let tables = &state.tables;
        let mut folded = Folded {
            found,
            ..Folded::default()
        };
        for id in found.iter() {
            let of = self.scenario.those(|r| r.is_change() && r.id == id);
            let all = tables.changes & of;
            folded.given_up |= all & tables.given_up;
            let rows: Vec<_> = rows.iter().filter(|row| row.id == id).copied().collect();
            let own = state.works[at].records;
            folded
                .folds
                .extend(self.fold(&rows, all - tables.given_up, own));
        }
        if folded.folds.is_empty() {
            self.end_fold(state, at, &folded);
        } else {
            state.works[at].doing = Doing::Folded(folded);
        }
    }

    /// What became of the patches.
    pub(crate) fn end_fold(&self, state: &mut State, at: usize, folded: &Folded) {
        let is_found = |record: u8| folded.found.has(self.scenario.record(record).id);
        let marked = state.tables.given_up;
        let work = &mut state.works[at];
        match work.task {
            Task::Batch => {
                let changes = self.changes_of(work);
                let dead = changes & folded.given_up;
                work.notes.dead |= dead;
                let waits = |c: u8| !is_found(c) && self.may_wait(c);
                work.notes.pending = (changes - dead).filter(waits);
            }
            Task::Pending => {
                work.records = (work.records - folded.given_up).filter(is_found);
            }
            Task::GiveUp => {
                work.notes.dead = work.records.filter(|c| marked.has(c) || !is_found(c));
            }
        }
        self.advance(state, at);
    }

    /// Whether it is pending while its feedback is not there.
    fn may_wait(&self, change: u8) -> bool {
        !self.is_retraction(change) || self.is(Mutation::RetractionGivenUp)
    }

    /// The rows that the changes of one id make of its current rows. `own` are the
    /// changes of the batch that folds.
    pub(crate) fn fold(&self, rows: &[Row], changes: Bits, own: Bits) -> Vec<Row> {
        if changes.iter().any(|c| self.is_retraction(c)) {
            return self.tombstones(rows);
        }
        // A patch acts on the latest, in whichever trace that is (V15).
        let Some(latest) = rows.iter().max_by_key(|row| row.version) else {
            return Vec::new();
        };
        let reopens = self.is(Mutation::PatchReopens);
        if latest.is_deleted && !reopens || latest.version == Version::FINAL {
            return Vec::new();
        }
        let mut applied = self.in_order(changes, latest.version.time);
        let mut folded_before = 0;
        if self.is(Mutation::FoldOwnChangesOnly) {
            applied.retain(|change| own.has(*change));
            folded_before = latest.version.changes;
        }
        let Some(last) = applied.last() else {
            return Vec::new();
        };
        let count = folded_before + u8::try_from(applied.len()).unwrap();
        let mut version = Version {
            time: latest.version.time,
            changes: count,
        };
        if self.is(Mutation::VersionWithoutCount) {
            version.changes = 0;
        }
        if self.is(Mutation::VersionOfChange) {
            version.time = version.time.max(self.scenario.record(*last).version_time);
        }
        let fields = self.patched(latest.fields, &applied);
        vec![Row {
            version,
            fields,
            is_deleted: false,
            ..*latest
        }]
    }

    pub(crate) fn is_retraction(&self, change: u8) -> bool {
        self.scenario.record(change).kind == Kind::Retract
    }

    /// What hides the rows of an id that was retracted.
    fn tombstones(&self, rows: &[Row]) -> Vec<Row> {
        let alive = rows.iter().filter(|row| row.version != Version::FINAL);
        if self.is(Mutation::RetractionAsWithdrawal) {
            let newest = alive.filter(|row| !row.is_deleted);
            return newest
                .map(|row| Row {
                    version: Version {
                        changes: row.version.changes + 1,
                        ..row.version
                    },
                    is_deleted: true,
                    ..*row
                })
                .collect();
        }
        alive
            .map(|row| Row {
                version: Version::FINAL,
                is_deleted: true,
                ..*row
            })
            .collect()
    }

    /// The changes that apply to a put of this time, in the order of their version
    /// times, partitions and offsets.
    fn in_order(&self, changes: Bits, put_time: u8) -> Vec<u8> {
        let since = put_time.saturating_sub(self.scenario.clock_skew);
        let time = |change: u8| self.scenario.record(change).version_time;
        let any_age = self.is(Mutation::FoldAnyAge);
        let mut applied: Vec<u8> = changes
            .filter(|change| any_age || time(change) >= since)
            .iter()
            .collect();
        // A record's number says its partition and offset: the sort is stable.
        if !self.is(Mutation::FoldInTopicOrder) {
            applied.sort_by_key(|change| time(*change));
        }
        applied
    }

    fn patched(&self, mut fields: [u8; 2], changes: &[u8]) -> [u8; 2] {
        for change in changes {
            let change = self.scenario.record(*change);
            if let Kind::Patch(sets) = change.kind {
                for (field, set) in fields.iter_mut().zip(sets) {
                    if set {
                        *field = change.value;
                    }
                }
            }
        }
        fields
    }

    /// What a put and these changes say together: the promise (**P4**).
    pub(crate) fn promised(&self, put: u8, changes: Bits) -> [u8; 2] {
        let put = self.scenario.record(put);
        let since = put.version_time.saturating_sub(self.scenario.clock_skew);
        let mut eligible: Vec<u8> = changes
            .filter(|change| self.scenario.record(change).version_time >= since)
            .iter()
            .collect();
        eligible.sort_by_key(|change| self.scenario.record(*change).version_time);
        self.patched([put.value; 2], &eligible)
    }
}
