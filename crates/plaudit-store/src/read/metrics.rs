//! Metrics: which there are, and what was said by one.

use clickhouse::Row;
use plaudit_event::Micros;
use serde::Deserialize;

use super::feedback::{MEANS, current_of};
use super::list::between;
use super::sql::Sql;
use super::{ReadError, Reader};

/// The metrics of a project, those with most feedback first.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricCounts {
    /// At most [`Reader::MAX_METRICS`].
    pub metrics: Vec<MetricCount>,
    /// Whether there are more.
    pub truncated: bool,
}

/// How much feedback one metric has.
#[derive(Clone, Debug, Deserialize, PartialEq, Row)]
pub struct MetricCount {
    /// The metric.
    pub metric: String,
    /// How many feedbacks.
    pub count: u64,
    /// The mean score.
    pub mean: Option<f64>,
    /// Σ score·weight / Σ weight.
    pub weighted_mean: Option<f64>,
    /// When the last one was received, in microseconds.
    pub last_us: i64,
}

/// What was said by one metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricSummary {
    /// All of it.
    pub all: Numbers,
    /// Of all that has a score; empty when nothing has.
    pub quantiles: Vec<Quantile>,
    /// The values given most often, at most [`Reader::MAX_VALUES`].
    pub values: Vec<ValueCount>,
    /// How many gave another value: beyond those, a JSON document, or a text
    /// of more than 256 bytes.
    pub other_values: u64,
    /// How many gave none, but a comment or a correction.
    pub without_value: u64,
    /// By the text of the tag that was asked for, most first; at most
    /// [`Reader::MAX_GROUPS`].
    pub groups: Vec<Group>,
    /// Whether there are more groups.
    pub groups_truncated: bool,
}

/// Numbers about some feedback.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// How many feedbacks.
    pub count: u64,
    /// How many of them have a score.
    pub scored: u64,
    /// The mean score.
    pub mean: Option<f64>,
    /// Σ score·weight / Σ weight.
    pub weighted_mean: Option<f64>,
    /// Σ weight, of those with a score.
    pub weight: f64,
    /// The lowest score.
    pub min: Option<f64>,
    /// The highest.
    pub max: Option<f64>,
}

/// A score that a share of the scores does not exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// The share, 0 to 1.
    pub level: f64,
    /// The score.
    pub score: f64,
}

/// How often a value was given.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueCount {
    /// The value as JSON, spelled as it was sent: `1` and `1.0` are two.
    pub value: String,
    /// How often.
    pub count: u64,
}

/// The feedback that has one text for a tag.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The text; `None` is the feedback without the tag.
    pub text: Option<String>,
    /// What was said.
    pub numbers: Numbers,
}

/// One row of the grouping sets: all (3), by value (1) or by tag (2).
#[derive(Deserialize, Row)]
struct SummaryRow {
    set: u64,
    spelled: String,
    tagged: u8,
    text: String,
    count: u64,
    scored: u64,
    mean: Option<f64>,
    weighted_mean: Option<f64>,
    weight_sum: f64,
    lowest: Option<f64>,
    highest: Option<f64>,
    quantiles: Vec<f64>,
}

const LEVELS: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// `spelled` of what is not listed by value. No JSON is spelled like these.
const NO_VALUE: &str = "";
const UNLISTED: &str = "other";

impl Reader {
    /// The most metrics that [`metrics`](Self::metrics) returns.
    pub const MAX_METRICS: usize = 1000;
    /// The most values that a summary lists.
    pub const MAX_VALUES: usize = 20;
    /// The most groups that a summary lists.
    pub const MAX_GROUPS: usize = 100;

