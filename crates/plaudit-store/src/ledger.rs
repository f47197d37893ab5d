//! What became of every offset (PROTOCOL: step 6).
//!
//! The ledger is a set of ranges. They may repeat and overlap; an offset has
//! the strongest outcome of those that cover it.

use std::fmt::Write as _;

use clickhouse::Row;
use plaudit_event::Outcome;
use serde::Deserialize;

use crate::row::string;
use crate::{Store, StoreError};

/// The most offsets that one range of the ledger covers.
pub const MAX_SPAN: i64 = 1_000_000;

/// The columns, in the order in which a range is encoded.
pub(crate) const COLUMNS: &str =
    "topic, partition, first, last, outcome, reason, min_timestamp, max_timestamp";

/// Offsets of one partition with one outcome.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LedgerRange {
    /// The partition.
    pub partition: i32,
    /// The first offset, inclusive.
    pub first: i64,
    /// The last offset, inclusive.
    pub last: i64,
    /// What became of them.
    pub outcome: Outcome,
    /// Why, for a dead letter; else empty.
    pub reason: String,
    /// The lowest Kafka timestamp of the records, in milliseconds.
    pub min_timestamp: i64,
    /// The highest.
    pub max_timestamp: i64,
}

#[derive(Deserialize, Row)]
struct RawRange {
    partition: i32,
    first: i64,
    last: i64,
    outcome: String,
    reason: String,
    min_timestamp: i64,
    max_timestamp: i64,
}

/// Appends a range as RowBinary; one that is too long as several.
pub fn encode_range(out: &mut Vec<u8>, topic: &str, range: &LedgerRange) {
    let mut first = range.first;
    while first <= range.last {
        let last = range.last.min(first + MAX_SPAN - 1);
        string(out, topic);
        out.extend_from_slice(&range.partition.to_le_bytes());
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&last.to_le_bytes());
        out.push(outcome_column(range.outcome));
        string(out, &range.reason);
        out.extend_from_slice(&range.min_timestamp.to_le_bytes());
        out.extend_from_slice(&range.max_timestamp.to_le_bytes());
        first = last + 1;
    }
}

const fn outcome_column(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Expired => 2,
        Outcome::DeadLettered => 3,
        Outcome::Duplicate => 4,
        Outcome::Stored => 5,
        // `Pending`, the weakest.
        _ => 1,
    }
}

const SELECT: &str = "SELECT partition, first, last, toString(outcome) AS outcome, reason,
    toUnixTimestamp64Milli(min_timestamp) AS min_timestamp,
    toUnixTimestamp64Milli(max_timestamp) AS max_timestamp
    FROM {db}.ledger";

impl Store {
    /// The ranges that overlap any of `ranges` (partition, first, last).
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn ledger_overlapping(
        &self,
        topic: &str,
        ranges: &[(i32, i64, i64)],
    ) -> Result<Vec<LedgerRange>, StoreError> {
        let mut condition = String::from("0");
        for (partition, first, last) in ranges {
            let from = first.saturating_sub(MAX_SPAN);
            // Writing to a String cannot fail.
            write!(condition, " OR (partition = {partition} AND first > {from} AND first <= {last} AND last >= {first})")
                .unwrap_or_default();
        }
        let sql = format!("{SELECT} WHERE topic = ? AND ({condition}) ORDER BY partition, first");
        self.ranges(&sql, topic).await
    }

