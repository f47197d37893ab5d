//! Everything on a trace, and what it amounts to.
//!
//! It is what is asked for most, and nearly always a few rows: they are read once,
//! and counted here.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;
use uuid::Uuid;

use super::feedback::{COLUMNS, FeedbackRow, MEANS};
use super::sql::{Sql, Value};
use super::{Filter, Page, Position, ReadError, Reader};

/// What one metric's feedback on one trace amounts to.
#[derive(Clone, Debug, Deserialize, PartialEq, Row)]
pub struct TraceMetric {
    /// The metric.
    pub metric: String,
    /// How many feedbacks.
    pub count: u64,
    /// The mean of their scores; `None` when none has one.
    pub mean: Option<f64>,
    /// Σ score·weight / Σ weight over those with a score; `None` when that has
    /// no value.
    pub weighted_mean: Option<f64>,
    /// Σ weight over those with a score.
    pub weight: f64,
}

/// The most rows of a trace that are counted here.
const MAX_WHOLE: usize = 1000;

impl Reader {
    /// A page of what was said of a trace, newest first, below `after`; and what all
    /// of it amounts to, by name of metric, of at most 1000 metrics.
    ///
    /// # Errors
    /// [`ReadError`] says what to do about it.
    pub async fn trace(
        &self,
        project: &str,
        trace_id: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Page, Vec<TraceMetric>), ReadError> {
        if after.is_none()
            && let Some(items) = self
                .whole_trace(project, trace_id, limit.min(MAX_WHOLE))
                .await?
        {
            let metrics = amounts(&items);
            return Ok((Page { items, next: None }, metrics));
        }
        let filter = Filter {
            trace_id: Some(trace_id.to_owned()),
            ..Filter::default()
        };
        tokio::try_join!(
            self.list(project, &filter, after, limit),
            self.trace_metrics(project, trace_id),
        )
    }

