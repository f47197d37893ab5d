//! The port that Prometheus and the orchestrator use: `/metrics`, `/healthz`,
//! `/readyz`.
//!
//! It is apart from the service's own port so that probes answer while the
//! service is full, and so that metrics are not public where the API is.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics::{Gauge, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{ConnectionsConfig, HttpServer};

/// Where metrics and probes are served (`observe.*`).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObserveConfig {
    /// Address of `/metrics`, `/healthz` and `/readyz`. Without one it is
    /// loopback with the service's own port: 9101 intake, 9102 sink, 9103 query.
    pub listen: Option<SocketAddr>,
}

/// Renders the process's metrics.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

/// Why metrics are not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// The recorder is there already, or a bucket list is empty.
    #[error("cannot install the metrics recorder")]
    Recorder(#[source] BuildError),
}

/// What stands between a service and its work: ready when nothing does.
///
/// Each condition has a name, so that `/readyz` says why. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, String>>>);

/// Whether `/readyz` says yes: 1 or 0. The same name in every service, which the job tells apart.
const READY: &str = "plaudit_ready";

/// Seconds; from a fast acknowledgement to a slow insert.
const SECONDS_BUCKETS: [f64; 16] = [
    0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 30.0, 120.0,
];

/// Counts of rows, records and bytes.
const COUNT_BUCKETS: [f64; 12] = [
    1.0, 10.0, 100.0, 500.0, 1e3, 5e3, 1e4, 5e4, 1e5, 1e6, 1e7, 1e8,
];

/// Connections of probes and scrapers.
const CONNECTIONS: usize = 256;

/// How long one of them may say nothing, or take nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the last of them may take when everything else has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// How often the recorder folds its histograms; it grows between two of these.
const UPKEEP: Duration = Duration::from_secs(5);

// === impl Readiness ===

impl Readiness {
    /// A service that waits for `conditions`, each not met yet.
    pub fn waiting_for(conditions: &[&'static str]) -> Self {
        let waits = conditions.iter().map(|name| (*name, "starting".to_owned()));
        Self(Arc::new(Mutex::new(waits.collect())))
    }

    /// The condition is met.
    pub fn clear(&self, condition: &'static str) {
        self.conditions().remove(condition);
    }

    /// The condition is not met, and why.
    pub fn block(&self, condition: &'static str, reason: impl Into<String>) {
        self.conditions().insert(condition, reason.into());
    }

    /// Meets or blocks a condition.
    pub fn set(&self, condition: &'static str, met: bool, reason: &str) {
        if met {
            self.clear(condition);
        } else {
            self.block(condition, reason);
        }
    }

    /// Whether the service can do its work.
    pub fn is_ready(&self) -> bool {
        self.conditions().is_empty()
    }

    /// What is in the way: a line a condition.
    pub fn reasons(&self) -> String {
        let lines = self.conditions();
        let lines = lines
            .iter()
            .map(|(name, reason)| format!("{name}: {reason}\n"));
        lines.collect()
    }

    fn conditions(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        // A panic elsewhere does not make the map wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === metrics and probes ===

/// Makes this process record metrics, with buckets for every histogram.
///
/// # Errors
/// [`ObserveError::Recorder`] when a recorder is installed already.
pub fn install_metrics() -> Result<MetricsHandle, ObserveError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
        .and_then(|builder| builder.set_buckets(&COUNT_BUCKETS))
        .and_then(PrometheusBuilder::install_recorder)
        .map(MetricsHandle)
        .map_err(ObserveError::Recorder)
}

/// Serves `/metrics`, `/healthz` and `/readyz` until `stop`.
pub async fn serve(
    listener: TcpListener,
    metrics: MetricsHandle,
    readiness: Readiness,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    describe_gauge!(
        READY,
        "1 when the service can do its work, 0 when /readyz says what it waits for"
    );
    let upkeep = metrics.clone();
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(readiness.clone()))
        .route("/metrics", get(render).with_state((metrics, readiness)));
    // Whoever probes asks a line and takes a page: a connection that does less is cut
    // long before the service is waited for.
    let connections = ConnectionsConfig {
        max: CONNECTIONS,
        header_timeout: PATIENCE,
        write_timeout: PATIENCE,
        ..ConnectionsConfig::default()
    };
    let mut server = HttpServer::new(router, &connections, Gauge::noop());
    tokio::select! {
        () = server.accept(&listener) => {}
        () = keep_up(upkeep) => {}
        () = stop => {}
    }
    drop(listener);
    server.drain(DRAIN).await;
}

async fn keep_up(metrics: MetricsHandle) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        metrics.0.run_upkeep();
    }
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    if readiness.is_ready() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, readiness.reasons())
    }
}

async fn render(
    State((metrics, readiness)): State<(MetricsHandle, Readiness)>,
) -> impl IntoResponse {
    gauge!(READY).set(if readiness.is_ready() { 1.0 } else { 0.0 });
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, metrics.0.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_nothing_is_in_the_way() {
        let readiness = Readiness::waiting_for(&["kafka", "clickhouse"]);
        assert!(!readiness.is_ready());
        readiness.clear("kafka");
        readiness.block("clickhouse", "connection refused");
        assert_eq!(readiness.reasons(), "clickhouse: connection refused\n");
        readiness.set("clickhouse", true, "");
        assert!(readiness.is_ready());
    }
}
