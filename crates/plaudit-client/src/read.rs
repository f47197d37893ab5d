//! What the query API answers, as far as a client asks for it.
//!
//! Unknown fields are left alone: a later server may say more.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// How much feedback one metric has (an item of `GET /v1/metrics`).
#[derive(Clone, Debug, Deserialize)]
pub struct MetricCount {
    /// The metric's name.
    pub metric: String,
    /// Feedbacks that are current.
    pub count: u64,
}

/// What was said by one metric (`GET /v1/metrics/{metric}`).
#[derive(Clone, Debug, Deserialize)]
pub struct MetricSummary {
    /// The metric's name.
    pub metric: String,
    /// Feedbacks that are current.
    pub count: u64,
    /// Those of them that have a score.
    pub scored: u64,
    /// Mean of the scores; `None` where there is none.
    pub mean: Option<f64>,
    /// The same, each score counted by its weight.
    pub weighted_mean: Option<f64>,
}

/// What was said of one trace (`GET /v1/traces/{trace_id}/feedback`).
#[derive(Clone, Debug, Deserialize)]
pub struct TraceFeedback {
    /// The trace.
    pub trace_id: String,
    /// Its feedback: the first page of it.
    pub items: Vec<TraceItem>,
    /// What each metric amounts to, over all of its feedback.
    pub metrics: Vec<TraceMetric>,
}

/// One feedback of a trace.
#[derive(Clone, Debug, Deserialize)]
pub struct TraceItem {
    /// Its id.
    pub id: Uuid,
    /// Its metric.
    pub metric: String,
    /// What was said; `null` for a comment or a correction alone.
    #[serde(default)]
    pub value: Value,
    /// What was said as a number.
    #[serde(default)]
    pub score: Option<f64>,
    /// How much it counts, 0 to 1.
    pub weight: f64,
    /// What was added; may be empty.
    #[serde(default)]
    pub comment: String,
    /// Who said it; may be empty.
    #[serde(default)]
    pub rater: String,
}

/// One metric of a trace.
#[derive(Clone, Debug, Deserialize)]
pub struct TraceMetric {
    /// The metric's name.
    pub metric: String,
    /// Feedbacks that are current.
    pub count: u64,
    /// Mean of the scores; `None` where there is none.
    pub mean: Option<f64>,
    /// The same, each score counted by its weight.
    pub weighted_mean: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_reads_with_what_is_absent_and_what_is_new() {
        let trace: TraceFeedback = serde_json::from_str(
            r#"{"trace_id":"t","items":[
                {"id":"018f3f2e-0000-7000-8000-000000000001","metric":"stars","value":4,"score":4.0,"weight":0.5,"new":1},
                {"id":"018f3f2e-0000-7000-8000-000000000002","metric":"note","weight":1.0,"comment":"c"}],
               "next_cursor":null,
               "metrics":[{"metric":"stars","count":1,"mean":4.0,"weighted_mean":4.0,"weight":0.5},
                          {"metric":"note","count":1,"mean":null,"weighted_mean":null,"weight":0.0}]}"#,
        )
        .unwrap();
        assert_eq!(trace.items[0].value, 4);
        assert!(trace.items[1].value.is_null());
        assert_eq!(trace.metrics[1].weighted_mean, None);
    }
}
