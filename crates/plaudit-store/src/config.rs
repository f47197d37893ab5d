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
    /// Applied as a TTL by `plaudit migrate`. What hides a feedback outlives it.
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
            ..ClickhouseConfig::default()
        };
        let keys: Vec<_> = config.problems();
        assert_eq!(keys.len(), 4);
        assert!(
            keys.iter()
                .all(|problem| problem.starts_with("clickhouse."))
        );
    }
}
