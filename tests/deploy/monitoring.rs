//! A real Prometheus, with the rules as shipped, on a running stack: every panel of the
//! dashboard has data, and every alert names what the services export.
//!
//! The stack is `plaudit up`'s, on free ports, with certificates of an authority of the
//! test's own. Only the addresses in Prometheus's configuration are the test's: that the
//! jobs are those of the shipped one is checked. What the metrics adapter would ask for the
//! sinks' autoscaler is asked as well.

mod expression;
mod prometheus;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plaudit::config::{Setting, Sources};
use plaudit::up::{Listener, Member, Ports, Stack, UpOptions};
use plaudit_client::Client;
use serde_json::json;
use support::{Api, Authority, binary, repository, wait_until};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dashboard;
use crate::load::Load;
use crate::prepare::own_directory;
use expression::Selector;
use prometheus::{Prometheus, Target};

/// Starts everything, uses it, asks every question.
///
/// # Errors
/// The panels without data, and what alerts name and nobody exports.
pub(crate) async fn check(cache: &Path) -> Result<String> {
    let directory = own_directory("monitoring")?;
    let authority = Authority::new(&directory.join("authority"))?;
    let mut stack = Stack::prepare(UpOptions {
        directory: directory.join("stack"),
        parts: repository().join(".plaudit/parts"),
        ports: Ports::free(),
        members: Member::ALL.to_vec(),
        binary: binary()?,
        sources: Sources {
            settings: settings(&authority)?,
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

    let [intake, query] = [Listener::Intake, Listener::Query]
        .map(|listener| Api::new(&stack.url(listener)).over_tls(&authority));
    let (intake, query) = (intake?, query?);
    let client = Client::builder(intake.base()).ca_file(authority.ca_file());
    let load = Load::start(client, &directory.join("acked"))?;
    let stop = CancellationToken::new();
    let mut used = JoinSet::new();
    used.spawn(misuse(intake, stop.clone()));
    for _ in 0..4 {
        used.spawn(read(query.clone(), stop.clone()));
    }
    let said = ask(&prometheus).await;
    stop.cancel();
    while let Some(ended) = used.join_next().await {
        ended??;
    }
    let (_, report) = load.stop().await?;
    ensure!(
        report.accepted > 0,
        "nothing was accepted: {:?}",
        report.faults
    );
    prometheus.stop().await?;
    stack.stop().await;
    said
}

async fn ask(prometheus: &Prometheus) -> Result<String> {
    let panels = dashboard::queries()?;
    ensure!(panels.len() > 20, "the dashboard is somewhere else");
    for (title, query) in &panels {
        let asked = wait_until(title, async || prometheus.has_data(query).await);
        asked.await.with_context(|| format!("no data: {query}"))?;
    }
    let rules = prometheus.rules().await?;
    ensure!(rules.len() > 20, "the rules are somewhere else");
    let mut series = 0;
    for (name, expression) in &rules {
        for selector in Selector::all_in(expression) {
            let text = selector.to_string();
            let exists = wait_until(&text, async || prometheus.has_data(&text).await);
            exists
                .await
                .with_context(|| format!("nobody exports what {name} asks for"))?;
            series += 1;
        }
    }
    let adapters = adapters()?;
    for query in &adapters {
        let asked = wait_until(query, async || prometheus.has_data(query).await);
        asked.await.context("the adapter's rule")?;
    }
    Ok(format!(
        "{} queries of panels have data; {} rules and alerts ask {series} times for series, all there; \
         so is what {} rule of the metrics adapter asks for",
        panels.len(),
        rules.len(),
        adapters.len(),
    ))
}

/// What the metrics adapter makes of its rules, with the only label that a sink has outside
/// of Kubernetes in the place of the namespace.
fn adapters() -> Result<Vec<String>> {
    let file = repository().join("deploy/kubernetes/prometheus-adapter.yaml");
    let text = std::fs::read_to_string(file)?;
    let value = |line: &str, key: &str| Some(line.trim().strip_prefix(key)?.to_owned());
    let series = text
        .lines()
        .filter_map(|line| value(line, "- seriesQuery: "));
    let queries = text
        .lines()
        .filter_map(|line| value(line, "metricsQuery: "));
    let queries: Vec<String> = series
        .zip(queries)
        .map(|(series, query)| {
            let metric = series.split('{').next().unwrap_or_default();
            query
                .replace("<<.Series>>", metric)
                .replace("<<.LabelMatchers>>", r#"job="plaudit-sink""#)
                .replace("<<.GroupBy>>", "job")
        })
        .collect();
    ensure!(
        !queries.is_empty(),
        "the adapter's rules are somewhere else"
    );
    Ok(queries)
}

/// What each service is told: open to all, and by TLS.
fn settings(authority: &Authority) -> Result<Vec<Setting>> {
    let mut settings = vec![
        Setting::new("auth.mode", "open"),
        // So that one read is in the way of another.
        Setting::new("query.max_concurrent", "1"),
    ];
    for service in ["intake", "query"] {
        let shown = authority.certify(service, 2040)?;
        for (key, file) in [("cert", shown.cert_file), ("key", shown.key_file)] {
            let key = format!("{service}.tls.{key}_file");
            settings.push(Setting::new(key, file.display().to_string()));
        }
    }
    Ok(settings)
}

/// Requests that are refused, a few a second.
async fn misuse(api: Api, stop: CancellationToken) -> Result<()> {
    while !stop.is_cancelled() {
        let without_trace = json!({"metric": "helpful", "value": true});
        ensure!(api.post("/v1/feedback", &without_trace).await?.status == 400);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn read(api: Api, stop: CancellationToken) -> Result<()> {
    while !stop.is_cancelled() {
        for path in ["/v1/metrics", "/v1/feedback?limit=10"] {
            let status = api.get(path).await?.status;
            ensure!([200, 503].contains(&status), "{path} is answered {status}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
