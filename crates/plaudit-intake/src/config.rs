//! The sections `intake` and `metrics` of the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use plaudit_dialects::MAX_ENTRIES;
use plaudit_event::{Limits, UnknownMetrics};
use plaudit_service::{ConnectionsConfig, TlsConfig};
use serde::{Deserialize, Serialize};

/// The intake (`intake.*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntakeConfig {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Where the query service is, such as `http://127.0.0.1:8081`. Reads are
    /// passed on to it; without one they are answered 501.
    pub query_url: Option<String>,
    /// The authorities in PEM, and no others, by which the certificate of an `https`
    /// `query_url` is checked; without a file, those of this machine.
    pub query_ca_file: Option<PathBuf>,
    /// What the links that are given out begin with, such as
    /// `https://feedback.example.com`, where that is not the `Host` of the request.
    pub public_url: Option<String>,
    /// How long a request may wait for its events to be durable. Longer than the
    /// producer's `message.timeout.ms` (7 s), or what will still land is reported
    /// as unconfirmed; shorter than the clients' patience (10 s).
    #[serde(with = "humantime_serde")]
    pub http_timeout: Duration,
    /// TLS of the API.
    pub tls: TlsConfig,
    /// Bounds on connections.
    pub connections: ConnectionsConfig,
    /// What is more than this is refused.
    pub limits: LimitsConfig,
}

/// Bounds on requests (`intake.limits.*`).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// A body as it is sent, in bytes; 413 beyond.
    pub body_bytes: usize,
    /// A body after decompression, in bytes; 413 beyond.
    pub decompressed_bytes: usize,
    /// A body of which only parts are kept (LangSmith's multipart, with runs in it),
    /// in bytes before and after decompression; 413 beyond.
    pub stream_bytes: usize,
    /// Metrics that one project may declare at run time; 400 beyond.
    pub declared_metrics: usize,
    /// Events of one request, less than 65,536; 413 beyond.
    pub events_per_request: usize,
    /// Bodies of all requests that are not answered yet, in bytes after
    /// decompression, and what is kept to decompress a multipart one; 503 beyond. The
    /// intake needs about one and a half times as much memory for them, beside the
    /// producer's queue.
    pub buffered_bytes: usize,
    /// Requests that are not answered yet, one in eight of them without a key; 503
    /// beyond.
    pub concurrent_requests: usize,
    /// Requests a second of one key, 429 beyond; a second's worth may come at
    /// once. 0 is no limit.
    pub requests_per_second: u32,
    /// How long a body may take to arrive; 408 beyond.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Bounds on each event; the item is rejected beyond.
    pub event: Limits,
}

/// Which metrics there are (`metrics.*`).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// What becomes of feedback on a metric that the file does not declare.
    pub unknown: UnknownMetrics,
    /// Declarations in TOML. SIGHUP reads the file again; a broken one changes
    /// nothing.
    pub file: Option<PathBuf>,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            query_url: None,
            query_ca_file: None,
            public_url: None,
            http_timeout: Duration::from_secs(8),
            tls: TlsConfig::default(),
            connections: ConnectionsConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            decompressed_bytes: 32 << 20,
            stream_bytes: 64 << 20,
            declared_metrics: 1000,
            events_per_request: 10_000,
            buffered_bytes: 128 << 20,
            concurrent_requests: 4096,
            requests_per_second: 0,
            body_timeout: Duration::from_secs(10),
            event: Limits::default(),
        }
    }
}

impl IntakeConfig {
    /// All that is wrong, one line each, beginning with the key as it is typed.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut problems = self.connections.problems("intake.connections");
        problems.extend(self.tls.problems("intake.tls"));
        let limits = &self.limits;
        for (key, number) in [
            ("body_bytes", limits.body_bytes),
            ("decompressed_bytes", limits.decompressed_bytes),
            ("stream_bytes", limits.stream_bytes),
            ("events_per_request", limits.events_per_request),
            ("concurrent_requests", limits.concurrent_requests),
        ] {
            if number == 0 {
                problems.push(format!("intake.limits.{key}: must be at least 1"));
            }
        }
        if limits.events_per_request >= MAX_ENTRIES {
            problems.push(format!(
                "intake.limits.events_per_request: must be less than {MAX_ENTRIES}"
            ));
        }
        for (key, duration) in [
            ("intake.http_timeout", self.http_timeout),
            ("intake.limits.body_timeout", limits.body_timeout),
        ] {
            if duration.is_zero() {
                problems.push(format!("{key}: must be more than 0s"));
            }
        }
        if limits.buffered_bytes < limits.body_bytes.max(limits.decompressed_bytes) {
            problems.push(
                "intake.limits.buffered_bytes: must be at least body_bytes and \
                 decompressed_bytes, or the largest body is never taken"
                    .to_owned(),
            );
        }
        if self.query_url.as_deref().is_some_and(|url| !is_url(url)) {
            problems.push(
                "intake.query_url: must be http://host:port or https://host:port, with a path or \
                 without"
                    .to_owned(),
            );
        }
        let is_https = |url: &String| url.starts_with("https://");
        if self.query_ca_file.is_some() && !self.query_url.as_ref().is_some_and(is_https) {
            problems.push("intake.query_ca_file: needs an https:// intake.query_url".to_owned());
        }
        if self.public_url.as_deref().is_some_and(|url| !is_url(url)) {
            problems
                .push("intake.public_url: must be https://host, with a path or without".to_owned());
        }
        problems
    }
}

fn is_url(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some()
            && uri.query().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(IntakeConfig::default().validate(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_reported_under_its_key() {
        let config = IntakeConfig {
            query_url: Some("ftp://example.test".to_owned()),
            query_ca_file: Some("ca.pem".into()),
            tls: TlsConfig {
                key_file: Some("key.pem".into()),
                ..TlsConfig::default()
            },
            http_timeout: Duration::ZERO,
            limits: LimitsConfig {
                events_per_request: 0,
                buffered_bytes: 1,
                ..LimitsConfig::default()
            },
            ..IntakeConfig::default()
        };
        let problems = config.validate();
        let keys: Vec<_> = problems
            .iter()
            .filter_map(|problem| Some(problem.split_once(": ")?.0))
            .collect();
        assert_eq!(
            keys,
            [
                "intake.tls.cert_file",
                "intake.limits.events_per_request",
                "intake.http_timeout",
                "intake.limits.buffered_bytes",
                "intake.query_url",
                "intake.query_ca_file",
            ]
        );
    }
}