    /// The end of the ledger's prefix: the offset after the run of ranges that
    /// begins at or before `start`, or `start` where there is none; and the
    /// offset after the highest range.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn ledger_ends(
        &self,
        topic: &str,
        partition: i32,
        start: i64,
    ) -> Result<LedgerEnds, StoreError> {
        #[derive(Deserialize, Row)]
        struct Span {
            first: i64,
            last: i64,
        }

        // Ranges that touch are joined by the server, so that few come back.
        let sql = "SELECT min(first) AS first, max(last) AS last FROM (
                SELECT first, last, sum(gap) OVER (ORDER BY first, last) AS island FROM (
                    SELECT first, last, first > max(last) OVER (
                        ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1 AS gap
                    FROM {db}.ledger WHERE topic = ? AND partition = ? AND last >= ?))
            GROUP BY island ORDER BY first";
        let spans: Vec<Span> = self
            .within(
                self.query(sql)
                    .bind(topic)
                    .bind(partition)
                    .bind(start)
                    .fetch_all(),
            )
            .await?;
        let prefix = spans
            .iter()
            .take_while(|span| span.first <= start)
            .map(|span| span.last + 1)
            .last();
        Ok(LedgerEnds {
            prefix: prefix.unwrap_or(start),
            highest: spans.last().map(|span| span.last + 1),
        })
    }

    /// The offsets of a partition whose strongest outcome is `pending`.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn pending_offsets(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<i64>, StoreError> {
        let pending = format!(
            "{SELECT} WHERE topic = ? AND partition = {partition} AND outcome = 'pending' ORDER BY first"
        );
        let pending = self.ranges(&pending, topic).await?;
        let mut offsets = Vec::new();
        for run in pending.chunks(RANGES_A_QUERY) {
            let asked: Vec<_> = run.iter().map(|r| (partition, r.first, r.last)).collect();
            let covering = self.ledger_overlapping(topic, &asked).await?;
            let settled = |offset: i64| {
                covering.iter().any(|range| {
                    range.outcome > Outcome::Pending
                        && range.first <= offset
                        && offset <= range.last
                })
            };
            for range in run {
                offsets.extend((range.first..=range.last).filter(|offset| !settled(*offset)));
            }
        }
        Ok(offsets)
    }

    /// The first offset that every partition's ledger has not passed, by time:
    /// the lowest, over the partitions of `topic`, of the highest timestamp in
    /// the ledger. In milliseconds; `None` when the ledger is empty.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn ledger_reached(&self, topic: &str) -> Result<Vec<(i32, i64)>, StoreError> {
        #[derive(Deserialize, Row)]
        struct Reached {
            partition: i32,
            timestamp: i64,
        }

        let sql = "SELECT partition, toUnixTimestamp64Milli(max(max_timestamp)) AS timestamp
            FROM {db}.ledger WHERE topic = ? GROUP BY partition";
        let rows: Vec<Reached> = self.within(self.query(sql).bind(topic).fetch_all()).await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.partition, row.timestamp))
            .collect())
    }

    async fn ranges(&self, sql: &str, topic: &str) -> Result<Vec<LedgerRange>, StoreError> {
        let rows: Vec<RawRange> = self.within(self.query(sql).bind(topic).fetch_all()).await?;
        rows.into_iter()
            .map(|row| {
                let outcome = row
                    .outcome
                    .parse()
                    .map_err(|_| StoreError::unexpected("column ledger.outcome"))?;
                Ok(LedgerRange {
                    partition: row.partition,
                    first: row.first,
                    last: row.last,
                    outcome,
                    reason: row.reason,
                    min_timestamp: row.min_timestamp,
                    max_timestamp: row.max_timestamp,
                })
            })
            .collect()
    }
}

/// How far a partition's ledger goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LedgerEnds {
    /// The offset after the run that covers the asked start.
    pub prefix: i64,
    /// The offset after the highest range, where there is one.
    pub highest: Option<i64>,
}

/// How many ranges one query asks for, to keep its text short.
const RANGES_A_QUERY: usize = 500;

/// `(partition = 0 AND offset BETWEEN 1 AND 5) OR …`
pub(crate) fn in_ranges(ranges: &[(i32, i64, i64)]) -> String {
    let mut condition = String::from("(0");
    for (partition, first, last) in ranges {
        write!(
            condition,
            " OR (partition = {partition} AND offset BETWEEN {first} AND {last})"
        )
        .unwrap_or_default();
    }
    condition.push(')');
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_range_is_written_as_several() {
        let range = LedgerRange {
            partition: 0,
            first: 5,
            last: 5 + 2 * MAX_SPAN,
            outcome: Outcome::Expired,
            reason: String::new(),
            min_timestamp: 0,
            max_timestamp: 0,
        };
        let (mut one, mut three) = (Vec::new(), Vec::new());
        encode_range(
            &mut one,
            "t",
            &LedgerRange {
                last: 5,
                ..range.clone()
            },
        );
        encode_range(&mut three, "t", &range);
        assert_eq!(three.len(), 3 * one.len());
    }
}
