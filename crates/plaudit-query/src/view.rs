//! Answers as JSON: the native API's names, absent fields absent.

use plaudit_event::{Micros, Receipt, Source, TargetKind};
use plaudit_store::read::{
    FeedbackRow, Group, MetricCount, MetricSummary, Numbers, TraceMetric, ValueCount,
};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

/// One feedback: the body that a put has, and what the server knows of it.
#[derive(Debug, Serialize)]
pub(crate) struct FeedbackView<'a> {
    id: Uuid,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetView<'a>>,
    metric: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    weight: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correction: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Tags::is_empty")]
    tags: Tags<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    rater: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceView<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    group_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    experiment_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    session_id: &'a str,
    created_at: Time,
    received_at: Time,
    /// Absent for a put that is older than any other of its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    version_time: Option<Time>,
    changes: u64,
    dialect: &'a str,
    receipt: String,
}

#[derive(Debug, Serialize)]
struct TargetView<'a> {
    kind: &'a str,
    id: &'a str,
}

#[derive(Debug, Serialize)]
struct SourceView<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    run_id: &'a str,
}

/// JSON text that goes out as it came in.
#[derive(Debug)]
struct Raw<'a>(&'a str);

#[derive(Debug)]
struct Tags<'a>(&'a [(String, String)]);

/// RFC 3339 in UTC, with microseconds.
#[derive(Clone, Copy, Debug)]
struct Time(Micros);

/// A page of feedback.
#[derive(Debug, Serialize)]
pub(crate) struct PageView<'a> {
    pub(crate) items: Vec<FeedbackView<'a>>,
    pub(crate) next_cursor: Option<String>,
}

/// What was said of one trace.
#[derive(Debug, Serialize)]
pub(crate) struct TraceView<'a> {
    pub(crate) trace_id: &'a str,
    #[serde(flatten)]
    pub(crate) page: PageView<'a>,
    pub(crate) metrics: Vec<TraceMetricView<'a>>,
}

/// What one metric's feedback on a trace amounts to.
#[derive(Debug, Serialize)]
pub(crate) struct TraceMetricView<'a> {
    metric: &'a str,
    count: u64,
    mean: Option<f64>,
    weighted_mean: Option<f64>,
    weight: f64,
}

/// The metrics of a project.
#[derive(Debug, Serialize)]
pub(crate) struct MetricsView<'a> {
    pub(crate) metrics: Vec<MetricCountView<'a>>,
    pub(crate) truncated: bool,
}

/// How much feedback one metric has.
#[derive(Debug, Serialize)]
pub(crate) struct MetricCountView<'a> {
    metric: &'a str,
    count: u64,
    mean: Option<f64>,
    weighted_mean: Option<f64>,
    last_received_at: Time,
}

/// What was said by one metric.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryView<'a> {
    metric: &'a str,
    #[serde(flatten)]
    numbers: NumbersView,
    distribution: DistributionView<'a>,
    #[serde(flatten)]
    groups: Option<GroupsView<'a>>,
}

#[derive(Debug, Serialize)]
struct NumbersView {
    count: u64,
    scored: u64,
    mean: Option<f64>,
    weighted_mean: Option<f64>,
    weight: f64,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Serialize)]
struct DistributionView<'a> {
    values: Vec<ValueView<'a>>,
    other: u64,
    none: u64,
    quantiles: Vec<QuantileView>,
}

#[derive(Debug, Serialize)]
struct ValueView<'a> {
    value: Raw<'a>,
    count: u64,
}

#[derive(Debug, Serialize)]
struct QuantileView {
    level: f64,
    score: f64,
}

#[derive(Debug, Serialize)]
struct GroupsView<'a> {
    by: &'a str,
    groups: Vec<GroupView<'a>>,
    groups_truncated: bool,
}

#[derive(Debug, Serialize)]
struct GroupView<'a> {
    value: Option<&'a str>,
    #[serde(flatten)]
    numbers: NumbersView,
}

/// What became of a receipt.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptView {
    pub(crate) receipt: String,
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What became of several.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptsView {
    pub(crate) items: Vec<ReceiptView>,
}

// === conversions ===

impl<'a> From<&'a FeedbackRow> for FeedbackView<'a> {
    fn from(row: &'a FeedbackRow) -> Self {
        let whole_trace = row.target_kind == TargetKind::Trace && row.target_id == row.trace_id;
        let target = TargetView {
            kind: row.target_kind.name(),
            id: &row.target_id,
        };
        let source = SourceView {
            kind: &row.source_kind,
            info: raw(&row.source_info),
            run_id: &row.source_run_id,
        };
        let says_nothing = source.kind == Source::DEFAULT_KIND
            && source.info.is_none()
            && source.run_id.is_empty();
        let version = row.row_version();
        let receipt = Receipt {
            topic: row.topic.as_str().into(),
            partition: row.partition,
            offset: row.offset,
        };
        Self {
            id: row.id,
            trace_id: &row.trace_id,
            target: (!whole_trace).then_some(target),
            metric: &row.metric,
            value: raw(&row.value),
            score: row.score,
            weight: row.weight,
            comment: &row.comment,
            correction: raw(&row.correction),
            tags: Tags(&row.tags),
            metadata: raw(&row.metadata),
            rater: &row.rater,
            source: (!says_nothing).then_some(source),
            group_id: &row.group_id,
            experiment_id: &row.experiment_id,
            session_id: &row.session_id,
            created_at: Time(row.created_at),
            received_at: Time(row.received_at),
            version_time: Some(Time(version.version_time())).filter(|time| time.0 != Micros(0)),
            changes: version.changes(),
            dialect: row.dialect.name(),
            receipt: receipt.to_string(),
        }
    }
}

