//! How ClickHouse is reached (`clickhouse.*`).

use std::path::PathBuf;
use std::time::Duration;

use plaudit_service::Secret;
use serde::{Deserialize, Serialize};

/// The server, and how Plaudit uses it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClickhouseConfig {
    /// The HTTP interface; with `https://` the server's certificate is checked.
    pub url: String,
    /// The authorities in PEM, and no others, by which it is checked; without a file,
    /// those of this machine.
    pub ca_file: Option<PathBuf>,
    /// The database; `plaudit migrate` makes it.
    pub database: String,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// How long feedback is kept after it was received; absent, for ever.
    ///
    /// Applied as a TTL by `plaudit migrate`. What hides a feedback outlives it by 30 days,
    /// and so do outcomes, by 60.
    #[serde(with = "humantime_serde")]
    pub retention: Option<Duration>,
    /// How long one request may take before it counts as unanswered.
    ///
    /// An insert that is not answered is sent again, so this must be below
    /// Kafka's `max.poll.interval.ms`.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How batches are compressed on their way to the server.
    pub compression: InsertCompression,
    /// Several servers that share the tables.
    pub cluster: ClusterConfig,
}

/// Several ClickHouse servers that share the tables (`clickhouse.cluster.*`).
///
/// Chosen once: `plaudit migrate` makes the tables of a cluster, and no others become it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// The cluster, as the servers' `remote_servers` name it; absent, there is one server.
    pub name: Option<String>,
    /// Whether each shard has replicas: the tables replicate, and a write is answered when
    /// a majority has it.
    ///
    /// Needs Keeper and the macros `shard` and `replica` on every server.
    pub replicated: bool,
    /// The HTTP interfaces of all servers, to each of which Plaudit says what concerns it:
    /// the tables, and what is deleted. Empty, that is said `ON CLUSTER`, which needs Keeper.
    pub nodes: Vec<String>,
}

/// How batches are compressed on their way to the server.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InsertCompression {
    /// Not at all: the cheapest where the server is near.
    None,
    /// LZ4: about a third of the bytes.
    #[default]
    Lz4,
}

impl Default for ClickhouseConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".to_owned(),
            ca_file: None,
            database: "plaudit".to_owned(),
            user: "default".to_owned(),
            password: Secret::default(),
            retention: None,
            timeout: Duration::from_secs(60),
            compression: InsertCompression::default(),
            cluster: ClusterConfig::default(),
        }
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: None,
            replicated: true,
            nodes: Vec::new(),
        }
    }
}

impl ClickhouseConfig {
    /// Every problem, by the key that the user typed.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            problems.push("clickhouse.url: must begin with http:// or https://".to_owned());
        }
        if self.ca_file.is_some() && !self.url.starts_with("https://") {
            problems.push("clickhouse.ca_file: needs an https:// clickhouse.url".to_owned());
        }
        let mut letters = self.database.chars();
        let starts_well = letters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            // It is written into DDL, which takes no parameters.
            problems.push("clickhouse.database: must be letters, digits and _".to_owned());
        }
        if self.timeout.is_zero() {
            problems.push("clickhouse.timeout: must not be zero".to_owned());
        }
        problems.extend(self.cluster.problems(&self.url));
        problems
    }
}

impl ClusterConfig {
    fn problems(&self, url: &str) -> Vec<String> {
        let mut problems = Vec::new();
        // It is written into DDL.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        match self.name.as_deref() {
            None if !self.nodes.is_empty() => problems.push(
                "clickhouse.cluster.nodes: are of no cluster without clickhouse.cluster.name"
                    .to_owned(),
            ),
            Some(name) if name.is_empty() || !name.chars().all(is_plain) => problems
                .push("clickhouse.cluster.name: must be letters, digits, _, - and .".to_owned()),
            _ => {}
        }
        // The certificate and the password are asked for in one way.
        let scheme = url.split_inclusive("://").next().unwrap_or_default();
        if self.nodes.iter().any(|node| !node.starts_with(scheme)) {
            problems.push(format!(
                "clickhouse.cluster.nodes: must begin with {scheme}, as clickhouse.url does"
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_names_its_key() {
        assert_eq!(ClickhouseConfig::default().problems(), Vec::<String>::new());
        let config = ClickhouseConfig {
            url: "localhost".to_owned(),
            ca_file: Some("ca.pem".into()),
            database: "a; DROP".to_owned(),
            timeout: Duration::ZERO,
            cluster: ClusterConfig {
                name: Some("a'b".to_owned()),
                ..ClusterConfig::default()
            },
            ..ClickhouseConfig::default()
        };
        let keys: Vec<_> = config.problems();
        assert_eq!(keys.len(), 5);
        assert!(
            keys.iter()
                .all(|problem| problem.starts_with("clickhouse."))
        );
    }

    #[test]
    fn the_nodes_of_a_cluster_are_named_and_reached_like_its_entry() {
        let problems = |name: Option<&str>, node: &str| {
            let config = ClickhouseConfig {
                url: "https://one:8443".to_owned(),
                cluster: ClusterConfig {
                    name: name.map(str::to_owned),
                    nodes: vec![node.to_owned()],
                    ..ClusterConfig::default()
                },
                ..ClickhouseConfig::default()
            };
            config.problems()
        };
        assert_eq!(
            problems(Some("c-1"), "https://two:8443"),
            Vec::<String>::new()
        );
        assert!(
            problems(Some("c-1"), "http://two:8123")[0].contains("nodes: must begin with https://")
        );
        assert!(problems(None, "https://two:8443")[0].contains("without clickhouse.cluster.name"));
    }
}
