//! From the request to the first look at the table that finds it, at light load.
//!
//! The looks go past `feedback_current`, which merges as it reads: a look every few
//! milliseconds must cost little, or most of what is measured is the looking. A row is
//! in the view as soon as it is in the table, and at the end it is seen to be.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep, sleep_until};

use crate::feed::{self, Width};
use crate::hammer::{Plan, Target, Wire, fire};
use crate::numbers::Numbers;
use crate::process::Meter;
use crate::report::Side;
use crate::service::Service;
use crate::stage::Space;
use crate::{Bench, say};

use super::requests::Requests;

/// Events a second beside those that are waited for.
const LIGHT: f64 = 50.0;
const SECONDS: u32 = 20;
/// A time that has no common measure with a batch's age, so that probes fall anywhere.
const PROBE_EVERY: Duration = Duration::from_millis(103);
const LOOK: Duration = Duration::from_millis(4);
/// How long the last probe may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    for (subject, age, bar) in [
        ("defaults", None, 1200.0),
        ("max_age = 50ms", Some("50ms"), 120.0),
    ] {
        let space = bench.stage.space(12).await?;
        let age = age.map(|age| ("sink.batch.max_age", age.to_owned()));
        let settings: Vec<_> = age.into_iter().collect();
        let sink = bench.stage.service("sink", &space, &settings).await?;
        let intake = bench.stage.service("intake", &space, &[]).await?;
        let stage = &bench.stage;
        let meter = Meter::start(&[intake.process, sink.process, stage.kafka, stage.engine])?;
        let (latency, events) = measure(bench, &space, &intake).await?;
        let mut numbers = Numbers::default();
        numbers.set_latency(&latency);
        for usage in meter.read()? {
            numbers.add_usage(&usage, events);
        }
        numbers
            .peak_mib
            .retain(|name, _| matches!(*name, "intake" | "sink"));
        intake.stop().await?;
        sink.stop().await?;
        bench
            .stage
            .clickhouse
            .drop_database(&space.database)
            .await?;
        let p50 = numbers.p50_ms.unwrap_or(f64::NAN);
        say(format_args!(
            "{subject}: p50 {p50:.0} ms of {}",
            latency.len()
        ));
        let what = format!("receive to visible, {subject}: p50, ms");
        bench.report.bar(what, p50, Side::Below, bar);
        bench.report.line("visible", subject, numbers);
    }
    Ok(())
}

/// How long probes took to be seen, and how many events there were in all.
async fn measure(
    bench: &Bench,
    space: &Space,
    intake: &Service,
) -> anyhow::Result<(Histogram<u64>, u64)> {
    let length = bench.scale.seconds(SECONDS).max(Duration::from_secs(3));
    let requests = Requests::native(&bench.stage.key, 1, Width::Narrow);
    let target = Target {
        address: intake.address,
        requests: requests.all,
        status: requests.status,
    };
    let plan = Plan {
        connections: 4,
        rate: Some(LIGHT),
        length,
        wire: Wire::Kept,
    };
    let (load, seen) = tokio::join!(fire(target, plan), probe(bench, space, intake, length));
    let (load, seen) = (load?, seen?);
    let events = load.requests + seen.len();
    Ok((seen, events))
}

/// Sends probes and looks for them, in one loop: a trace each, so that a read is a lookup.
async fn probe(
    bench: &Bench,
    space: &Space,
    intake: &Service,
    length: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let http = crate::http().tcp_nodelay(true).build()?;
    let url = format!("http://{}/v1/feedback", intake.address);
    let mut latency = Histogram::new(3)?;
    let (mut waiting, mut found) = (HashMap::<String, Instant>::new(), Vec::new());
    let (start, mut next) = (Instant::now(), Instant::now());
    // Traces that the light load does not use.
    let mut index = 1_000_000_000;
    while start.elapsed() < length || !waiting.is_empty() {
        ensure!(start.elapsed() < length + PATIENCE, "events stay invisible");
        if next.elapsed() > Duration::ZERO && start.elapsed() < length {
            index += 4;
            sleep_until(next).await;
            waiting.insert(feed::trace(index).to_string(), Instant::now());
            let answer = http
                .post(&url)
                .bearer_auth(&bench.stage.key)
                .header("content-type", "application/json")
                .body(feed::native(index, Width::Narrow));
            let status = answer.send().await.context("send a probe")?.status();
            ensure!(status.as_u16() == 200, "a probe was answered {status}");
            next += PROBE_EVERY;
        }
        for trace in found_in("feedback", bench, space, waiting.keys()).await? {
            if let Some(sent) = waiting.remove(&trace) {
                latency.record(u64::try_from(sent.elapsed().as_micros())?)?;
                found.push(trace);
            }
        }
        sleep(LOOK).await;
    }
    let shown = found_in("feedback_current", bench, space, found.iter()).await?;
    ensure!(shown.len() == found.len(), "a reader does not see them all");
    Ok(latency)
}

/// Which of the traces a table has.
async fn found_in(
    table: &str,
    bench: &Bench,
    space: &Space,
    traces: impl Iterator<Item = &String>,
) -> anyhow::Result<Vec<String>> {
    let traces: Vec<_> = traces.map(|trace| format!("'{trace}'")).collect();
    if traces.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT trace_id FROM {}.{table} WHERE project = 'bench' AND trace_id IN ({})",
        space.database,
        traces.join(", ")
    );
    let found = bench.stage.clickhouse.run(&sql).await?;
    Ok(found.lines().map(str::to_owned).collect())
}