impl<'a> From<&'a TraceMetric> for TraceMetricView<'a> {
    fn from(metric: &'a TraceMetric) -> Self {
        Self {
            metric: &metric.metric,
            count: metric.count,
            mean: metric.mean,
            weighted_mean: metric.weighted_mean,
            weight: metric.weight,
        }
    }
}

impl<'a> From<&'a MetricCount> for MetricCountView<'a> {
    fn from(count: &'a MetricCount) -> Self {
        Self {
            metric: &count.metric,
            count: count.count,
            mean: count.mean,
            weighted_mean: count.weighted_mean,
            last_received_at: Time(Micros(count.last_us)),
        }
    }
}

impl<'a> SummaryView<'a> {
    /// `by` is the tag that was asked for.
    pub(crate) fn new(metric: &'a str, by: Option<&'a str>, summary: &'a MetricSummary) -> Self {
        let quantiles = summary.quantiles.iter();
        Self {
            metric,
            numbers: NumbersView::from(&summary.all),
            distribution: DistributionView {
                values: summary.values.iter().map(ValueView::from).collect(),
                other: summary.other_values,
                none: summary.without_value,
                quantiles: quantiles
                    .map(|quantile| QuantileView {
                        level: quantile.level,
                        score: quantile.score,
                    })
                    .collect(),
            },
            groups: by.map(|by| GroupsView {
                by,
                groups: summary.groups.iter().map(GroupView::from).collect(),
                groups_truncated: summary.groups_truncated,
            }),
        }
    }
}

impl From<&Numbers> for NumbersView {
    fn from(numbers: &Numbers) -> Self {
        Self {
            count: numbers.count,
            scored: numbers.scored,
            mean: numbers.mean,
            weighted_mean: numbers.weighted_mean,
            weight: numbers.weight,
            min: numbers.min,
            max: numbers.max,
        }
    }
}

impl<'a> From<&'a ValueCount> for ValueView<'a> {
    fn from(value: &'a ValueCount) -> Self {
        Self {
            value: Raw(&value.value),
            count: value.count,
        }
    }
}

impl<'a> From<&'a Group> for GroupView<'a> {
    fn from(group: &'a Group) -> Self {
        Self {
            value: group.text.as_deref(),
            numbers: NumbersView::from(&group.numbers),
        }
    }
}

fn raw(column: &str) -> Option<Raw<'_>> {
    (!column.is_empty()).then_some(Raw(column))
}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(self.0) {
            Ok(json) => json.serialize(serializer),
            // Written by another hand than Plaudit's: shown as the text it is,
            // so that one such row does not hide a page.
            Err(_) => serializer.serialize_str(self.0),
        }
    }
}

impl Tags<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, text) in self.0 {
            map.serialize_entry(key, text)?;
        }
        map.end()
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use plaudit_event::Dialect;

    use super::*;

    fn row() -> FeedbackRow {
        FeedbackRow {
            id: Uuid::from_u128(7),
            trace_id: "t".to_owned(),
            version: 1_767_323_045_000_001 << 12 | 2,
            is_deleted: 0,
            target_kind: TargetKind::Trace,
            target_id: "t".to_owned(),
            metric: "helpful".to_owned(),
            value: "1.50".to_owned(),
            score: Some(1.5),
            weight: 1.0,
            comment: String::new(),
            correction: String::new(),
            tags: Vec::new(),
            metadata: String::new(),
            rater: String::new(),
            source_kind: "api".to_owned(),
            source_info: String::new(),
            source_run_id: String::new(),
            group_id: String::new(),
            experiment_id: String::new(),
            session_id: String::new(),
            created_at: Micros(1_767_323_045_000_000),
            received_at: Micros(1_767_323_045_000_000),
            dialect: Dialect::Native,
            topic: "plaudit.feedback".to_owned(),
            partition: 3,
            offset: 1042,
        }
    }

    fn json(row: &FeedbackRow) -> String {
        serde_json::to_string(&FeedbackView::from(row)).unwrap()
    }

    #[test]
    fn what_was_not_said_is_absent() {
        assert_eq!(
            json(&row()),
            r#"{"id":"00000000-0000-0000-0000-000000000007","trace_id":"t","metric":"helpful","value":1.50,"score":1.5,"weight":1.0,"created_at":"2026-01-02T03:04:05.000000Z","received_at":"2026-01-02T03:04:05.000000Z","version_time":"2026-01-02T03:04:05.000001Z","changes":2,"dialect":"native","receipt":"plaudit.feedback:3:1042"}"#
        );
    }

    #[test]
    fn what_was_said_comes_back_as_the_same_characters() {
        let row = FeedbackRow {
            version: 0,
            target_kind: TargetKind::Run,
            value: r#""good\u00e9""#.to_owned(),
            correction: r#"{"b": 1.50, "a":null}"#.to_owned(),
            tags: vec![("env".to_owned(), "prod".to_owned())],
            metadata: "not JSON".to_owned(),
            source_run_id: "r".to_owned(),
            ..row()
        };
        let json = json(&row);
        for part in [
            r#""target":{"kind":"run","id":"t"}"#,
            r#""value":"good\u00e9""#,
            r#""correction":{"b": 1.50, "a":null}"#,
            r#""tags":{"env":"prod"}"#,
            r#""metadata":"not JSON""#,
            r#""source":{"kind":"api","run_id":"r"}"#,
            r#""changes":0"#,
        ] {
            assert!(json.contains(part), "{part} in {json}");
        }
        assert!(!json.contains("version_time"));
    }
}
