//! Feedback by conditions that no table is ordered by, a page by its offset: the
//! lists of the vendors' APIs.

use plaudit_event::{Feedback, Json, Micros, Search, Source, Target, Value as Said};

use uuid::Uuid;

use super::feedback::{COLUMNS, current_of};
use super::sql::{Sql, Value};
use super::{FeedbackRow, ReadError, Reader};

impl Reader {
    /// At most `max` of the feedbacks that match, newest first.
    ///
    /// # Errors
    /// [`ReadError`] says what to do about it.
    pub async fn search(
        &self,
        project: &str,
        search: &Search,
        max: u64,
    ) -> Result<Vec<FeedbackRow>, ReadError> {
        if let Some(id) = search.id {
            let found = if search.withdrawn {
                self.latest(project, id).await?
            } else {
                self.feedback(project, id).await?
            };
            let is_ours =
                |row: &FeedbackRow| search.dialect.is_none_or(|dialect| dialect == row.dialect);
            return Ok(found.into_iter().filter(is_ours).collect());
        }
        let sql = Sql::new("SELECT ")
            .then(COLUMNS)
            .append(current_of(project, conditions(search)))
            .then(" ORDER BY f.received_at DESC, f.trace_id DESC, f.id DESC LIMIT ")
            .then(&format!("{}, {}", search.offset, search.limit.min(max)));
        self.fetch(sql).await
    }
}

impl Reader {
    /// The feedback with this id, also one that is withdrawn.
    async fn latest(&self, project: &str, id: Uuid) -> Result<Option<FeedbackRow>, ReadError> {
        // Not FINAL, which leaves out what is withdrawn.
        let sql = Sql::new("SELECT ")
            .then(COLUMNS)
            .with(
                " FROM {db}.feedback AS f WHERE f.project = ? AND f.id = ? AND f.trace_id IN (
                    SELECT trace_id FROM {db}.feedback WHERE project = ? AND id = ?)",
                [project.into(), id.into(), project.into(), id.into()],
            )
            .with(
                " AND f.id NOT IN (
                    SELECT id FROM {db}.changes WHERE project = ? AND id = ? AND kind = 'retract')
                ORDER BY f.version DESC LIMIT 1",
                [project.into(), id.into()],
            );
        Ok(self.fetch(sql).await?.pop())
    }
}

fn conditions(search: &Search) -> Sql {
    let kinds = search
        .target_kinds
        .iter()
        .map(|kind| kind.name().to_owned());
    let kinds: Vec<String> = kinds.collect();
    let mut sql = Sql::default();
    for (condition, texts) in [
        (" AND f.target_id IN ?", &search.target_ids),
        (" AND toString(f.target_kind) IN ?", &kinds),
        (" AND f.metric IN ?", &search.metrics),
        (" AND f.source_kind IN ?", &search.source_kinds),
        (" AND f.rater IN ?", &search.raters),
    ] {
        if !texts.is_empty() {
            sql = sql.with(condition, [Value::Texts(texts.clone())]);
        }
    }
    for (condition, text) in [
        (
            " AND f.dialect = ?",
            search.dialect.map(plaudit_event::Dialect::name),
        ),
        (" AND f.session_id = ?", search.session_id.as_deref()),
        (" AND f.experiment_id = ?", search.experiment_id.as_deref()),
    ] {
        if let Some(text) = text {
            sql = sql.with(condition, [text.into()]);
        }
    }
    for (key, text) in &search.tags {
        let (key, text) = (key.as_str(), text.as_str());
        sql = sql.with(
            " AND mapContains(f.tags, ?) AND f.tags[?] = ?",
            [key.into(), key.into(), text.into()],
        );
    }
    for (key, json) in &search.metadata {
        sql = sql.with(
            " AND JSONExtractRaw(f.metadata, ?) = ?",
            [key.as_str().into(), json.as_str().into()],
        );
    }
    for (condition, wanted) in [
        (" AND isNotNull(f.score) = ?", search.has_score),
        (" AND notEmpty(f.comment) = ?", search.has_comment),
    ] {
        if let Some(wanted) = wanted {
            sql = sql.with(condition, [i64::from(wanted).into()]);
        }
    }
    for (condition, time) in [
        (
            " AND f.created_at >= fromUnixTimestamp64Micro(?)",
            search.created_from,
        ),
        (
            " AND f.created_at <= fromUnixTimestamp64Micro(?)",
            search.created_to,
        ),
    ] {
        if let Some(Micros(time)) = time {
            sql = sql.with(condition, [time.into()]);
        }
    }
    sql
}

impl FeedbackRow {
    /// The feedback that the row is about.
    pub fn feedback(&self) -> Feedback<'_> {
        let json = |text| Json::parse(text).ok();
        let text = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned().into());
        let mut feedback = Feedback::new(self.id, self.trace_id.as_str(), self.metric.as_str());
        feedback.target = Some(Target {
            kind: self.target_kind,
            id: self.target_id.as_str().into(),
        });
        feedback.value = json(self.value.as_str()).and_then(Said::from_json);
        feedback.score = self.score;
        feedback.weight = self.weight;
        feedback.comment = text(&self.comment);
        feedback.correction = json(self.correction.as_str());
        for (key, text) in &self.tags {
            feedback.tags.insert(key.as_str(), text.as_str());
        }
        feedback.metadata = json(self.metadata.as_str());
        feedback.rater = text(&self.rater);
        feedback.source = Some(Source {
            kind: self.source_kind.as_str().into(),
            info: json(self.source_info.as_str()),
            run_id: text(&self.source_run_id),
        });
        feedback.group_id = text(&self.group_id);
        feedback.experiment_id = text(&self.experiment_id);
        feedback.session_id = text(&self.session_id);
        feedback.created_at = Some(self.created_at);
        feedback
    }
}
