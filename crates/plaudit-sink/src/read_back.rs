//! What is stored already (PROTOCOL: step 1).
//!
//! After a crash, a rebalance or a reset of the group, records come again. An
//! offset in the ledger is done and is skipped. One that has a row but is not in
//! the ledger is inserted again: an insert that failed in a view leaves the row
//! without its entries in the other orders (V1), and every step bears repeating.
//!
//! It also tells a topic that was made anew under its old name, whose offsets
//! mean other records: going on would take new feedback for old.

use std::collections::HashMap;

use plaudit_store::LedgerRange;

use crate::batch::{Batch, Position};
use crate::outcomes::Outcomes;
use crate::steps::{Steps, Stop};

impl Steps {
    /// Marks what the ledger has, and checks that it speaks of the same records.
    pub(crate) async fn read_back(
        &self,
        batch: &Batch,
        outcomes: &mut Outcomes,
    ) -> Result<(), Stop> {
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
        let stored = self
            .insist("read stored offsets", || {
                self.store.stored_offsets(&self.topic, &ranges)
            })
            .await?;
        let stored: HashMap<_, _> = stored
            .into_iter()
            .map(|row| ((row.partition, row.offset), row.id))
            .collect();
        for put in &batch.puts {
            let Position {
                partition, offset, ..
            } = put.position;
            if stored
                .get(&(partition, offset))
                .is_some_and(|id| *id != put.id)
            {
                let evidence = format!("holds another feedback at offset {offset} than the table");
                return Err(self.made_anew(partition, evidence));
            }
        }
        Ok(())
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
