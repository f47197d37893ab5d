//! Rows of `feedback` that the sink reads back.

use clickhouse::Row;
use plaudit_event::{
    Dialect, Feedback, Json, Micros, RowVersion, Source, Target, TargetKind, Text, Value,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::enums;
use crate::ledger::{RANGES_A_QUERY, in_ranges};
use crate::{Store, StoreError};

/// An offset that has a row already (PROTOCOL: step 1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Row)]
pub struct StoredOffset {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The feedback that the record at this offset was about.
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
}

/// The row of a feedback with the highest version, tombstones included.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentRow {
    /// Whose it is.
    pub project: String,
    /// Which version it is, and how many changes are folded in.
    pub version: RowVersion,
    /// Whether it hides the feedback.
    pub is_deleted: bool,
    /// What the row says.
    pub feedback: Feedback<'static>,
    /// The API that the put came by.
    pub dialect: Dialect,
    /// When the put was received.
    pub received_at: Micros,
    /// The put's topic.
    pub topic: String,
    /// The put's partition.
    pub partition: i32,
    /// The put's offset.
    pub offset: i64,
}

#[derive(Deserialize, Row)]
struct RawRow {
    project: String,
    trace_id: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    version: u64,
    is_deleted: u8,
    #[serde(deserialize_with = "enums::read_target_kind")]
    target_kind: TargetKind,
    target_id: String,
    metric: String,
    value: String,
    score: Option<f64>,
    weight: f64,
    comment: String,
    correction: String,
    tags: Vec<(String, String)>,
    metadata: String,
    rater: String,
    source_kind: String,
    source_info: String,
    source_run_id: String,
    group_id: String,
    experiment_id: String,
    session_id: String,
    created_at: Micros,
    received_at: Micros,
    #[serde(deserialize_with = "enums::read_dialect")]
    dialect: Dialect,
    topic: String,
    partition: i32,
    offset: i64,
}

impl Store {
    /// The offsets of `ranges` (partition, first, last) that have rows.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn stored_offsets(
        &self,
        topic: &str,
        ranges: &[(i32, i64, i64)],
    ) -> Result<Vec<StoredOffset>, StoreError> {
        let mut stored = Vec::new();
        for ranges in ranges.chunks(RANGES_A_QUERY) {
            let sql = format!(
                "SELECT DISTINCT partition, offset, id FROM {{db}}.feedback WHERE topic = ? AND {}",
                in_ranges(ranges)
            );
            let rows: Vec<StoredOffset> = self
                .within(self.query(&sql).bind(topic).fetch_all())
                .await?;
            stored.extend(rows);
        }
        Ok(stored)
    }

    /// Per asked partition, the highest offset from the given one on that has a
    /// row or a change; a partition that has none is left out.
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn highest_stored(
        &self,
        topic: &str,
        from: &[(i32, i64)],
    ) -> Result<Vec<(i32, i64)>, StoreError> {
        #[derive(Deserialize, Row)]
        struct Highest {
            partition: i32,
            highest: i64,
        }

        let asked: Vec<_> = from
            .iter()
            .map(|(partition, from)| format!("(partition = {partition} AND offset >= {from})"))
            .collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let asked = asked.join(" OR ");
        let sql = format!(
            "SELECT partition, max(offset) AS highest FROM (
                SELECT partition, offset FROM {{db}}.feedback WHERE topic = ? AND ({asked})
                UNION ALL
                SELECT partition, offset FROM {{db}}.changes WHERE topic = ? AND ({asked}))
            GROUP BY partition"
        );
        let query = self.query(&sql).bind(topic).bind(topic);
        let rows: Vec<Highest> = self.within(query.fetch_all()).await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.partition, row.highest))
            .collect())
    }

    /// The current rows of these feedbacks, in every trace that has them
    /// (PROTOCOL: step 4, the base of a fold).
    ///
    /// # Errors
    /// See [`StoreError::verdict`].
    pub async fn current_rows(
        &self,
        ids: &[(String, Uuid)],
    ) -> Result<Vec<CurrentRow>, StoreError> {
        let sql = format!(
            "SELECT project, trace_id, id, version, is_deleted, target_kind, target_id, metric, value,
                score, weight, comment, correction, tags, metadata, rater, source_kind, source_info,
                source_run_id, group_id, experiment_id, session_id, created_at, received_at, dialect,
                topic, partition, offset
            FROM {{db}}.feedback
            WHERE (project, trace_id, id) IN (
                SELECT project, trace_id, id FROM {{db}}.feedback WHERE (project, id) IN ({}))
            ORDER BY version DESC
            LIMIT 1 BY project, trace_id, id",
            id_list(ids)
        );
        let mut rows = self.query(&sql);
        for (project, _) in ids {
            rows = rows.bind(project);
        }
        let rows = self.within(rows.fetch_all::<RawRow>()).await?;
        rows.into_iter().map(CurrentRow::try_from).collect()
    }
}

/// `(?, toUUID('…')), …`: a project is the client's text and is bound, an id is
/// not text at all.
pub(crate) fn id_list(ids: &[(String, Uuid)]) -> String {
    let items: Vec<String> = ids
        .iter()
        .map(|(_, id)| format!("(?, toUUID('{id}'))"))
        .collect();
    items.join(", ")
}

impl TryFrom<RawRow> for CurrentRow {
    type Error = StoreError;

    fn try_from(row: RawRow) -> Result<Self, StoreError> {
        let own_trace = row.target_kind == TargetKind::Trace && row.target_id == row.trace_id;
        let target = Target {
            kind: row.target_kind,
            id: row.target_id.into(),
        };
        let source = Source {
            kind: row.source_kind.into(),
            info: json("source_info", row.source_info)?,
            run_id: text(row.source_run_id),
        };
        let mut feedback = Feedback::new(row.id, row.trace_id, row.metric);
        feedback.target = (!own_trace).then_some(target);
        feedback.value = json("value", row.value)?.and_then(Value::from_json);
        feedback.score = row.score;
        feedback.weight = row.weight;
        feedback.comment = text(row.comment);
        feedback.correction = json("correction", row.correction)?;
        for (key, text) in row.tags {
            feedback.tags.insert(key, text);
        }
        feedback.metadata = json("metadata", row.metadata)?;
        feedback.rater = text(row.rater);
        feedback.source = Some(source);
        feedback.group_id = text(row.group_id);
        feedback.experiment_id = text(row.experiment_id);
        feedback.session_id = text(row.session_id);
        feedback.created_at = Some(row.created_at);
        Ok(Self {
            project: row.project,
            version: RowVersion::from_column(row.version),
            is_deleted: row.is_deleted != 0,
            feedback,
            dialect: row.dialect,
            received_at: row.received_at,
            topic: row.topic,
            partition: row.partition,
            offset: row.offset,
        })
    }
}

fn text(column: String) -> Option<Text<'static>> {
    (!column.is_empty()).then(|| column.into())
}

fn json(name: &'static str, column: String) -> Result<Option<Json<'static>>, StoreError> {
    if column.is_empty() {
        return Ok(None);
    }
    match Json::parse(&column) {
        Ok(json) => Ok(Some(json.into_owned())),
        Err(_) => Err(StoreError::unexpected(format!("column {name} is not JSON"))),
    }
}
