//! Bounds on the connections of a service.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Connections (`intake.connections.*`, `query.connections.*`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsConfig {
    /// Open connections. More are answered 503 and closed. Lowered at the start to
    /// what the system's limit of open files leaves room for.
    pub max: usize,
    /// The headers of a request, in bytes; 431 beyond. It is also what a connection
    /// reads or writes at once: all of them need no more than `max` times this.
    pub header_bytes: usize,
    /// How long a connection may take to send a request's headers, and stay idle
    /// between two requests, before it is closed. Longer than a load balancer in
    /// front keeps its own (60 s is common), or requests meet a closed one.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long a client may take nothing of an answer before it is cut.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
}

/// The least that the HTTP library can work with.
const MIN_HEADER_BYTES: usize = 8 << 10;

impl Default for ConnectionsConfig {
    fn default() -> Self {
        Self {
            max: 16_384,
            header_bytes: 32 << 10,
            header_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(10),
        }
    }
}

impl ConnectionsConfig {
    /// All that is wrong, one line each, beginning with the key as it is typed;
    /// `section` is what stands before it, such as `intake.connections`.
    #[must_use]
    pub fn problems(&self, section: &str) -> Vec<String> {
        let checks = [
            (self.max == 0, "max: must be at least 1"),
            (
                self.header_bytes < MIN_HEADER_BYTES,
                "header_bytes: must be at least 8192",
            ),
            (
                self.header_timeout.is_zero(),
                "header_timeout: must be more than 0s",
            ),
            (
                self.write_timeout.is_zero(),
                "write_timeout: must be more than 0s",
            ),
        ];
        let wrong = checks.into_iter().filter(|(is_wrong, _)| *is_wrong);
        wrong
            .map(|(_, problem)| format!("{section}.{problem}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_names_its_key() {
        let good = ConnectionsConfig::default().problems("intake.connections");
        assert_eq!(good, Vec::<String>::new());
        let bad = ConnectionsConfig {
            max: 0,
            header_bytes: 100,
            header_timeout: Duration::ZERO,
            write_timeout: Duration::ZERO,
        };
        let problems = bad.problems("query.connections");
        let keys: Vec<_> = problems
            .iter()
            .filter_map(|problem| {
                problem
                    .strip_prefix("query.connections.")?
                    .split(':')
                    .next()
            })
            .collect();
        let all = ["max", "header_bytes", "header_timeout", "write_timeout"];
        assert_eq!(keys, all);
    }
}
