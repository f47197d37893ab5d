//! What is stored already (PROTOCOL: step 1).
//!
//! After a crash, a rebalance or a reset of the group, records come again. An
//! offset in the ledger is done and is skipped. One that has a row but is not in
//! the ledger is inserted again: an insert that failed in a view leaves the row
//! without its entries in the other orders (V1), and every step bears repeating.
//!
//! It also tells a topic that was made anew under its old name, whose offsets
//! mean other records: going on would take new feedback for old.

use std::collections::{BTreeMap, HashMap};

use plaudit_store::{LedgerRange, StoredOffset};
use uuid::Uuid;

use crate::batch::{Batch, Position};
use crate::outcomes::Outcomes;
use crate::steps::{Steps, Stop};

/// Offsets that have rows, and which feedback each is about.
#[derive(Debug, Default)]
pub(crate) struct Stored(HashMap<(i32, i64), Uuid>);

impl Stored {
    /// Whether the record at this position has its row.
    pub(crate) fn contains(&self, position: Position) -> bool {
        self.0.contains_key(&(position.partition, position.offset))
    }

    /// The offsets, in no order.
    pub(crate) fn places(&self) -> impl Iterator<Item = (i32, i64)> {
        self.0.keys().copied()
    }

    fn id_at(&self, position: Position) -> Option<Uuid> {
        let place = (position.partition, position.offset);
        self.0.get(&place).copied()
    }
}

impl FromIterator<(i32, i64, Uuid)> for Stored {
    fn from_iter<I: IntoIterator<Item = (i32, i64, Uuid)>>(rows: I) -> Self {
        let rows = rows.into_iter();
        Self(rows.map(|(p, offset, id)| ((p, offset), id)).collect())
    }
}

impl Steps {
    /// Marks what the ledger has, and checks that it speaks of the same records.
    /// Returns what has rows, in the ledger or not.
    pub(crate) async fn read_back(
        &self,
        batch: &Batch,
        outcomes: &mut Outcomes,
    ) -> Result<Stored, Stop> {
        let ranges = batch.ranges();
        let ledger = self
            .insist("read the ledger", || {
                self.store.ledger_overlapping(&self.topic, &ranges)
            })
            .await?;
        if !ledger.is_empty() {
            let puts = batch.puts.iter().map(|put| put.position);
            let changes = batch.changes.iter().map(|record| record.position);
            let undecodable = batch.undecodable.iter().map(|record| record.position);
            let mut records: Vec<_> = puts.chain(changes).chain(undecodable).collect();
            for (position, same_time) in ledgered(&mut records, &ledger) {
                if !same_time {
                    let offset = position.offset;
                    let evidence =
                        format!("has a record of another time at offset {offset} than the ledger");
                    return Err(self.made_anew(position.partition, evidence));
                }
                outcomes.skip(position);
            }
        }
        let stored = self.stored_in(&ranges).await?;
        for put in &batch.puts {
            let Position {
                partition, offset, ..
            } = put.position;
            if stored.id_at(put.position).is_some_and(|id| id != put.id) {
                let evidence = format!("holds another feedback at offset {offset} than the table");
                return Err(self.made_anew(partition, evidence));
            }
        }
        Ok(stored)
    }

    /// Which offsets of these ranges (partition, first, last) have rows.
    pub(crate) async fn stored_in(&self, ranges: &[(i32, i64, i64)]) -> Result<Stored, Stop> {
        let rows = self
            .insist("read stored offsets", || {
                self.store.stored_offsets(&self.topic, ranges)
            })
            .await?;
        let row = |row: StoredOffset| (row.partition, row.offset, row.id);
        Ok(rows.into_iter().map(row).collect())
    }

    /// Which offsets near these have rows, these among them.
    pub(crate) async fn stored_at(&self, places: &[(i32, i64)]) -> Result<Stored, Stop> {
        let mut ranges: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        for (partition, offset) in places {
            let (first, last) = ranges.entry(*partition).or_insert((*offset, *offset));
            *first = (*first).min(*offset);
            *last = (*last).max(*offset);
        }
        let ranges: Vec<_> = ranges
            .into_iter()
            .map(|(partition, (first, last))| (partition, first, last))
            .collect();
        self.stored_in(&ranges).await
    }

    pub(crate) fn made_anew(&self, partition: i32, evidence: String) -> Stop {
        Stop::MadeAnew {
            topic: self.topic.clone(),
            partition,
            evidence,
        }
    }
}

/// The records that the ledger has, each with whether some range has its time as well.
///
/// A replay brings as many ranges as records, so they are not compared one by one.
fn ledgered(records: &mut [Position], ledger: &[LedgerRange]) -> Vec<(Position, bool)> {
    let place = |record: &Position| (record.partition, record.offset);
    records.sort_unstable_by_key(place);
    let mut found: Vec<Option<bool>> = vec![None; records.len()];
    for range in ledger {
        let from = records.partition_point(|record| place(record) < (range.partition, range.first));
        let until =
            records.partition_point(|record| place(record) <= (range.partition, range.last));
        let times = range.min_timestamp..=range.max_timestamp;
        let (Some(covered), Some(found)) = (records.get(from..until), found.get_mut(from..until))
        else {
            continue;
        };
        for (record, found) in covered.iter().zip(found) {
            let known = found.unwrap_or(false);
            *found = Some(known || times.contains(&record.timestamp));
        }
    }
    let of_ledger = records.iter().zip(found);
    of_ledger
        .filter_map(|(record, found)| Some((*record, found?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use plaudit_event::Outcome;

    use super::*;

    fn range(partition: i32, first: i64, last: i64, timestamp: i64) -> LedgerRange {
        LedgerRange {
            partition,
            first,
            last,
            outcome: Outcome::Stored,
            reason: String::new(),
            min_timestamp: timestamp,
            max_timestamp: timestamp,
        }
    }

    #[test]
    fn p2_what_the_ledger_has_is_found_and_a_record_of_another_time_is_told() {
        let record = |partition, offset| Position {
            partition,
            offset,
            timestamp: 10 * offset,
        };
        let mut records: Vec<_> = [(1, 3), (0, 4), (0, 2), (0, 3), (1, 9)]
            .map(|(partition, offset)| record(partition, offset))
            .into();
        let ledger = [
            range(0, 1, 2, 20),
            // Two sinks wrote the same offset down; one of them had its time.
            range(0, 3, 3, 999),
            range(0, 3, 3, 30),
            range(1, 0, 5, 999),
        ];
        let found = ledgered(&mut records, &ledger);
        assert_eq!(
            found,
            [
                (record(0, 2), true),
                (record(0, 3), true),
                (record(1, 3), false)
            ]
        );
    }
}