    /// All that is current on a trace, unless there are more than `max` versions.
    ///
    /// Without FINAL, whose plan costs more than the old versions that there may be of
    /// a few rows; and no projection is looked through, for none is in a trace's order.
    async fn whole_trace(
        &self,
        project: &str,
        trace_id: &str,
        max: usize,
    ) -> Result<Option<Vec<FeedbackRow>>, ReadError> {
        let sql = Sql::new("SELECT ")
            .then(COLUMNS)
            .with(
                " FROM {db}.feedback AS f PREWHERE f.project = ? AND f.trace_id = ?",
                [project.into(), trace_id.into()],
            )
            .then(&format!(" LIMIT {}", max + 1));
        // Of several shards the one that has the trace.
        let of_trace = self
            .few(sql)
            .with_setting("optimize_skip_unused_shards", "1")
            .with_setting("optimize_use_projections", "0")
            .with_setting("use_skip_indexes_on_data_read", "0");
        let mut rows = match self.answer::<FeedbackRow>(of_trace).await {
            Ok(versions) if versions.len() <= max => latest(versions),
            // What the latest versions alone come to is not known.
            Ok(_) | Err(ReadError::TooLarge(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if rows.is_empty() {
            return Ok(Some(rows));
        }
        // After the rows: what was retracted before they were asked for is known.
        let ids = rows.iter().map(|row| row.id.to_string()).collect();
        let sql = Sql::default().with(
            "SELECT id FROM {db}.changes PREWHERE project = ? AND id IN ? WHERE kind = 'retract'",
            [project.into(), Value::Texts(ids)],
        );
        let retracted: Vec<Retracted> = self.fetch_few(sql).await?;
        rows.retain(|row| retracted.iter().all(|retracted| retracted.id != row.id));
        // Here, where it costs less than the server's plan for it.
        rows.sort_unstable_by_key(|row| Reverse((row.received_at, in_order(row.id))));
        Ok(Some(rows))
    }

    /// What the feedback on a trace amounts to, metric by metric, by name.
    ///
    /// At most the 1000 metrics of which there is most.
    async fn trace_metrics(
        &self,
        project: &str,
        trace_id: &str,
    ) -> Result<Vec<TraceMetric>, ReadError> {
        let sql = Sql::new(
            "SELECT metric, count, mean, weighted_mean, weight_sum AS weight FROM (
                SELECT metric, count() AS count, ",
        )
        .then(MEANS)
        .with(
            " FROM {db}.feedback FINAL PREWHERE project = ? AND trace_id = ? WHERE is_deleted = 0",
            [project.into(), trace_id.into()],
        )
        .then(" AND ")
        .append(not_retracted_on_trace("id", project, trace_id))
        .then(" GROUP BY metric ORDER BY count DESC, metric LIMIT 1000) ORDER BY metric");
        self.fetch(sql).await
    }
}

#[derive(Deserialize, Row)]
struct Retracted {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
}

/// Of each feedback the latest version, unless that hides it: what FINAL would leave.
/// Of two with one version the later record's; a put that is sent again has the first
/// one's version, where its id is of an `Idempotency-Key` or its time the client's.
fn latest(mut versions: Vec<FeedbackRow>) -> Vec<FeedbackRow> {
    versions.sort_unstable_by_key(|row| Reverse((row.id, row.version, row.offset)));
    versions.dedup_by_key(|row| row.id);
    versions.retain(|row| row.is_deleted == 0);
    versions
}

/// The server's order of UUIDs, which is by their second half.
fn in_order(id: Uuid) -> (u64, u64) {
    let (first, second) = id.as_u64_pair();
    (second, first)
}

/// What the server says of more rows.
fn amounts(rows: &[FeedbackRow]) -> Vec<TraceMetric> {
    let mut metrics: BTreeMap<&str, Vec<&FeedbackRow>> = BTreeMap::new();
    for row in rows {
        metrics.entry(&row.metric).or_default().push(row);
    }
    let amount = |(metric, rows): (&str, Vec<&FeedbackRow>)| {
        let scored = || rows.iter().filter_map(|row| Some((row.score?, row.weight)));
        let weight: f64 = scored().map(|(_, weight)| weight).sum();
        let sum: f64 = scored().map(|(score, _)| score).sum();
        let weighted: f64 = scored().map(|(score, weight)| score * weight).sum();
        // At most MAX_WHOLE.
        let number: f64 = scored().map(|_| 1.0).sum();
        TraceMetric {
            metric: metric.to_owned(),
            count: rows.iter().map(|_| 1).sum(),
            mean: (number > 0.0).then(|| sum / number),
            weighted_mean: (weight > 0.0).then(|| weighted / weight),
            weight,
        }
    };
    metrics.into_iter().map(amount).collect()
}

/// That a feedback of a trace has no retraction; looks at the trace's ids only.
pub(super) fn not_retracted_on_trace(id: &str, project: &str, trace_id: &str) -> Sql {
    Sql::new(id).with(
        " NOT IN (SELECT id FROM {db}.changes WHERE project = ? AND kind = 'retract' AND id IN (
            SELECT id FROM {db}.feedback WHERE project = ? AND trace_id = ?))",
        [project.into(), project.into(), trace_id.into()],
    )
}

#[cfg(test)]
mod tests {
    use plaudit_event::{Dialect, Micros, TargetKind};

    use super::*;

    fn row(id: u128, version: u64, offset: i64, is_deleted: u8) -> FeedbackRow {
        FeedbackRow {
            id: Uuid::from_u128(id),
            trace_id: "t".to_owned(),
            version,
            is_deleted,
            target_kind: TargetKind::Trace,
            target_id: String::new(),
            metric: "m".to_owned(),
            value: String::new(),
            score: None,
            weight: 1.0,
            comment: String::new(),
            correction: String::new(),
            tags: Vec::new(),
            metadata: String::new(),
            rater: String::new(),
            source_kind: String::new(),
            source_info: String::new(),
            source_run_id: String::new(),
            group_id: String::new(),
            experiment_id: String::new(),
            session_id: String::new(),
            created_at: Micros(0),
            received_at: Micros(0),
            dialect: Dialect::Native,
            topic: "t".to_owned(),
            partition: 0,
            offset,
        }
    }

    #[test]
    fn p4_the_latest_version_is_left_unless_it_hides() {
        let versions = vec![
            row(1, 7, 0, 0),
            row(1, 8, 3, 0),
            row(2, 9, 1, 0),
            row(2, u64::MAX, 4, 1),
            row(3, 5, 2, 1),
            row(3, 6, 5, 0),
            row(4, 0, 6, 0),
            row(4, 0, 7, 0),
            row(4, 0, 7, 0),
        ];
        let reversed = versions.iter().rev().cloned().collect();
        for versions in [versions, reversed] {
            let mut left: Vec<_> = latest(versions).iter().map(|row| row.offset).collect();
            left.sort_unstable();
            assert_eq!(left, [3, 5, 7]);
        }
    }
}
