//! How the query service is run (`query.*`).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use plaudit_service::{ConnectionsConfig, TlsConfig};
use serde::{Deserialize, Serialize};

/// The query service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Items of a page when the request names no `limit`.
    pub default_limit: usize,
    /// The largest `limit`. A page of more than 32 MiB is refused whatever its limit.
    pub max_limit: usize,
    /// How long a read may take; then it is ended and answered with 503.
    ///
    /// The server is given the same time, in whole seconds.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Reads at one time; one more is answered with 503 at once, or waits if it is
    /// about receipts.
    pub max_concurrent: usize,
    /// TLS of the API.
    pub tls: TlsConfig,
    /// Bounds on connections.
    pub connections: ConnectionsConfig,
    /// Receipts.
    pub receipts: ReceiptsConfig,
}

/// Waiting for receipts (`query.receipts.*`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiptsConfig {
    /// Between two looks at the ledger while somebody waits. All who wait share
    /// one look, so this is the load on ClickHouse whatever their number.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// The longest wait; a larger `timeout_ms` counts as this.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
    /// Receipts of one request. The intake asks for all events of one at a time,
    /// so this must not be below its limit of these.
    pub max_receipts: usize,
    /// Requests that wait at one time; one more is answered with 503.
    pub max_waiting: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            default_limit: 100,
            max_limit: 1000,
            timeout: Duration::from_secs(10),
            max_concurrent: 64,
            tls: TlsConfig::default(),
            connections: ConnectionsConfig::default(),
            receipts: ReceiptsConfig::default(),
        }
    }
}

impl Default for ReceiptsConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(25),
            max_wait: Duration::from_secs(30),
            max_receipts: 10_000,
            max_waiting: 1024,
        }
    }
}

impl QueryConfig {
    /// Every problem, by the key that the user typed.
    pub fn problems(&self) -> Vec<String> {
        let receipts = &self.receipts;
        let checks = [
            (
                self.default_limit == 0,
                "query.default_limit: must be at least 1",
            ),
            (
                self.max_limit > 10_000,
                "query.max_limit: must be at most 10000",
            ),
            (
                self.max_limit < self.default_limit,
                "query.max_limit: must not be below query.default_limit",
            ),
            (self.timeout.is_zero(), "query.timeout: must not be zero"),
            (
                self.max_concurrent == 0,
                "query.max_concurrent: must be at least 1",
            ),
            (
                receipts.poll_interval < Duration::from_millis(1),
                "query.receipts.poll_interval: must be at least 1ms",
            ),
            (
                !(1..=10_000).contains(&receipts.max_receipts),
                "query.receipts.max_receipts: must be 1 to 10000",
            ),
            (
                receipts.max_waiting == 0,
                "query.receipts.max_waiting: must be at least 1",
            ),
        ];
        let problems = checks.into_iter().filter(|(wrong, _)| *wrong);
        problems
            .map(|(_, problem)| problem.to_owned())
            .chain(self.tls.problems("query.tls"))
            .chain(self.connections.problems("query.connections"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_names_its_key() {
        assert_eq!(QueryConfig::default().problems(), Vec::<String>::new());
        let config = QueryConfig {
            default_limit: 0,
            max_limit: 10_001,
            timeout: Duration::ZERO,
            max_concurrent: 0,
            connections: ConnectionsConfig {
                max: 0,
                ..ConnectionsConfig::default()
            },
            receipts: ReceiptsConfig {
                poll_interval: Duration::ZERO,
                max_receipts: 0,
                max_waiting: 0,
                ..ReceiptsConfig::default()
            },
            ..QueryConfig::default()
        };
        let problems = config.problems();
        assert_eq!(problems.len(), 8, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.starts_with("query.")));
    }
}
