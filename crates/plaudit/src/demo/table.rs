//! The demo's result as text for people.

use std::fmt::Write;

use plaudit_client::{TraceFeedback, TraceItem};

use super::evidence::Evidence;
use crate::load::{Latency, Report, metric_order};

/// How many feedbacks of the trace are shown.
const SHOWN: usize = 12;

/// One line a metric: what was acknowledged, and what both ends hold.
pub(super) fn metrics(report: &Report, evidence: &Evidence) -> String {
    let mut text = String::from(
        "\nmetric        acknowledged  in ClickHouse  in query API     mean  weighted mean\n",
    );
    let mut names: Vec<&str> = report.tallies.keys().copied().collect();
    names.sort_by_key(|name| metric_order(name));
    for name in names {
        let acknowledged = report.tallies.get(name).map_or(0, |tally| tally.count);
        let stored = evidence.stored.get(name);
        let told = evidence.told.get(name);
        line(
            &mut text,
            format_args!(
                "{name:<12}  {acknowledged:>12}  {:>13}  {:>12}  {:>7}  {:>13}",
                stored.map_or(0, |stored| stored.count),
                told.map_or(0, |told| told.count),
                number(stored.and_then(|stored| stored.mean)),
                number(stored.and_then(|stored| stored.weighted_mean)),
            ),
        );
    }
    let stored: u64 = evidence.stored.values().map(|stored| stored.count).sum();
    let told: u64 = evidence.told.values().map(|told| told.count).sum();
    line(
        &mut text,
        format_args!(
            "{:<12}  {:>12}  {stored:>13}  {told:>12}",
            "all", report.accepted
        ),
    );
    text
}

/// A trace: each feedback with its weight, and what each metric amounts to.
pub(super) fn trace(trace: &TraceFeedback) -> String {
    let mut text = String::new();
    let count: u64 = trace.metrics.iter().map(|metric| metric.count).sum();
    line(
        &mut text,
        format_args!("trace {}: {count} feedbacks", trace.trace_id),
    );
    for item in trace.items.iter().take(SHOWN) {
        line(
            &mut text,
            format_args!(
                "  {:<12} {:>9}  weight {:<4}  {:<10} {}",
                item.metric,
                said(item),
                item.weight,
                item.rater,
                item.comment
            ),
        );
    }
    for metric in &trace.metrics {
        line(
            &mut text,
            format_args!(
                "  {:<12} weighted mean {} of {}",
                metric.metric,
                number(metric.weighted_mean),
                metric.count,
            ),
        );
    }
    text
}

/// Both latencies of each load.
pub(super) fn latencies(parts: &[(&'static str, Report)]) -> String {
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "{:<32}   acknowledged after ms         readable after ms",
            ""
        ),
    );
    for (title, report) in parts {
        line(
            &mut text,
            format_args!(
                "{title:<32}   {}   {}",
                percentiles(&report.ack),
                percentiles(&report.visible)
            ),
        );
    }
    text
}

fn percentiles(latency: &Latency) -> String {
    if latency.is_empty() {
        return String::new();
    }
    let ms = |percent| latency.percentile(percent).as_secs_f64() * 1e3;
    format!("p50 {:>7.1}  p99 {:>7.1}", ms(50.0), ms(99.0))
}

fn said(item: &TraceItem) -> String {
    match &item.value {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(word) => word.clone(),
        other => other.to_string(),
    }
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.4}"))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A string takes every write.
    write!(text, "{line}").ok();
    // The last column may be empty.
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}
