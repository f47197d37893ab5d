//! Feedback by what it says, newest first, a page at a time.
//!
//! A page is made in two steps. *Candidates* are rows of whichever table has
//! the filter in its key, or of `feedback` where none has; they are read as they
//! lie there, old versions and all, in the order of the page. Then they are
//! *checked*: the current version of each is read by its key, and the candidate
//! counts if that version stands at the same place and matches the filter. Each
//! current feedback has one place and a row there, so it is found exactly once.

use std::collections::{HashMap, HashSet};

use clickhouse::Row;
use plaudit_event::{Dialect, Micros, TargetKind};
use serde::Deserialize;
use uuid::Uuid;

use super::feedback::{COLUMNS, FeedbackRow, not_retracted_on_trace};
use super::sql::{Sql, Value};
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
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// When it was received.
    pub received_at: Micros,
    /// Its trace.
    pub trace_id: String,
    /// Its id.
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

/// The table that candidates come from.
#[derive(Clone, Copy, Debug)]
enum Access<'f> {
    /// `feedback`: the whole filter is asked of its rows.
    Scan,
    /// `feedback_by_metric`.
    Metric(&'f str),
    /// `feedback_by_tag`.
    Tag(&'f str, &'f str),
}

#[derive(Deserialize, Row)]
struct Candidate {
    received_us: i64,
    trace_id: String,
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
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
        let access = self.access(project, filter).await?;
        let mut items = Vec::new();
        // Most candidates count: a few more than are wanted end it in one round.
        let mut batch = (wanted + wanted / 4 + 8).min(MAX_CANDIDATES);
        loop {
            let candidates = self
                .candidates(project, access, filter, after.as_ref(), batch)
                .await?;
            let exhausted = candidates.len() < batch;
            let candidates = distinct(candidates);
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

    /// Chooses where candidates come from: the shortest of the lists that a
    /// metric and tags have, unless there is a condition that only rows of
    /// `feedback` can answer.
    async fn access<'f>(&self, project: &str, filter: &'f Filter) -> Result<Access<'f>, ReadError> {
        let metric = filter.metric.as_deref().map(Access::Metric);
        let tags = filter.tags.iter().map(|(key, text)| Access::Tag(key, text));
        let lists: Vec<Access<'f>> = metric.into_iter().chain(tags).collect();
        match *lists.as_slice() {
            _ if filter.needs_rows() => return Ok(Access::Scan),
            [] => return Ok(Access::Scan),
            [only] => return Ok(only),
            _ => {}
        }
        let counts = lists.iter().zip(0_i64..).map(|(list, index)| {
            Sql::default()
                .with(
                    "SELECT CAST(?, 'Int64') AS list, count() AS entries FROM ",
                    [index.into()],
                )
                .append(list.rows_of(project))
        });
        let counts = counts
            .reduce(|all, one| all.then(" UNION ALL ").append(one))
            .unwrap_or_default();
        let sql = Sql::new("SELECT list FROM (")
            .append(counts)
            .then(") ORDER BY entries, list LIMIT 1");
        let shortest: Option<i64> = self.fetch(sql).await?.pop();
        let chosen = shortest.and_then(|index| usize::try_from(index).ok());
        Ok(chosen
            .and_then(|index| lists.get(index))
            .copied()
            .unwrap_or(Access::Scan))
    }

    async fn candidates(
        &self,
        project: &str,
        access: Access<'_>,
        filter: &Filter,
        after: Option<&Position>,
        batch: usize,
    ) -> Result<Vec<Candidate>, ReadError> {
        let sql = Sql::new("SELECT toUnixTimestamp64Micro(f.received_at) AS received_us, f.trace_id AS trace_id, f.id AS id FROM ")
            .append(access.rows_of(project))
            .append(match access {
                Access::Scan => filter.on_rows(),
                Access::Metric(_) | Access::Tag(..) => filter.on_entries(),
            })
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
    /// Whether only a row of `feedback` can tell.
    fn needs_rows(&self) -> bool {
        self.dialect.is_some()
            || self.rater.is_some()
            || self.target.is_some()
            || self.session_id.is_some()
            || self.experiment_id.is_some()
            || self.group_id.is_some()
    }

    /// Conditions on the rows of `feedback`; the trace is the caller's.
    fn on_rows(&self) -> Sql {
        let mut sql = Sql::new(" AND f.is_deleted = 0").append(self.on_entries());
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
        for (key, text) in &self.tags {
            let (key, text) = (key.as_str(), text.as_str());
            sql = sql.with(
                " AND mapContains(f.tags, ?) AND f.tags[?] = ?",
                [key.into(), key.into(), text.into()],
            );
        }
        sql
    }

    /// Conditions on what every table of feedback has.
    fn on_entries(&self) -> Sql {
        between(self.from, self.to)
    }
}

// === impl Access ===

impl Access<'_> {
    /// The table and the prefix of its key.
    fn rows_of(self, project: &str) -> Sql {
        match self {
            Self::Scan => {
                Sql::default().with("{db}.feedback AS f WHERE f.project = ?", [project.into()])
            }
            Self::Metric(metric) => Sql::default().with(
                "{db}.feedback_by_metric AS f WHERE f.project = ? AND f.metric = ?",
                [project.into(), metric.into()],
            ),
            Self::Tag(key, text) => Sql::default().with(
                "{db}.feedback_by_tag AS f WHERE f.project = ? AND f.tag = ? AND f.text = ?",
                [project.into(), key.into(), text.into()],
            ),
        }
    }
}

// === impl FeedbackRow ===

impl FeedbackRow {
    /// The place in a list.
    pub fn position(&self) -> Position {
        Position {
            received_at: self.received_at(),
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

/// The places of candidates, in order. Versions of a feedback that stand at one
/// place are neighbours.
fn distinct(candidates: Vec<Candidate>) -> Vec<Position> {
    let mut places: Vec<Position> = candidates
        .into_iter()
        .map(|row| Position {
            received_at: Micros(row.received_us),
            trace_id: row.trace_id,
            id: row.id,
        })
        .collect();
    places.dedup();
    places
}
