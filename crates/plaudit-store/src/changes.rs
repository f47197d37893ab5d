//! Patches and retractions, kept beside what they change (PROTOCOL: steps 3, 4).

use clickhouse::Row;
use plaudit_event::Micros;
use serde::Deserialize;
use uuid::Uuid;

use crate::ledger::{RANGES_A_QUERY, in_ranges};
use crate::row::{bytes, micros, string, uuid};
use crate::rows::id_list;
use crate::{Store, StoreError};

/// The columns, in the order in which a change is encoded.
pub(crate) const COLUMNS: &str =
    "project, id, topic, partition, offset, kind, version_time, received_at, record, gave_up";

/// A change as `changes` holds it, named by (topic, partition, offset).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Whose it is.
    pub project: String,
    /// The feedback that it changes.
    pub id: Uuid,
    /// The topic of its record.
    pub topic: String,
    /// The partition of its record.
    pub partition: i32,
    /// The offset of its record.
    pub offset: i64,
    /// What it does.
    pub kind: ChangeKind,
    /// Its place among the changes of the id.
    pub version_time: Micros,
    /// When the intake had it.
    pub received_at: Micros,
    /// The Kafka value, which says what to change. Empty where it was given up and all
    /// changes of its id were asked for: no fold needs it.
    pub record: Vec<u8>,
    /// Why no fold applies it any more: final.
    pub gave_up: Option<GaveUp>,
}

/// Why a patch was given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GaveUp {
    /// Its feedback did not come in time.
    NoFeedback,
    /// ClickHouse cannot take the row that it makes.
    Unfoldable,
}

/// What a change does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeKind {
    /// Sets or clears fields.
    Patch,
    /// Hides the feedback for good.
    Retract,
}

impl Change {
    /// Partition and offset of its record.
    pub fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }
}

#[derive(Deserialize, Row)]
struct RawChange {
    project: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    topic: String,
    partition: i32,
    offset: i64,
    kind: i8,
    version_time: Micros,
    received_at: Micros,
    #[serde(with = "serde_bytes")]
    record: Vec<u8>,
    gave_up: u8,
}

#[derive(Deserialize, Row)]
struct RawId {
    project: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
}

/// Appends a change as RowBinary.
pub fn encode_change(out: &mut Vec<u8>, change: &Change) {
    string(out, &change.project);
    uuid(out, change.id);
    string(out, &change.topic);
    out.extend_from_slice(&change.partition.to_le_bytes());
    out.extend_from_slice(&change.offset.to_le_bytes());
    out.push(match change.kind {
        ChangeKind::Patch => 1,
        ChangeKind::Retract => 2,
    });
    micros(out, change.version_time);
    micros(out, change.received_at);
    bytes(out, &change.record);
    out.push(match change.gave_up {
        None => 0,
        Some(GaveUp::NoFeedback) => 1,
        Some(GaveUp::Unfoldable) => 2,
    });
}

/// Whole changes, but that `record` is what this expression says.
fn select(record: &str) -> String {
    format!(
        "SELECT project, id, topic, partition, offset, kind, version_time, received_at,
        {record} AS record, gave_up
        FROM {{db}}.changes FINAL"
    )
}

/// What the changes of several ids may take, in bytes: those of one id take what they take.
const MOST_BYTES: usize = 32 << 20;

impl Store {
    /// Which of the rows just written at `ranges` have changes: retractions of
    /// any age, patches no older than `since` (PROTOCOL: step 4).
    ///
    /// To be asked after those rows are in: then of two sinks, one that writes
    /// a put and one that writes its change, at least one sees both.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn changed_among(
        &self,
        topic: &str,
        ranges: &[(i32, i64, i64)],
        since: Micros,
    ) -> Result<Vec<(String, Uuid)>, StoreError> {
        const RECENT: &str = "(kind = 'retract' OR version_time >= fromUnixTimestamp64Micro(?))";

        // Most batches end here: nobody has changed anything lately.
        let sql = format!("SELECT 1 FROM {{db}}.changes WHERE {RECENT} LIMIT 1");
        let any: Option<u8> = self
            .within(self.query(&sql).bind(since.0).fetch_optional())
            .await?;
        if any.is_none() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT DISTINCT project, id FROM {{db}}.changes
            WHERE {RECENT} AND gave_up = 0 AND (project, id) IN (
                SELECT project, id FROM {{db}}.feedback WHERE topic = ? AND {})",
            in_ranges(ranges)
        );
        let rows: Vec<RawId> = self
            .within(self.query(&sql).bind(since.0).bind(topic).fetch_all())
            .await?;
        Ok(rows.into_iter().map(|row| (row.project, row.id)).collect())
    }

    /// Every change of these ids, given up or not, in the order in which a fold
    /// applies them. `None` where they take more than 32 MiB and are of several ids: ask for
    /// fewer.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn changes_of(
        &self,
        ids: &[(String, Uuid)],
    ) -> Result<Option<Vec<Change>>, StoreError> {
        let sql = format!(
            "{} WHERE (project, id) IN ({}) ORDER BY version_time, partition, offset",
            select("if(gave_up = 0, record, '')"),
            id_list(ids)
        );
        let mut query = self.query(&sql);
        for (project, _) in ids {
            query = query.bind(project);
        }
        if ids.len() > 1 {
            query = query
                .with_setting("max_result_bytes", MOST_BYTES.to_string())
                .with_setting("result_overflow_mode", "throw")
                // An error and not the beginning of an answer.
                .with_setting("wait_end_of_query", "1");
        }
        match self.within(query.fetch_all::<RawChange>()).await {
            Ok(rows) => Ok(Some(rows.into_iter().map(Change::from).collect())),
            Err(error) if error.is_too_long() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The changes at these offsets (partition, first, last), given up or not.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn changes_at(
        &self,
        topic: &str,
        ranges: &[(i32, i64, i64)],
    ) -> Result<Vec<Change>, StoreError> {
        let (select, mut changes) = (select("record"), Vec::new());
        for ranges in ranges.chunks(RANGES_A_QUERY) {
            let sql = format!("{select} WHERE topic = ? AND {}", in_ranges(ranges));
            let rows: Vec<RawChange> = self
                .within(self.query(&sql).bind(topic).fetch_all())
                .await?;
            changes.extend(rows.into_iter().map(Change::from));
        }
        Ok(changes)
    }
}

impl From<RawChange> for Change {
    fn from(row: RawChange) -> Self {
        Self {
            project: row.project,
            id: row.id,
            topic: row.topic,
            partition: row.partition,
            offset: row.offset,
            kind: if row.kind == 2 {
                ChangeKind::Retract
            } else {
                ChangeKind::Patch
            },
            version_time: row.version_time,
            received_at: row.received_at,
            record: row.record,
            gave_up: match row.gave_up {
                0 => None,
                2 => Some(GaveUp::Unfoldable),
                _ => Some(GaveUp::NoFeedback),
            },
        }
    }
}
