//! Reads on 20 million rows, one in twenty of them patched or retracted.
//!
//! The rows are made in the engine, through the views, as the sink would have left them:
//! a put's row, and over it the row of its fold with the change beside it. Then merges
//! get their time, and every read goes through the query service.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::hammer::{Plan, Target, Wire, fire};
use crate::numbers::{Numbers, float};
use crate::process::Meter;
use crate::report::Side;
use crate::service::Service;
use crate::{Bench, say};

use super::requests::get;

const ROWS: u64 = 20_000_000;
/// Rows of one statement: it has to fit into the engine's memory.
const ROWS_AT_ONCE: u64 = 2_000_000;
const MERGE_PATIENCE: Duration = Duration::from_secs(240);
/// Traces that are read.
const SAMPLE: u64 = 2000;
const TRACE_READS_A_SECOND: f64 = 60.0;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let space = bench.stage.space(1).await?;
    let database = &space.database;
    let rows = bench.scale.events(ROWS);
    let merged = fill(bench, database, rows).await?;
    // On a slow machine a summary takes longer than a service would wait for it.
    let patient = [("query.timeout", "60s".to_owned())];
    let query = bench.stage.service("query", &space, &patient).await?;

    let traces = traces(bench, database, rows).await?;
    let paths = traces
        .lines()
        .map(|trace| format!("/v1/traces/{trace}/feedback"));
    let trace = Read {
        paths: paths.collect(),
        rate: Some(TRACE_READS_A_SECOND),
        seconds: 20,
    };
    let one = |path: &str| Read {
        paths: vec![path.to_owned()],
        rate: None,
        seconds: 6,
    };
    let metric = one("/v1/metrics/helpful");
    let by_tag = one("/v1/metrics/helpful?by=tag.prompt_version");
    let of_tag = one("/v1/feedback?tag.env=staging&limit=50");
    exact(bench, database, &query).await?;

    let mut trace = trace.measure(bench, &query).await?;
    let (parts, _) = bench.stage.clickhouse.parts(database).await?;
    trace.other.insert("parts", float(parts));
    if !merged {
        trace.other.insert("merges under way", 1.0);
    }
    let metric = metric.measure(bench, &query).await?;
    let (p99, p50) = (trace.p99_ms, metric.p50_ms);
    bench.report.line("query", "feedback of a trace", trace);
    bench.report.line("query", "summary of a metric", metric);
    let numbers = by_tag.measure(bench, &query).await?;
    bench.report.line("query", "summary by a tag", numbers);
    let numbers = of_tag.measure(bench, &query).await?;
    bench.report.line("query", "a page of a tag", numbers);
    let what = "trace read on 20 M rows: p99, ms";
    bench
        .report
        .bar(what, p99.unwrap_or(f64::NAN), Side::Below, 15.0);
    let what = "metric summary on 20 M rows, 5 % changed: p50, ms";
    bench
        .report
        .bar(what, p50.unwrap_or(f64::NAN), Side::Below, 150.0);
    query.stop().await?;
    bench.stage.clickhouse.drop_database(database).await
}

/// What is asked for, and how often.
struct Read {
    paths: Vec<String>,
    rate: Option<f64>,
    seconds: u32,
}

impl Read {
    async fn measure(self, bench: &Bench, query: &Service) -> anyhow::Result<Numbers> {
        let requests: Vec<_> = self
            .paths
            .iter()
            .map(|path| get(path, &bench.stage.key))
            .collect();
        let target = Target {
            address: query.address,
            requests: requests.into(),
            status: 200,
        };
        let plan = |seconds| Plan {
            connections: if self.rate.is_some() { 4 } else { 1 },
            rate: self.rate,
            length: bench.scale.seconds(seconds),
            wire: Wire::Kept,
        };
        let asked = || self.paths.first().cloned().unwrap_or_default();
        // What is read first comes from the disk.
        fire(target.clone(), plan(2)).await.with_context(asked)?;
        let meter = Meter::start(&[bench.stage.engine, query.process])?;
        let load = fire(target, plan(self.seconds)).await.with_context(asked)?;
        let mut numbers = Numbers {
            requests_per_second: Some(float(load.requests) / load.took.as_secs_f64()),
            ..Numbers::default()
        };
        numbers.set_latency(&load.latency);
        for usage in meter.read()? {
            numbers.add_usage(&usage, load.requests);
        }
        let p99 = numbers.p99_ms.unwrap_or_default();
        say(format_args!(
            "{} reads, p99 {p99:.1} ms: {}",
            load.requests,
            asked()
        ));
        Ok(numbers)
    }
}

/// Whether the summary counts what a reader sees, to the last one.
async fn exact(bench: &Bench, database: &str, query: &Service) -> anyhow::Result<()> {
    let answer = crate::http()
        .build()?
        .get(format!("http://{}/v1/metrics/helpful", query.address))
        .bearer_auth(&bench.stage.key)
        .send()
        .await
        .context("ask for a summary")?;
    let text = answer.text().await?;
    let answer: serde_json::Value = serde_json::from_str(&text).context("read the summary")?;
    let summary = answer.get("count").and_then(serde_json::Value::as_u64);
    let sql = format!(
        "SELECT count() FROM {database}.feedback_current \
         WHERE project = 'bench' AND metric = 'helpful'"
    );
    let seen = bench.stage.clickhouse.number(&sql).await?;
    ensure!(
        summary == Some(seen),
        "the summary counts {summary:?} of {seen}: {text}"
    );
    Ok(())
}

