//! What the engine is told: where it lives, what it may use, who may ask.
//!
//! Two generated files in the engine's directory: `server.xml` (limits, log) and
//! `users.xml` (the one user and its rights). They are written anew at each start;
//! editing them changes nothing.
//!
//! The server is as wide as a laptop needs. The user `default` has no password,
//! so it has no right that reaches outside the engine: a page in somebody's
//! browser can post to loopback, and must not find `file()` or `url()` there.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::EngineError;

/// Where an engine lives and what it may use.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The shared library `libchdb.so` (`libchdb.dylib` on macOS).
    pub library: PathBuf,
    /// The engine's directory: its tables (`data/`), its two configuration files and
    /// its log. Made when it is not there.
    pub directory: PathBuf,
    /// Where the HTTP server listens: a loopback address.
    pub host: IpAddr,
    /// The port of the HTTP server. 0 is not a port: the caller chooses.
    pub http_port: u16,
    /// Memory that the whole engine may use, in bytes. A query that would need more
    /// fails; the process does not.
    pub max_memory_bytes: u64,
}

impl EngineConfig {
    /// The memory an engine gets when nobody says: 2 GiB.
    pub const DEFAULT_MAX_MEMORY_BYTES: u64 = 2 << 30;

    /// An engine on 127.0.0.1 with the default memory.
    pub fn new(library: PathBuf, directory: PathBuf, http_port: u16) -> Self {
        Self {
            library,
            directory,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_port,
            max_memory_bytes: Self::DEFAULT_MAX_MEMORY_BYTES,
        }
    }

    /// Where the engine's HTTP server is to be found.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.http_port)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("clickhouse.log")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    /// Makes the directory and writes both files into it.
    pub(crate) fn prepare(&self) -> Result<(), EngineError> {
        let data = self.directory.join("data");
        fs::create_dir_all(&data)
            .map_err(|source| EngineError::Directory { path: data, source })?;
        for (name, text) in [
            ("server.xml", self.server_xml()?),
            ("users.xml", users_xml()),
        ] {
            let path = self.directory.join(name);
            fs::write(&path, text).map_err(|source| EngineError::Directory { path, source })?;
        }
        Ok(())
    }

    /// The engine's command line. `hold` is the id of the query that keeps it up.
    pub(crate) fn arguments(&self, hold: &str) -> Result<Vec<String>, EngineError> {
        Ok(vec![
            "clickhouse".to_owned(),
            format!("--path={}", text(&self.directory.join("data"))?),
            format!("--http_port={}", self.http_port),
            format!("--listen_host={}", self.host),
            format!(
                "--config-file={}",
                text(&self.directory.join("server.xml"))?
            ),
            // The level in the file is not read; this one is.
            "--log-level=warning".to_owned(),
            format!("--query_id={hold}"),
            // The engine is up while its command line has work. A row that sleeps a
            // quarter of a second bounds how long a stop takes; there are rows for ever.
            "--query=SYSTEM START LISTEN HTTP; \
             SELECT sleepEachRow(0.25) FROM numbers(1000000000000) \
             SETTINGS max_block_size = 1 FORMAT Null"
                .to_owned(),
        ])
    }

    fn server_xml(&self) -> Result<String, EngineError> {
        let log = self.log();
        let users = self.directory.join("users.xml");
        Ok(format!(
            "<clickhouse>
  <logger><log>{log}</log><size>10M</size><count>2</count><console>0</console></logger>
  <users_config>{users}</users_config>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>{MARK_CACHE_BYTES}</mark_cache_size>
  <max_concurrent_queries>100</max_concurrent_queries>
  <max_connections>1024</max_connections>
  <!-- Shorter than the engine waits for connections when it stops: one that is idle
       still by then makes it end the whole process as failed. -->
  <keep_alive_timeout>3</keep_alive_timeout>
  <background_pool_size>2</background_pool_size>
  <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <merge_tree>
    <!-- At most what the pool above has: a larger number keeps tables from being made. -->
    <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>2</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
{handlers}</clickhouse>
",
            handlers = inner(METRICS),
            log = escape(text(&log)?),
            users = escape(text(&users)?),
            memory = self.max_memory_bytes,
        ))
    }
}