    /// The metrics that a project has feedback by.
    ///
    /// # Errors
    /// [`ReadError`] says what to do about it.
    pub async fn metrics(&self, project: &str) -> Result<MetricCounts, ReadError> {
        let sql = Sql::new("SELECT metric, count, mean, weighted_mean, last_us FROM (
                SELECT f.metric AS metric, count() AS count, toUnixTimestamp64Micro(max(f.received_at)) AS last_us, ")
            .then(MEANS)
            .append(current_of(project, Sql::default()))
            .then(" GROUP BY metric ORDER BY count DESC, metric LIMIT ")
            .then(&(Self::MAX_METRICS + 1).to_string())
            .then(") ORDER BY count DESC, metric");
        let mut metrics: Vec<MetricCount> = self.fetch(sql).await?;
        let truncated = metrics.len() > Self::MAX_METRICS;
        metrics.truncate(Self::MAX_METRICS);
        Ok(MetricCounts { metrics, truncated })
    }

    /// What was said by a metric and received within `from..to`; with `by`, also
    /// for each text of that tag.
    ///
    /// One query, so that its parts add up while feedback comes in.
    ///
    /// # Errors
    /// [`ReadError`] says what to do about it.
    pub async fn summary(
        &self,
        project: &str,
        metric: &str,
        by: Option<&str>,
        from: Option<Micros>,
        to: Option<Micros>,
    ) -> Result<MetricSummary, ReadError> {
        let tag = match by {
            Some(key) => Sql::default().with(
                "mapContains(f.tags, ?) AS tagged, toString(f.tags[?]) AS text",
                [key.into(), key.into()],
            ),
            None => Sql::new("toUInt8(0) AS tagged, '' AS text"),
        };
        let of_metric = Sql::default()
            .with(" AND f.metric = ?", [metric.into()])
            .append(between(from, to));
        let levels = LEVELS.map(|level| level.to_string()).join(", ");
        // Alike first: what is said over and over is then added up, and compared, once.
        let sql = Sql::new("SELECT grouping(spelled, text) AS set, spelled, tagged, text,
                sum(alike) AS count, sumIf(alike, isNotNull(score)) AS scored, min(score) AS lowest, max(score) AS highest,
                sum(score * alike) / nullIf(scored, 0) AS mean,
                sum(score * weight * alike) / nullIf(weight_sum, 0) AS weighted_mean,
                sumIf(weight * alike, isNotNull(score)) AS weight_sum")
            // Exact, and as large as the number of different scores.
            .then(&format!(", quantilesExactWeighted({levels})(score, alike) AS quantiles"))
            .then(" FROM (SELECT f.score AS score, f.weight AS weight, count() AS alike,
                multiIf(f.value_type = 'none', '', f.value_type = 'json' OR length(f.value) > 256, 'other', f.value) AS spelled, ")
            .append(tag)
            .append(current_of(project, of_metric))
            .then(" GROUP BY score, weight, spelled, tagged, text)
                GROUP BY GROUPING SETS ((), (spelled), (tagged, text))
                ORDER BY set, count DESC, spelled, tagged, text LIMIT ")
            // Two of the values are `NO_VALUE` and `UNLISTED`.
            .then(&format!("{} BY set", Self::MAX_GROUPS.max(Self::MAX_VALUES + 2) + 1));
        let rows: Vec<SummaryRow> = self.fetch(sql).await?;
        Ok(summarise(rows, by.is_some()))
    }
}

fn summarise(rows: Vec<SummaryRow>, grouped: bool) -> MetricSummary {
    let mut summary = MetricSummary::default();
    for row in rows {
        match row.set {
            3 => {
                if row.scored > 0 {
                    let scores = LEVELS.into_iter().zip(row.quantiles.iter().copied());
                    summary.quantiles = scores
                        .map(|(level, score)| Quantile { level, score })
                        .collect();
                }
                summary.all = row.numbers();
            }
            2 if grouped => {
                let numbers = row.numbers();
                let text = (row.tagged != 0).then_some(row.text);
                summary.groups.push(Group { text, numbers });
            }
            1 if row.spelled == NO_VALUE => summary.without_value = row.count,
            1 if row.spelled != UNLISTED => {
                summary.values.push(ValueCount {
                    value: row.spelled,
                    count: row.count,
                });
            }
            _ => {}
        }
    }
    summary.values.truncate(Reader::MAX_VALUES);
    let listed: u64 = summary.values.iter().map(|value| value.count).sum();
    summary.other_values = summary
        .all
        .count
        .saturating_sub(listed + summary.without_value);
    summary.groups_truncated = summary.groups.len() > Reader::MAX_GROUPS;
    summary.groups.truncate(Reader::MAX_GROUPS);
    summary
}

impl SummaryRow {
    fn numbers(&self) -> Numbers {
        Numbers {
            count: self.count,
            scored: self.scored,
            mean: self.mean,
            weighted_mean: self.weighted_mean,
            weight: self.weight_sum,
            min: self.lowest,
            max: self.highest,
        }
    }
}
