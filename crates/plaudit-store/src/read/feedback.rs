//! Feedback as it is returned, and the read that knows which it is.

use clickhouse::Row;
use plaudit_event::{Dialect, Micros, RowVersion, TargetKind};
use serde::Deserialize;
use uuid::Uuid;

use super::sql::Sql;
use super::{ReadError, Reader};
use crate::enums;

/// The latest version of one feedback. Absent text is empty, as in the table.
#[derive(Clone, Debug, Deserialize, PartialEq, Row)]
pub struct FeedbackRow {
    /// Names the feedback within its trace.
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    /// The trace that it is about.
    pub trace_id: String,
    /// The column as it is; see [`row_version`](Self::row_version).
    pub version: u64,
    /// 1 where this version hides the feedback.
    pub is_deleted: u8,
    /// The kind of thing within the trace.
    #[serde(deserialize_with = "enums::read_target_kind")]
    pub target_kind: TargetKind,
    /// That thing's id.
    pub target_id: String,
    /// What is measured.
    pub metric: String,
    /// What was said, as JSON.
    pub value: String,
    /// What was said, as a number.
    pub score: Option<f64>,
    /// How much it counts, 0 to 1.
    pub weight: f64,
    /// Free text.
    pub comment: String,
    /// What the answer should have been, as JSON.
    pub correction: String,
    /// Tags, by key.
    pub tags: Vec<(String, String)>,
    /// Anything else, as JSON.
    pub metadata: String,
    /// Who said it.
    pub rater: String,
    /// The kind of source.
    pub source_kind: String,
    /// More about the source, as JSON.
    pub source_info: String,
    /// The run that is the source.
    pub source_run_id: String,
    /// The group.
    pub group_id: String,
    /// The experiment.
    pub experiment_id: String,
    /// The session.
    pub session_id: String,
    /// When it was made.
    pub created_at: Micros,
    /// When it was received.
    pub received_at: Micros,
    /// The API that it came by.
    #[serde(deserialize_with = "enums::read_dialect")]
    pub dialect: Dialect,
    /// The topic of its record.
    pub topic: String,
    /// The partition of its record.
    pub partition: i32,
    /// The offset of its record.
    pub offset: i64,
}

/// What [`FeedbackRow`] is read from, of a table or subquery named `f`: columns as they
/// are, for each expression costs the server more than a row's worth of reading.
pub(super) const COLUMNS: &str = "f.id, f.trace_id, f.version, f.is_deleted, f.target_kind, f.target_id, f.metric, f.value,
    f.score, f.weight, f.comment, f.correction, f.tags, f.metadata, f.rater, f.source_kind, f.source_info,
    f.source_run_id, f.group_id, f.experiment_id, f.session_id, f.created_at, f.received_at, f.dialect,
    f.topic, f.partition, f.offset";

/// The weighted mean and what it is of, over rows of `score` and `weight`.
pub(super) const MEANS: &str = "avg(score) AS mean,
    sum(score * weight) / nullIf(sumIf(weight, isNotNull(score)), 0) AS weighted_mean,
    sumIf(weight, isNotNull(score)) AS weight_sum";

/// What `feedback_current` holds of a project, as `f`, that meets `more` conditions: they
/// stand before the retractions, which are looked for in the rows that are left.
pub(super) fn current_of(project: &str, more: Sql) -> Sql {
    let table = " FROM {db}.feedback AS f FINAL PREWHERE f.project = ? WHERE f.is_deleted = 0";
    Sql::default()
        .with(table, [project.into()])
        .append(more)
        .with(
            " AND f.id NOT IN (SELECT id FROM {db}.changes WHERE project = ? AND kind = 'retract')",
            [project.into()],
        )
}

impl FeedbackRow {
    /// The version, which says when it was said and how often it was changed.
    pub fn row_version(&self) -> RowVersion {
        RowVersion::from_column(self.version)
    }
}

impl Reader {
    /// The feedback with this id; where several traces have one, the latest.
    ///
    /// # Errors
    /// [`ReadError`] says what to do about it.
    pub async fn feedback(
        &self,
        project: &str,
        id: Uuid,
    ) -> Result<Option<FeedbackRow>, ReadError> {
        // The sort key is asked for in PREWHERE: all versions of a feedback
        // share it, so nothing is hidden from FINAL.
        let sql = Sql::new("SELECT ")
            .then(COLUMNS)
            .with(
                " FROM {db}.feedback AS f FINAL
                PREWHERE f.project = ? AND f.id = ? AND f.trace_id IN (
                    SELECT trace_id FROM {db}.feedback WHERE project = ? AND id = ?)
                WHERE f.is_deleted = 0",
                [project.into(), id.into(), project.into(), id.into()],
            )
            .with(
                " AND f.id NOT IN (
                    SELECT id FROM {db}.changes WHERE project = ? AND id = ? AND kind = 'retract')
                ORDER BY f.version DESC LIMIT 1",
                [project.into(), id.into()],
            );
        Ok(self.fetch_few(sql).await?.pop())
    }
}