/// Traces that are there, anywhere.
async fn traces(bench: &Bench, database: &str, rows: u64) -> anyhow::Result<String> {
    let one_in = (rows / 4 / SAMPLE / 2).max(1);
    let sql = format!(
        "SELECT DISTINCT trace_id FROM {database}.feedback \
         WHERE cityHash64(trace_id) % {one_in} = 0 LIMIT {SAMPLE}"
    );
    bench.stage.clickhouse.run(&sql).await
}

/// Returns whether merges have caught up.
async fn fill(bench: &Bench, database: &str, rows: u64) -> anyhow::Result<bool> {
    let clickhouse = &bench.stage.clickhouse;
    // All are merged at the end, and each row once: that the rows came over months is not
    // what is measured.
    clickhouse.run("SYSTEM STOP MERGES").await?;
    let filled = insert_all(bench, database, rows).await;
    clickhouse.run("SYSTEM START MERGES").await?;
    filled?;
    say("waiting for merges");
    clickhouse.merged(MERGE_PATIENCE).await
}

async fn insert_all(bench: &Bench, database: &str, rows: u64) -> anyhow::Result<()> {
    let clickhouse = &bench.stage.clickhouse;
    let mut made = 0;
    while made < rows {
        let count = ROWS_AT_ONCE.min(rows - made);
        clickhouse.run(&puts(database, made, count)).await?;
        made += count;
        say(format_args!("{made} of {rows} rows"));
    }
    clickhouse.run(&changes(database)).await?;
    clickhouse.run(&folds(database)).await?;
    Ok(())
}

/// Four to a trace, UUIDs, metrics of every kind, three tags, one comment in six.
fn puts(database: &str, first: u64, count: u64) -> String {
    format!(
        "INSERT INTO {database}.feedback
        WITH
            toString(reinterpretAsUUID(sipHash128(intDiv(number, 4)))) AS trace,
            cityHash64(number, 1) % 100 AS kind,
            cityHash64(number, 2) % 100 AS luck,
            1795000000000000 + number * 50 AS at
        SELECT 'bench' AS project, trace AS trace_id, generateUUIDv7(number) AS id,
            toUInt64(at) * 4096 AS version, toUInt8(0) AS is_deleted, 'trace' AS target_kind,
            trace AS target_id,
            multiIf(kind < 40, 'helpful', kind < 60, 'stars', kind < 80, 'correctness',
                kind < 92, 'tone', 'note') AS metric,
            multiIf(kind < 40, 'bool', kind < 60, 'int', kind < 80, 'float',
                kind < 92, 'text', 'none') AS value_type,
            multiIf(kind < 40, if(luck < 70, 'true', 'false'), kind < 60, toString(1 + luck % 5),
                kind < 80, toString(luck / 100),
                kind < 92, ['\"warm\"', '\"neutral\"', '\"cold\"', '\"formal\"'][1 + luck % 4], '') AS value,
            multiIf(kind < 40, toFloat64(luck < 70), kind < 60, toFloat64(1 + luck % 5),
                kind < 80, luck / 100, NULL) AS score,
            toFloat64(1) AS weight,
            if(kind >= 92 OR cityHash64(number, 3) % 10 = 0,
                ['exactly what I was looking for', 'the second paragraph contradicts the first',
                 'says that it depends and stops there'][1 + luck % 3], '') AS comment,
            '' AS correction,
            map('env', if(cityHash64(number, 4) % 4 = 0, 'staging', 'prod'),
                'model', ['atlas-large', 'atlas-small', 'birch-2'][1 + cityHash64(number, 5) % 3],
                'prompt_version', concat('v', toString(1 + cityHash64(number, 6) % 4))) AS tags,
            '' AS metadata, concat('user-', toString(cityHash64(number, 7) % 5000)) AS rater,
            'api' AS source_kind, '' AS source_info, '' AS source_run_id, '' AS group_id,
            '' AS experiment_id, '' AS session_id,
            fromUnixTimestamp64Micro(toInt64(at), 'UTC') AS created_at, created_at AS received_at,
            'native' AS dialect, 'bench' AS topic, toInt32(0) AS partition,
            toInt64(number) AS offset
        FROM numbers({first}, {count})"
    )
}

/// One in forty patched, one in forty retracted.
fn changes(database: &str) -> String {
    format!(
        "INSERT INTO {database}.changes
        SELECT project, id, topic, partition, offset + 1000000000 AS offset,
            if(cityHash64(id) % 40 = 0, 'patch', 'retract') AS kind,
            received_at AS version_time, received_at,
            concat('{{\"v\":1,\"project\":\"bench\",\"dialect\":\"native\",\"received_at\":0,\
                \"version_time\":0,\"operation\":{{\"patch\":{{\"id\":\"', toString(id),
                '\",\"changes\":{{\"weight\":0.5}}}}}}}}') AS record,
            toUInt8(0) AS gave_up
        FROM {database}.feedback WHERE cityHash64(id) % 40 < 2"
    )
}

/// The rows that their folds leave.
fn folds(database: &str) -> String {
    format!(
        "INSERT INTO {database}.feedback
        SELECT * REPLACE (
            if(cityHash64(id) % 40 = 0, version + 1, 18446744073709551615) AS version,
            toUInt8(cityHash64(id) % 40 = 1) AS is_deleted,
            toFloat64(0.5) AS weight)
        FROM {database}.feedback WHERE cityHash64(id) % 40 < 2"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_no_placeholder() {
        for sql in [puts("d", 0, 1), changes("d"), folds("d")] {
            assert!(!sql.contains("{d"), "{sql}");
            assert_eq!(sql.matches('(').count(), sql.matches(')').count(), "{sql}");
        }
        assert!(changes("d").contains(r#"{"v":1,"project":"bench""#));
    }
}
