//! What is taken out before it is stored anew: `plaudit rebuild`.
//!
//! The ledger first: a crash after that leaves offsets without an outcome, which an
//! audit finds, and not an outcome without rows. Changes stay: what they hide must
//! not be seen in between, and storing one again changes nothing.

use crate::{LedgerRange, MAX_SPAN, Payload, Store, StoreError, Table, encode_range};

impl Store {
    /// Takes the ledger and the rows of the offsets `first..=last` out. When it
    /// returns they are gone.
    ///
    /// Can be repeated. What is inserted meanwhile stays.
    ///
    /// # Errors
    /// See [`StoreError::verdict`]; part of it may have been done.
    pub async fn forget(
        &self,
        topic: &str,
        partition: i32,
        first: i64,
        last: i64,
    ) -> Result<(), StoreError> {
        self.forget_ledger(topic, partition, first, last).await?;
        let rows =
            format!("topic = ? AND partition = {partition} AND offset BETWEEN {first} AND {last}");
        self.delete("feedback", &rows, topic).await
    }

    /// What ranges have beyond `first..=last` is written as ranges of its own before
    /// they are deleted.
    async fn forget_ledger(
        &self,
        topic: &str,
        partition: i32,
        first: i64,
        last: i64,
    ) -> Result<(), StoreError> {
        let asked = [(partition, first, last)];
        let overlapping = self.ledger_overlapping(topic, &asked).await?;
        let rest = around(&overlapping, first, last);
        if !rest.is_empty() {
            self.insert(&self.ledger_payload(topic, &rest)).await?;
        }
        let from = first.saturating_sub(MAX_SPAN);
        let ranges = format!(
            "topic = ? AND partition = {partition} AND first > {from} AND first <= {last} AND last >= {first}"
        );
        self.delete("ledger", &ranges, topic).await
    }

    fn ledger_payload(&self, topic: &str, ranges: &[LedgerRange]) -> Payload {
        let mut rows = Vec::new();
        for range in ranges {
            encode_range(&mut rows, topic, range);
        }
        self.payload(Table::Ledger, ranges.len(), &rows)
    }

    async fn delete(&self, table: &str, condition: &str, topic: &str) -> Result<(), StoreError> {
        let sql = format!("DELETE FROM {{db}}.{table}{{local}}{{on_cluster}} WHERE {condition}");
        for node in self.nodes() {
            let query = node
                .query(&sql)
                .bind(topic)
                // On every replica, before it answers.
                .with_setting("lightweight_deletes_sync", "2")
                // Every replica deletes what was there when it was told.
                .with_setting("allow_nondeterministic_mutations", "1");
            node.within(query.execute()).await?;
        }
        Ok(())
    }
}

/// The parts of ranges that lie before `first` and after `last`.
fn around(ranges: &[LedgerRange], first: i64, last: i64) -> Vec<LedgerRange> {
    let before = ranges.iter().filter(|range| range.first < first);
    let before = before.map(|range| LedgerRange {
        last: first - 1,
        ..range.clone()
    });
    let after = ranges.iter().filter(|range| range.last > last);
    let after = after.map(|range| LedgerRange {
        first: last + 1,
        ..range.clone()
    });
    before.chain(after).collect()
}

#[cfg(test)]
mod tests {
    use plaudit_event::Outcome;

    use super::*;

    #[test]
    fn p2_only_the_offsets_that_are_asked_for_lose_their_outcome() {
        let range = |first, last| LedgerRange {
            partition: 0,
            first,
            last,
            outcome: Outcome::Stored,
            reason: String::new(),
            min_timestamp: 0,
            max_timestamp: 0,
        };
        let ranges = [range(0, 99), range(5, 12), range(10, 19), range(15, 30)];
        assert_eq!(
            around(&ranges, 10, 19),
            [range(0, 9), range(5, 9), range(20, 99), range(20, 30)]
        );
    }
}