/// What Prometheus reads of any ClickHouse that Plaudit uses, this one too.
const METRICS: &str = include_str!("../../../deploy/clickhouse/metrics.xml");

/// Enough for the marks of some hundred million rows.
const MARK_CACHE_BYTES: u64 = 64 << 20;

/// A query gets another thread for so much free memory: with the server's default of a
/// gigabyte, an engine of two would run each on one.
const MEMORY_PER_THREAD_BYTES: u64 = 128 << 20;

/// What the one user may do, everywhere: all that tables need, nothing that opens a
/// file or a connection.
const GRANTS: &str = "SHOW, SELECT, INSERT, ALTER, CREATE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, \
     CHECK, KILL QUERY, MOVE PARTITION BETWEEN SHARDS, SYSTEM, dictGet, INTROSPECTION, \
     CLUSTER, REMOTE, KAFKA";

/// The table engines that the user may use. `File`, `URL`, `S3` and their like are not
/// among them.
const TABLE_ENGINES: [&str; 13] = [
    "MergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "Distributed",
    "Memory",
    "Null",
    "Set",
    "Join",
    "Buffer",
    "Kafka",
    "Merge",
];

/// What is within the one element of a file of the server's configuration.
fn inner(xml: &str) -> &str {
    let (_, inner) = xml.split_once("<clickhouse>\n").unwrap_or_default();
    inner.rsplit_once("</clickhouse>").unwrap_or_default().0
}

fn users_xml() -> String {
    let engines: String = TABLE_ENGINES
        .iter()
        .map(|engine| format!("<query>GRANT TABLE ENGINE ON {engine}</query>\n      "))
        .collect();
    format!(
        "<clickhouse>
  <profiles><default>
    <max_threads_min_free_memory_per_thread>{MEMORY_PER_THREAD_BYTES}</max_threads_min_free_memory_per_thread>
  </default></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.0/8</ip><ip>::1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
      <query>GRANT {GRANTS} ON *.*</query>
      {engines}</grants>
    </default>
  </users>
</clickhouse>
"
    )
}

/// A path as text: the engine's command line and files carry nothing else.
fn text(path: &Path) -> Result<&str, EngineError> {
    path.to_str()
        .filter(|text| !text.chars().any(char::is_control))
        .ok_or_else(|| EngineError::Path(path.to_owned()))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &str) -> EngineConfig {
        EngineConfig::new("libchdb.so".into(), directory.into(), 8123)
    }

    #[test]
    fn a_directory_with_markup_in_its_name_stays_a_path() {
        let xml = config("/tmp/a&b<c>").server_xml().unwrap();
        assert!(xml.contains("<log>/tmp/a&amp;b&lt;c&gt;/clickhouse.log</log>"));
    }

    #[test]
    fn prometheus_has_something_to_read() {
        let xml = config("/tmp/x").server_xml().unwrap();
        assert_eq!(xml.matches("<clickhouse>").count(), 1);
        assert!(xml.contains("<url>/plaudit/metrics</url>"));
    }

    #[test]
    fn a_path_that_cannot_be_said_is_refused() {
        let refused = config("/tmp/a\nb").arguments("hold");
        assert!(matches!(refused, Err(EngineError::Path(_))));
    }

    #[test]
    fn the_user_has_no_right_that_leaves_the_engine() {
        let xml = users_xml();
        for right in [
            " FILE",
            " URL",
            " S3",
            " HDFS",
            " ODBC",
            " MYSQL",
            "SOURCES",
            "ENGINE ON *",
        ] {
            assert!(!xml.contains(right), "{right}");
        }
    }
}
