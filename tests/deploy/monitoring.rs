//! A real Prometheus, with the rules as shipped, on a running stack: every panel of the
//! dashboard has data, and every alert names what the services export.
//!
//! The stack is `plaudit up`'s, on free ports. Only the addresses in Prometheus's
//! configuration are the test's own: that the jobs are those of the shipped one is checked.

mod expression;
mod prometheus;

use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plaudit::config::{Setting, Sources};
use plaudit::load::{Dialect, Events, Extent, Plan, drive};
use plaudit::up::{Listener, Member, Ports, Stack, UpOptions};
use plaudit_client::Client;
use serde_json::{Value, json};
use support::{Api, binary, repository, wait_until};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::prepare::own_directory;
use expression::Selector;
use prometheus::{Prometheus, Target};

/// What only a service with a certificate exports.
const WITH_TLS_ONLY: &str = "certificate";

/// Starts everything, uses it, asks every question.
///
/// # Errors
/// The panels without data, and what alerts name and nobody exports.
pub(crate) async fn check(cache: &Path) -> Result<String> {
    let directory = own_directory("monitoring")?;
    let mut stack = Stack::prepare(UpOptions {
        directory: directory.join("stack"),
        parts: repository().join(".plaudit/parts"),
        ports: Ports::free(),
        members: Member::ALL.to_vec(),
        binary: binary()?,
        sources: Sources {
            settings: vec![
                Setting::new("auth.mode", "open"),
                // So that one read is in the way of another.
                Setting::new("query.max_concurrent", "1"),
            ],
            ..Sources::default()
        },
    })
    .await?;
    stack.start().await?;
    let address = |listener| stack.ports().address(listener).to_string();
    let clickhouse = address(Listener::Clickhouse);
    let targets = [
        Target::new(
            "plaudit-intake",
            "/metrics",
            address(Listener::IntakeMetrics),
        ),
        Target::new("plaudit-sink", "/metrics", address(Listener::SinkMetrics)),
        Target::new("plaudit-query", "/metrics", address(Listener::QueryMetrics)),
        Target::new("clickhouse", "/metrics", clickhouse.clone()),
        Target::new("clickhouse-tables", "/plaudit/metrics", clickhouse),
    ];
    let prometheus =
        Prometheus::start(&cache.join("bin"), &directory.join("prometheus"), &targets).await?;

    let stop = CancellationToken::new();
    let mut used = JoinSet::new();
    used.spawn(send(stack.url(Listener::Intake), stop.clone()));
    used.spawn(misuse(stack.url(Listener::Intake), stop.clone()));
    for _ in 0..4 {
        used.spawn(read(stack.url(Listener::Query), stop.clone()));
    }
    let said = ask(&prometheus).await;
    stop.cancel();
    while let Some(ended) = used.join_next().await {
        ended??;
    }
    prometheus.stop().await?;
    stack.stop().await;
    said
}

async fn ask(prometheus: &Prometheus) -> Result<String> {
    let panels = panels()?;
    ensure!(panels.len() > 20, "the dashboard is somewhere else");
    for (title, query) in &panels {
        let asked = wait_until(title, async || {
            Ok(!prometheus.query(query).await?.is_empty())
        });
        asked.await.with_context(|| format!("no data: {query}"))?;
    }
    let rules = prometheus.rules().await?;
    ensure!(rules.len() > 20, "the rules are somewhere else");
    let mut series = 0;
    for (name, expression) in &rules {
        for selector in Selector::all_in(expression) {
            if selector.metric.contains(WITH_TLS_ONLY) {
                continue;
            }
            let text = selector.to_string();
            let exists = wait_until(&text, async || {
                Ok(!prometheus.query(&text).await?.is_empty())
            });
            exists
                .await
                .with_context(|| format!("nobody exports what {name} asks for"))?;
            series += 1;
        }
    }
    Ok(format!(
        "{} queries of panels have data; {} rules and alerts ask {series} times for series, all there",
        panels.len(),
        rules.len(),
    ))
}

/// Title and query of every panel, with what Grafana would put in.
fn panels() -> Result<Vec<(String, String)>> {
    let file = repository().join("deploy/grafana/dashboards/plaudit.json");
    let board: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().context("panels")? {
        let title = panel["title"].as_str().context("a title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a query")?;
            let query = query
                .replace("$__rate_interval", "1m")
                .replace("$__range", "15m");
            queries.push((format!("panel `{title}`"), query));
        }
    }
    Ok(queries)
}

async fn send(url: String, stop: CancellationToken) -> Result<()> {
    let api = Client::builder(&url).build_api()?;
    let plan = Plan {
        events: Events {
            seed: 1,
            run: 1,
            traces: 1000,
            dialect: Dialect::Native,
        },
        extent: Extent::Duration(Duration::from_secs(3600)),
        rate: Some(200.0),
        connections: 4,
        batch: NonZeroU64::new(20).context("it is not 0")?,
        watchers: 0,
        acked: None,
        quiet: true,
    };
    let report = drive(&plan, &api, stop).await?;
    ensure!(
        report.accepted > 0,
        "nothing was accepted: {:?}",
        report.faults
    );
    Ok(())
}

/// Requests that are refused, a few a second.
async fn misuse(url: String, stop: CancellationToken) -> Result<()> {
    let api = Api::new(&url);
    while !stop.is_cancelled() {
        let without_trace = json!({"metric": "helpful", "value": true});
        ensure!(api.post("/v1/feedback", &without_trace).await?.status == 400);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn read(url: String, stop: CancellationToken) -> Result<()> {
    let api = Api::new(&url);
    while !stop.is_cancelled() {
        for path in ["/v1/metrics", "/v1/feedback?limit=10"] {
            let status = api.get(path).await?.status;
            ensure!([200, 503].contains(&status), "{path} is answered {status}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
