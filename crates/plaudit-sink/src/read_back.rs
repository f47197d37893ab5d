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
            for position in puts.chain(changes).chain(undecodable) {
                if self.is_ledgered(&ledger, position)? {
                    outcomes.skip(position);
                }
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

    fn is_ledgered(&self, ledger: &[LedgerRange], position: Position) -> Result<bool, Stop> {
        let Position {
            partition,
            offset,
            timestamp,
        } = position;
        let mut covering = ledger
            .iter()
            .filter(|range| {
                range.partition == partition && range.first <= offset && offset <= range.last
            })
            .peekable();
        if covering.peek().is_none() {
            return Ok(false);
        }
        if covering.any(|range| (range.min_timestamp..=range.max_timestamp).contains(&timestamp)) {
            return Ok(true);
        }
        let evidence = format!("has a record of another time at offset {offset} than the ledger");
        Err(self.made_anew(partition, evidence))
    }

    pub(crate) fn made_anew(&self, partition: i32, evidence: String) -> Stop {
        Stop::MadeAnew {
            topic: self.topic.clone(),
            partition,
            evidence,
        }
    }
}
