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

impl LedgerRange {
    /// Whether it speaks of this record.
    #[must_use]
    pub fn covers(&self, partition: i32, offset: i64) -> bool {
        self.partition == partition && (self.first..=self.last).contains(&offset)
    }
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
        let mut covering = Vec::new();
        for ranges in ranges.chunks(RANGES_A_QUERY) {
            let mut condition = String::from("0");
            for (partition, first, last) in ranges {
                let from = first.saturating_sub(MAX_SPAN);
                // Writing to a String cannot fail.
                write!(condition, " OR (partition = {partition} AND first > {from} AND first <= {last} AND last >= {first})")
                    .unwrap_or_default();
            }
            let sql =
                format!("{SELECT} WHERE topic = ? AND ({condition}) ORDER BY partition, first");
            covering.extend(self.ranges(&sql, topic).await?);
        }
        Ok(covering)
    }

    /// How far the ledger of each asked partition goes, from an offset on. A
    /// partition of which it has nothing there is left out.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn ledger_ends(
        &self,
        topic: &str,
        from: &[(i32, i64)],
    ) -> Result<Vec<LedgerEnds>, StoreError> {
        // The range that ends just before an asked offset belongs to its run.
        let asked: Vec<_> = from
            .iter()
            .map(|(partition, from)| format!("(partition = {partition} AND last >= {from} - 1)"))
            .collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        // Ranges that touch are joined by the server, so that few come back.
        let sql = format!(
            "SELECT partition, min(first) AS first, max(last) AS last, max(stamp) AS reached FROM (
                SELECT *, sum(gap) OVER (PARTITION BY partition ORDER BY first, last) AS run FROM (
                    SELECT partition, first, last, toUnixTimestamp64Milli(max_timestamp) AS stamp,
                        first > max(last) OVER (PARTITION BY partition ORDER BY first, last
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1 AS gap
                    FROM {{db}}.ledger WHERE topic = ? AND ({})))
            GROUP BY partition, run ORDER BY partition, first",
            asked.join(" OR ")
        );
        let runs: Vec<Run> = self
            .within(self.query(&sql).bind(topic).fetch_all())
            .await?;
        Ok(runs
            .chunk_by(|one, next| one.partition == next.partition)
            .filter_map(LedgerEnds::of)
            .collect())
    }

    /// Offsets of a partition, from one on and in their order, whose strongest outcome is
    /// `pending`: a page of them, and where to go on, if there may be more.
    ///
    /// The ledger keeps what was pending once. The server takes away what has ended since,
    /// which is written offset by offset, so that only what waits comes back.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn pending_offsets(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
    ) -> Result<(Vec<i64>, Option<i64>), StoreError> {
        let of = format!("topic = ? AND partition = {partition} AND last >= {from}");
        let sql = format!(
            "SELECT DISTINCT toInt64(arrayJoin(range(toUInt64(first), toUInt64(last) + 1))) AS offset
             FROM {{db}}.ledger WHERE {of} AND outcome = 'pending'
                AND offset >= {from} AND offset NOT IN (
                    SELECT first FROM {{db}}.ledger
                    WHERE {of} AND outcome != 'pending' AND first = last)
             ORDER BY offset LIMIT {RANGES_A_QUERY}"
        );
        let query = self.query(&sql).bind(topic).bind(topic);
        let mut offsets: Vec<i64> = self.within(query.fetch_all()).await?;
        let is_full = offsets.len() >= RANGES_A_QUERY;
        let next = offsets.last().map(|last| last + 1).filter(|_| is_full);
        let asked: Vec<_> = offsets.iter().map(|at| (partition, *at, *at)).collect();
        let covering = self.ledger_overlapping(topic, &asked).await?;
        offsets.retain(|offset| {
            let mut ended = covering.iter().filter(|r| r.outcome > Outcome::Pending);
            !ended.any(|range| range.covers(partition, *offset))
        });
        Ok((offsets, next))
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

/// Ranges of one partition without a gap between them.
#[derive(Deserialize, Row)]
struct Run {
    partition: i32,
    first: i64,
    last: i64,
    reached: i64,
}

/// How far a partition's ledger goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LedgerEnds {
    /// The partition.
    pub partition: i32,
    /// The first offset of the first run.
    pub first: i64,
    /// The offset after the first run: what the ledger does not have yet.
    pub prefix: i64,
    /// The highest Kafka timestamp of the first run, in milliseconds.
    pub reached: i64,
    /// The offset after the highest range.
    pub highest: i64,
}

impl LedgerEnds {
    fn of(runs: &[Run]) -> Option<Self> {
        let (first, last) = (runs.first()?, runs.last()?);
        Some(Self {
            partition: first.partition,
            first: first.first,
            prefix: first.last + 1,
            reached: first.reached,
            highest: last.last + 1,
        })
    }
}

/// How many ranges one query asks for: its text must be below the server's
/// `max_query_size`.
pub(crate) const RANGES_A_QUERY: usize = 500;

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
