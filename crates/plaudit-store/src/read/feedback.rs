//! Feedback as it is returned, and the read that knows which it is.

use clickhouse::Row;
use plaudit_event::{Micros, RowVersion};
use serde::Deserialize;
use uuid::Uuid;

use super::sql::Sql;
use super::{ReadError, Reader};

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
    /// The kind of thing within the trace.
    pub target: String,
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
    pub tag_pairs: Vec<(String, String)>,
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
    /// When it was made, in microseconds.
    pub created_us: i64,
    /// When it was received, in microseconds.
    pub received_us: i64,
    /// The API that it came by.
    pub came_by: String,
    /// The topic of its record.
    pub topic: String,
    /// The partition of its record.
    pub partition: i32,
    /// The offset of its record.
    pub offset: i64,
}

/// What [`FeedbackRow`] is read from, of a table or subquery named `f`. No name
/// here is a column's with another type: ClickHouse would take the alias for the
/// column in every condition.
pub(super) const COLUMNS: &str = "f.id AS id, f.trace_id AS trace_id, f.version AS version,
    toString(f.target_kind) AS target, f.target_id AS target_id, f.metric AS metric, f.value AS value,
    f.score AS score, f.weight AS weight, f.comment AS comment, f.correction AS correction,
    CAST(f.tags, 'Array(Tuple(String, String))') AS tag_pairs, f.metadata AS metadata, f.rater AS rater,
    f.source_kind AS source_kind, f.source_info AS source_info, f.source_run_id AS source_run_id,
    f.group_id AS group_id, f.experiment_id AS experiment_id, f.session_id AS session_id,
    toUnixTimestamp64Micro(f.created_at) AS created_us,
    toUnixTimestamp64Micro(f.received_at) AS received_us,
    toString(f.dialect) AS came_by, f.topic AS topic, f.partition AS partition, f.offset AS offset";

/// The weighted mean and what it is of, over rows of `score` and `weight`.
pub(super) const MEANS: &str = "avg(score) AS mean,
    sum(score * weight) / nullIf(sumIf(weight, isNotNull(score)), 0) AS weighted_mean,
    sumIf(weight, isNotNull(score)) AS weight_sum";

impl FeedbackRow {
    /// The version, which says when it was said and how often it was changed.
    pub fn row_version(&self) -> RowVersion {
        RowVersion::from_column(self.version)
    }

    /// When it was received.
    pub fn received_at(&self) -> Micros {
        Micros(self.received_us)
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
