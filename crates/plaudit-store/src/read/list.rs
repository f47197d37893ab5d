//! Feedback by what it says, newest first, a page at a time.
//!
//! A page is made in two steps. *Candidates* are rows that match, old versions and
//! all, in the order of the page: the server finds them by metric, by tag or one by
//! one, whichever is least. Then they are *checked*: the current version of each is
//! read by its key, and the candidate counts if that version stands at the same
//! place and matches the filter. Each current feedback has one place and a row
//! there, so it is found exactly once.

use std::collections::{HashMap, HashSet};

use clickhouse::Row;
use plaudit_event::{Dialect, Micros, TargetKind};
use serde::Deserialize;
use uuid::Uuid;

use super::feedback::{COLUMNS, FeedbackRow};
use super::sql::{Sql, Value};
use super::trace::not_retracted_on_trace;
use super::{ReadError, Reader};

/// Which feedback is listed: what matches all that is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// On this trace.
    pub trace_id: Option<String>,
    /// By this metric.
    pub metric: Option<String>,
    /// By this API.
    pub dialect: Option<Dialect>,
    /// From this rater.
    pub rater: Option<String>,
    /// About this thing.
    pub target: Option<TargetFilter>,
    /// In this session.
    pub session_id: Option<String>,
    /// In this experiment.
    pub experiment_id: Option<String>,
    /// In this group.
    pub group_id: Option<String>,
    /// With each of these tags.
    pub tags: Vec<(String, String)>,
    /// Received at this time or later.
    pub from: Option<Micros>,
    /// Received before this time.
    pub to: Option<Micros>,
}

/// A thing that feedback is about.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetFilter {
    /// Its kind; `None` is any.
    pub kind: Option<TargetKind>,
    /// Its id.
    pub id: String,
}

/// The place of a feedback in a list: later pages are below it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Row)]
pub struct Position {
    /// When it was received.
    pub received_at: Micros,
    /// Its trace.
    pub trace_id: String,
    /// Its id.
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
}

/// Some feedback of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Newest first.
    pub items: Vec<FeedbackRow>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<Position>,
}

/// The order of a list. How ids compare is ClickHouse's business alone.
const NEWEST_FIRST: &str = " ORDER BY f.received_at DESC, f.trace_id DESC, f.id DESC";

/// The most candidates that are checked at once.
const MAX_CANDIDATES: usize = 8192;

impl Reader {
    /// A page of at most `limit` feedbacks that match `filter`, below `after`.
    ///
    /// A page shorter than `limit` is the last.
    ///
    /// # Errors
    /// [`ReadError`] says what to do about it.
    pub async fn list(
        &self,
        project: &str,
        filter: &Filter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page, ReadError> {
        // One more than asked for tells whether there is another page.
        let wanted = limit + 1;
        let mut items = match &filter.trace_id {
            Some(trace_id) => {
                self.list_trace(project, trace_id, filter, after.as_ref(), wanted)
                    .await?
            }
            None => self.list_checked(project, filter, after, wanted).await?,
        };
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(FeedbackRow::position);
        Ok(Page { items, next })
    }

    /// A trace is read whole by its key, so there is nothing to check.
    async fn list_trace(
        &self,
        project: &str,
        trace_id: &str,
        filter: &Filter,
        after: Option<&Position>,
        wanted: usize,
    ) -> Result<Vec<FeedbackRow>, ReadError> {
        let sql = Sql::new("SELECT ")
            .then(COLUMNS)
            .with(
                " FROM {db}.feedback AS f FINAL PREWHERE f.project = ? AND f.trace_id = ? WHERE ",
                [project.into(), trace_id.into()],
            )
            .append(not_retracted_on_trace("f.id", project, trace_id))
            .append(filter.on_rows())
            .append(below(after))
            .then(NEWEST_FIRST)
            .append(limit(wanted));
        self.fetch(sql).await
    }

    async fn list_checked(
        &self,
        project: &str,
        filter: &Filter,
        mut after: Option<Position>,
        wanted: usize,
    ) -> Result<Vec<FeedbackRow>, ReadError> {
        let mut items = Vec::new();
        // Most candidates count: a few more than are wanted end it in one round.
        let mut batch = (wanted + wanted / 4 + 8).min(MAX_CANDIDATES);
        loop {
            let mut candidates = self
                .candidates(project, filter, after.as_ref(), batch)
                .await?;
            let exhausted = candidates.len() < batch;
            // Versions of a feedback that stand at one place are neighbours.
            candidates.dedup();
            let mut current = self.current(project, filter, &candidates).await?;
            after = candidates.last().cloned();
            items.extend(candidates.iter().filter_map(|place| current.remove(place)));
            if exhausted || items.len() >= wanted {
                items.truncate(wanted);
                return Ok(items);
            }
            batch = (batch * 4).min(MAX_CANDIDATES);
        }
    }

    async fn candidates(
        &self,
        project: &str,
        filter: &Filter,
        after: Option<&Position>,
        batch: usize,
    ) -> Result<Vec<Position>, ReadError> {
        let sql = Sql::new("SELECT f.received_at, f.trace_id, f.id")
            .with(
                " FROM {db}.feedback AS f WHERE f.project = ?",
                [project.into()],
            )
            .append(filter.on_columns())
            .append(filter.on_tags_by_index())
            .append(below(after))
            .then(NEWEST_FIRST)
            .append(limit(batch));
        self.fetch(sql).await
    }

    /// The current versions of `candidates` that match, by their places.
    async fn current(
        &self,
        project: &str,
        filter: &Filter,
        candidates: &[Position],
    ) -> Result<HashMap<Position, FeedbackRow>, ReadError> {
        if candidates.is_empty() {
            return Ok(HashMap::new());
        }
        let traces: HashSet<&str> = candidates
            .iter()
            .map(|place| place.trace_id.as_str())
            .collect();
        let traces: Vec<String> = traces.into_iter().map(str::to_owned).collect();
        let ids: HashSet<Uuid> = candidates.iter().map(|place| place.id).collect();
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        // Two sets find a few rows more than pairs would, which have no place
        // among the candidates, in half the time.
        let sql = Sql::new("SELECT ")
            .then(COLUMNS)
            .with(
                " FROM {db}.feedback AS f FINAL PREWHERE f.project = ? AND f.trace_id IN ? AND f.id IN ?",
                [project.into(), Value::Texts(traces), Value::Texts(ids.clone())],
            )
            .with(
                " WHERE f.id NOT IN (
                    SELECT id FROM {db}.changes WHERE project = ? AND kind = 'retract' AND id IN ?)",
                [project.into(), Value::Texts(ids)],
            )
            .append(filter.on_rows());
        let rows: Vec<FeedbackRow> = self.fetch(sql).await?;
        Ok(rows.into_iter().map(|row| (row.position(), row)).collect())
    }
}

