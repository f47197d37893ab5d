//! What became of receipts, by the ledger.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use clickhouse::Row;
use plaudit_event::{Outcome, Receipt};
use serde::Deserialize;

use super::sql::{Sql, Value};
use super::{ReadError, Reader};
use crate::{MAX_SPAN, StoreError};

/// The strongest outcome that the ledger has for an offset.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, for a dead letter; else empty.
    pub reason: String,
}

#[derive(Deserialize, Row)]
struct SettledRow {
    topic: String,
    partition: i32,
    asked: i64,
    strongest: String,
    why: String,
}

/// A server refuses a query of too many parts, and each place is one.
const PLACES_A_QUERY: usize = 64;

/// Offsets of one partition that are near each other.
#[derive(Debug, Eq, PartialEq)]
struct Cluster {
    topic: Arc<str>,
    partition: i32,
    /// Ascending, never empty.
    offsets: Vec<i64>,
}

impl Reader {
    /// What became of `receipts`; one that the ledger does not know is absent.
    ///
    /// # Errors
    /// [`ReadError`] says what to do about it.
    pub async fn receipts(
        &self,
        receipts: &[Receipt],
    ) -> Result<HashMap<Receipt, Settled>, ReadError> {
        let mut settled = HashMap::new();
        for some in clusters(receipts).chunks(PLACES_A_QUERY) {
            settled.extend(self.settled(some).await?);
        }
        Ok(settled)
    }

    /// In how many places of the ledger these are looked for.
    pub fn places(receipts: &[Receipt]) -> usize {
        clusters(receipts).len()
    }

    async fn settled(&self, clusters: &[Cluster]) -> Result<HashMap<Receipt, Settled>, ReadError> {
        let questions = clusters.iter().filter_map(|cluster| {
            // A range begins at most MAX_SPAN before what it covers, which is
            // what makes this a look-up by key.
            let (lowest, highest) = (*cluster.offsets.first()?, *cluster.offsets.last()?);
            let sql = Sql::new("SELECT topic, partition, asked, toString(max(outcome)) AS strongest, argMax(reason, outcome) AS why
                FROM {db}.ledger ARRAY JOIN arrayFilter(o -> first <= o AND o <= last, ")
                .with("CAST(?, 'Array(Int64)')) AS asked", [Value::Numbers(cluster.offsets.clone())])
                .with(
                    " WHERE topic = ? AND partition = ? AND first BETWEEN ? AND ? AND last >= ?",
                    [
                        (&*cluster.topic).into(),
                        i64::from(cluster.partition).into(),
                        lowest.saturating_sub(MAX_SPAN).into(),
                        highest.into(),
                        lowest.into(),
                    ],
                )
                .then(" GROUP BY topic, partition, asked");
            Some(sql)
        });
        let Some(sql) = questions.reduce(|all, one| all.then(" UNION ALL ").append(one)) else {
            return Ok(HashMap::new());
        };
        let rows: Vec<SettledRow> = self.fetch(sql).await?;
        let settled: Result<_, StoreError> = rows.into_iter().map(SettledRow::into_pair).collect();
        Ok(settled?)
    }
}

impl SettledRow {
    fn into_pair(self) -> Result<(Receipt, Settled), StoreError> {
        let outcome: Outcome = self
            .strongest
            .parse()
            .map_err(|_| StoreError::unexpected("column ledger.outcome"))?;
        let receipt = Receipt {
            topic: self.topic.into(),
            partition: self.partition,
            offset: self.asked,
        };
        Ok((
            receipt,
            Settled {
                outcome,
                reason: self.why,
            },
        ))
    }
}

/// Receipts by partition, and apart where the ranges that cover them are.
fn clusters(receipts: &[Receipt]) -> Vec<Cluster> {
    let mut partitions: BTreeMap<(&Arc<str>, i32), Vec<i64>> = BTreeMap::new();
    for receipt in receipts {
        let key = (&receipt.topic, receipt.partition);
        partitions.entry(key).or_default().push(receipt.offset);
    }
    let mut clusters = Vec::new();
    for ((topic, partition), mut offsets) in partitions {
        offsets.sort_unstable();
        offsets.dedup();
        for near in offsets.chunk_by(|one, next| next - one <= MAX_SPAN) {
            clusters.push(Cluster {
                topic: Arc::clone(topic),
                partition,
                offsets: near.to_vec(),
            });
        }
    }
    clusters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_offsets_of_a_partition_are_asked_for_apart() {
        let receipts: Vec<Receipt> = ["t:0:5", "t:1:7", "t:0:3", "t:0:2000000", "t:0:5"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let cluster = |partition, offsets: &[i64]| Cluster {
            topic: "t".into(),
            partition,
            offsets: offsets.to_vec(),
        };
        assert_eq!(
            clusters(&receipts),
            [
                cluster(0, &[3, 5]),
                cluster(0, &[2_000_000]),
                cluster(1, &[7])
            ]
        );
    }
}
