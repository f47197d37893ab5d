//! What can be read after a demo, from both ends: the query API, and ClickHouse.
//!
//! ClickHouse is asked by a [`Witness`], which believes neither.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use plaudit_client::{Api, MetricSummary, TraceFeedback};
use plaudit_store::ClickhouseConfig;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::Sent;
use crate::load::{Report, Tally};
use crate::witness::Witness;

/// Everything that was read back.
pub(super) struct Evidence {
    /// What ClickHouse holds, by metric.
    pub(super) stored: BTreeMap<String, Stored>,
    /// What the query API says, by metric.
    pub(super) told: BTreeMap<String, MetricSummary>,
    /// One trace.
    pub(super) trace: TraceFeedback,
    /// Acknowledged ids that are not in ClickHouse.
    missing: usize,
    /// Ids in ClickHouse that nobody acknowledged.
    invented: usize,
}

/// One metric, as ClickHouse counts it.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    metric: String,
    pub(super) count: u64,
    ids: u64,
    pub(super) mean: Option<f64>,
    pub(super) weighted_mean: Option<f64>,
}

const BY_METRIC: &str = "SELECT metric, count() AS count, uniqExact(id) AS ids, \
     avg(score) AS mean, if(isNull(mean), NULL, avgWeighted(assumeNotNull(score), weight)) \
     AS weighted_mean FROM feedback_current GROUP BY metric FORMAT JSONEachRow";
const IDS: &str = "SELECT id FROM feedback_current FORMAT TSV";

/// How long the last event may take to be readable.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

// === impl Evidence ===

impl Evidence {
    /// Waits until as much is stored as was acknowledged, then reads all of it.
    pub(super) async fn gather(
        api: &Api,
        config: &ClickhouseConfig,
        sent: &Sent,
    ) -> anyhow::Result<Self> {
        let clickhouse = Witness::new(config)?;
        let stored = settled(&clickhouse, sent.report.accepted).await?;
        let mut told = BTreeMap::new();
        for metric in api.metrics().await.context("read the metrics")? {
            let summary = api.metric(&metric.metric).await.context("read a metric")?;
            told.insert(metric.metric, summary);
        }
        let trace = api.trace(&sent.trace_id).await.context("read a trace")?;
        let acknowledged = acknowledged(&sent.acked)?;
        let ids = clickhouse.query(IDS).await?;
        let ids: BTreeSet<&str> = ids.lines().collect();
        Ok(Self {
            missing: acknowledged
                .iter()
                .filter(|id| !ids.contains(id.as_str()))
                .count(),
            invented: ids.iter().filter(|id| !acknowledged.contains(**id)).count(),
            stored: stored
                .into_iter()
                .map(|row| (row.metric.clone(), row))
                .collect(),
            told,
            trace,
        })
    }

    /// Everything that is not as it should be.
    pub(super) fn problems(&self, report: &Report) -> Vec<String> {
        let mut problems = Vec::new();
        if self.missing > 0 {
            problems.push(format!("{} acknowledged ids are not stored", self.missing));
        }
        if self.invented > 0 {
            problems.push(format!(
                "{} stored ids were never acknowledged",
                self.invented
            ));
        }
        let unsent = |metric: &&String| !report.tallies.contains_key(metric.as_str());
        let extra: BTreeSet<&String> = self.stored.keys().chain(self.told.keys()).collect();
        for metric in extra.into_iter().filter(unsent) {
            problems.push(format!("{metric}: was never sent"));
        }
        for (metric, tally) in &report.tallies {
            if !self
                .stored
                .get(*metric)
                .is_some_and(|stored| stored.agrees(tally))
            {
                problems.push(format!("{metric}: ClickHouse holds something else"));
            }
            if !self
                .told
                .get(*metric)
                .is_some_and(|told| agrees(told, tally))
            {
                problems.push(format!("{metric}: the query API says something else"));
            }
        }
        if !self.trace_agrees() {
            problems.push("the trace's weighted means are not those of its feedback".to_owned());
        }
        if report.not_visible > 0 {
            problems.push(format!(
                "{} events were not readable in time",
                report.not_visible
            ));
        }
        problems
    }

    /// Whether the trace's means are what its items amount to.
    fn trace_agrees(&self) -> bool {
        !self.trace.items.is_empty()
            && self.trace.metrics.iter().all(|metric| {
                let items = self
                    .trace
                    .items
                    .iter()
                    .filter(|item| item.metric == metric.metric);
                let (mut weight, mut weighted) = (0.0, 0.0);
                for item in items {
                    if let Some(score) = item.score {
                        weight += item.weight;
                        weighted += item.weight * score;
                    }
                }
                near(
                    metric.weighted_mean,
                    (weight > 0.0).then(|| weighted / weight),
                )
            })
    }
}

impl Stored {
    fn agrees(&self, tally: &Tally) -> bool {
        self.count == tally.count
            && self.ids == tally.count
            && near(self.mean, tally.mean())
            && near(self.weighted_mean, tally.weighted_mean())
    }
}

fn agrees(told: &MetricSummary, tally: &Tally) -> bool {
    told.count == tally.count
        && told.scored == tally.scored
        && near(told.mean, tally.mean())
        && near(told.weighted_mean, tally.weighted_mean())
}

/// Equal but for the order in which floating-point numbers were added.
fn near(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-9 * one.abs().max(1.0),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The ids of all files.
fn acknowledged(files: &[PathBuf]) -> anyhow::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for file in files {
        let lines =
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        for line in lines.lines() {
            let id = line.split(' ').next().unwrap_or_default();
            if !ids.insert(id.to_owned()) {
                bail!("{id} was acknowledged twice");
            }
        }
    }
    Ok(ids)
}

/// The metrics, once they have `count` feedbacks together.
async fn settled(clickhouse: &Witness, count: u64) -> anyhow::Result<Vec<Stored>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rows = clickhouse.query(BY_METRIC).await?;
        let rows: Result<Vec<Stored>, _> = rows.lines().map(serde_json::from_str).collect();
        let rows = rows.context("read what ClickHouse counts")?;
        // A shortfall is shown and said, after everything else.
        let stored: u64 = rows.iter().map(|row| row.count).sum();
        if stored >= count || Instant::now() >= deadline {
            return Ok(rows);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally {
            count: 3,
            scored: 2,
            score: 1.1,
            weight: 1.25,
            weighted: 0.35,
        }
    }

    fn stored(count: u64, ids: u64) -> Stored {
        Stored {
            metric: "m".to_owned(),
            count,
            ids,
            mean: Some(0.55),
            weighted_mean: Some(0.28),
        }
    }

    #[test]
    fn p3_an_id_that_is_there_twice_does_not_agree() {
        assert!(stored(3, 3).agrees(&tally()));
        assert!(!stored(3, 2).agrees(&tally()));
        assert!(!stored(4, 4).agrees(&tally()));
    }

    #[test]
    fn a_mean_that_is_absent_is_no_mean_of_nought() {
        assert!(near(None, None));
        assert!(!near(Some(0.0), None));
        assert!(near(Some(0.1 + 0.2), Some(0.3)));
        assert!(!near(Some(0.3), Some(0.3001)));
    }
}