// === impl Filter ===

impl Filter {
    /// All conditions but that on the trace, which is the caller's.
    fn on_rows(&self) -> Sql {
        self.on_columns().append(self.on_tags())
    }

    fn on_columns(&self) -> Sql {
        let mut sql = Sql::new(" AND f.is_deleted = 0").append(between(self.from, self.to));
        for (condition, text) in [
            (" AND f.metric = ?", self.metric.as_deref()),
            (" AND f.dialect = ?", self.dialect.map(Dialect::name)),
            (" AND f.rater = ?", self.rater.as_deref()),
            (" AND f.session_id = ?", self.session_id.as_deref()),
            (" AND f.experiment_id = ?", self.experiment_id.as_deref()),
            (" AND f.group_id = ?", self.group_id.as_deref()),
        ] {
            if let Some(text) = text {
                sql = sql.with(condition, [text.into()]);
            }
        }
        if let Some(target) = &self.target {
            sql = sql.with(" AND f.target_id = ?", [target.id.as_str().into()]);
            if let Some(kind) = target.kind {
                sql = sql.with(" AND f.target_kind = ?", [kind.name().into()]);
            }
        }
        sql
    }

    fn on_tags(&self) -> Sql {
        let tags = self.tags.iter();
        tags.fold(Sql::default(), |sql, (key, text)| {
            let (key, text) = (key.as_str(), text.as_str());
            sql.with(
                " AND mapContains(f.tags, ?) AND f.tags[?] = ?",
                [key.into(), key.into(), text.into()],
            )
        })
    }

    /// The same as the index `by_tag` has it, which need not read the tags: `a=b` of
    /// `c` is there as `a` of `b=c` is.
    fn on_tags_by_index(&self) -> Sql {
        let tags = self.tags.iter();
        tags.fold(Sql::default(), |sql, (key, text)| {
            sql.with(
                " AND has(arrayMap((key, text) -> concat(key, '=', text), mapKeys(f.tags), mapValues(f.tags)), ?)",
                [format!("{key}={text}").as_str().into()],
            )
        })
    }
}

// === impl FeedbackRow ===

impl FeedbackRow {
    /// The place in a list.
    pub fn position(&self) -> Position {
        Position {
            received_at: self.received_at,
            trace_id: self.trace_id.clone(),
            id: self.id,
        }
    }
}

/// Received within `from..to`.
pub(super) fn between(from: Option<Micros>, to: Option<Micros>) -> Sql {
    let mut sql = Sql::default();
    if let Some(Micros(from)) = from {
        sql = sql.with(
            " AND f.received_at >= fromUnixTimestamp64Micro(?)",
            [from.into()],
        );
    }
    if let Some(Micros(to)) = to {
        sql = sql.with(
            " AND f.received_at < fromUnixTimestamp64Micro(?)",
            [to.into()],
        );
    }
    sql
}

/// After `after` in the order of the list. The first condition says nothing
/// more, but there is an index for it.
fn below(after: Option<&Position>) -> Sql {
    let Some(Position {
        received_at: Micros(received_us),
        trace_id,
        id,
    }) = after
    else {
        return Sql::default();
    };
    Sql::default().with(
        " AND f.received_at <= fromUnixTimestamp64Micro(?)
        AND (f.received_at, f.trace_id, f.id) < (fromUnixTimestamp64Micro(?), ?, toUUID(?))",
        [
            (*received_us).into(),
            (*received_us).into(),
            trace_id.as_str().into(),
            (*id).into(),
        ],
    )
}

fn limit(rows: usize) -> Sql {
    Sql::new(" LIMIT ").then(&rows.to_string())
}
