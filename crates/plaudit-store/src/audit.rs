//! What an audit asks: outcomes as runs, and what is there at which offset.
//!
//! Questions of one partition each, answered by the server as ranges or numbers
//! wherever that will do: an audit looks at every offset there is.

use clickhouse::Row;
use plaudit_event::{Outcome, RowVersion};
use serde::Deserialize;
use uuid::Uuid;

use crate::{MAX_SPAN, Store, StoreError};

/// Neighbouring offsets that some range of the ledger gives this outcome. Another
/// run may give some of them a stronger one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutcomeRun {
    /// The outcome.
    pub outcome: Outcome,
    /// The first offset, inclusive.
    pub first: i64,
    /// The last offset, inclusive.
    pub last: i64,
}

/// The highest version of a feedback among the rows of one offset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RowAt {
    /// The offset.
    pub offset: i64,
    /// The feedback.
    pub id: Uuid,
    /// Its version.
    pub version: RowVersion,
}

/// What names a feedback.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Identity {
    /// Whose it is.
    pub project: String,
    /// What it is about.
    pub trace_id: String,
    /// Its id.
    pub id: Uuid,
}

/// Identities that one query asks for: keys of one batch are all over the table, so
/// each query reads most of it.
const IDENTITIES_A_QUERY: usize = 20_000;

/// The longest text of such a query: trace ids are as long as clients like.
const MAX_QUERY_BYTES: u32 = 128 << 20;

impl Store {
    /// The ledger of a partition from `first` on, as runs:
    /// ranges of one outcome that touch are joined by the server.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn ledger_runs(
        &self,
        topic: &str,
        partition: i32,
        first: i64,
    ) -> Result<Vec<OutcomeRun>, StoreError> {
        #[derive(Deserialize, Row)]
        struct RawRun {
            outcome: String,
            first: i64,
            last: i64,
        }

        let from = first.saturating_sub(MAX_SPAN);
        let sql = format!(
            "SELECT outcome, min(first) AS first, max(last) AS last FROM (
                SELECT *, sum(gap) OVER (PARTITION BY outcome ORDER BY first, last) AS run FROM (
                    SELECT toString(outcome) AS outcome, first, last,
                        first > max(last) OVER (PARTITION BY outcome ORDER BY first, last
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1 AS gap
                    FROM {{db}}.ledger
                    WHERE topic = ? AND partition = {partition} AND first > {from} AND last >= {first}))
            GROUP BY outcome, run ORDER BY outcome, first"
        );
        let runs: Vec<RawRun> = self
            .within(self.query(&sql).bind(topic).fetch_all())
            .await?;
        let parse = |run: RawRun| {
            let outcome = run.outcome.parse();
            Ok(OutcomeRun {
                outcome: outcome.map_err(|_| StoreError::unexpected("column ledger.outcome"))?,
                first: run.first,
                last: run.last,
            })
        };
        runs.into_iter().map(parse).collect()
    }

    /// How many offsets of `first..end` have rows of their own.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn offsets_with_rows(
        &self,
        topic: &str,
        partition: i32,
        first: i64,
        end: i64,
    ) -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT groupBitmap(toUInt64(offset)) FROM {{db}}.feedback
            WHERE topic = ? AND partition = {partition} AND offset >= {first} AND offset < {end}"
        );
        self.within(self.query(&sql).bind(topic).fetch_one()).await
    }

    /// The rows of the offsets `first..end`.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn rows_at(
        &self,
        topic: &str,
        partition: i32,
        first: i64,
        end: i64,
    ) -> Result<Vec<RowAt>, StoreError> {
        #[derive(Deserialize, Row)]
        struct RawRow {
            offset: i64,
            #[serde(with = "clickhouse::serde::uuid")]
            id: Uuid,
            highest: u64,
        }

        let sql = format!(
            "SELECT offset, id, max(version) AS highest FROM {{db}}.feedback
            WHERE topic = ? AND partition = {partition} AND offset >= {first} AND offset < {end}
            GROUP BY offset, id"
        );
        let rows: Vec<RawRow> = self
            .within(self.query(&sql).bind(topic).fetch_all())
            .await?;
        let row = |row: RawRow| RowAt {
            offset: row.offset,
            id: row.id,
            version: RowVersion::from_column(row.highest),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// The offsets of `first..end` that `changes` has.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn offsets_with_changes(
        &self,
        topic: &str,
        partition: i32,
        first: i64,
        end: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let sql = format!(
            "SELECT DISTINCT offset FROM {{db}}.changes
            WHERE topic = ? AND partition = {partition} AND offset >= {first} AND offset < {end}"
        );
        self.within(self.query(&sql).bind(topic).fetch_all()).await
    }

    /// The highest version of each of these feedbacks, wherever its row came from;
    /// one that has no row is left out.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn versions_of(
        &self,
        identities: &[Identity],
    ) -> Result<Vec<(Identity, RowVersion)>, StoreError> {
        #[derive(Deserialize, Row)]
        struct RawVersion {
            project: String,
            trace_id: String,
            #[serde(with = "clickhouse::serde::uuid")]
            id: Uuid,
            highest: u64,
        }

        let mut versions = Vec::with_capacity(identities.len());
        for identities in identities.chunks(IDENTITIES_A_QUERY) {
            let projects: Vec<&str> = identities.iter().map(|of| &*of.project).collect();
            let traces: Vec<&str> = identities.iter().map(|of| &*of.trace_id).collect();
            let ids: Vec<String> = identities.iter().map(|of| of.id.to_string()).collect();
            // As arrays: the server parses each as one literal.
            let sql = "SELECT project, trace_id, id, max(version) AS highest FROM {db}.feedback
                WHERE (project, trace_id, id) IN (
                    SELECT key.1, key.2, toUUID(key.3) FROM (
                        SELECT arrayJoin(arrayZip(?, ?, ?)) AS key))
                GROUP BY project, trace_id, id";
            let query = self
                .query(sql)
                .bind(projects)
                .bind(traces)
                .bind(ids)
                .with_setting("max_query_size", MAX_QUERY_BYTES.to_string());
            let rows: Vec<RawVersion> = self.within(query.fetch_all()).await?;
            versions.extend(rows.into_iter().map(|row| {
                let identity = Identity {
                    project: row.project,
                    trace_id: row.trace_id,
                    id: row.id,
                };
                (identity, RowVersion::from_column(row.highest))
            }));
        }
        Ok(versions)
    }
}
