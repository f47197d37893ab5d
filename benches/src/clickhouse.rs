//! Questions to the engine, past Plaudit.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use crate::http;

/// The engine's HTTP interface.
#[derive(Clone, Debug)]
pub struct Clickhouse {
    http: reqwest::Client,
    url: String,
}

/// For so long nothing may be merged before merges count as done.
const QUIET: Duration = Duration::from_secs(2);

impl Clickhouse {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            http: http()
                .build()
                .expect("a client without TLS needs nothing of the system"),
            url: url.to_owned(),
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs a statement; returns what it answers.
    ///
    /// # Errors
    /// What the server says.
    pub async fn run(&self, sql: &str) -> anyhow::Result<String> {
        let answer = self.http.post(&self.url).body(sql.to_owned()).send().await;
        let answer = answer.context("ask ClickHouse")?;
        let status = answer.status();
        let text = answer.text().await.context("read ClickHouse's answer")?;
        ensure!(status.is_success(), "{sql}: {text}");
        Ok(text)
    }

    /// The one number that a query answers.
    ///
    /// # Errors
    /// As [`run`](Self::run), or when it is no number.
    pub async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let text = self.run(sql).await?;
        let number = text.trim().parse();
        number.with_context(|| format!("{sql}: {text}"))
    }

    /// Waits until nothing is merged any more, at most `patience`: what was written is
    /// paid for when its merges are. Returns whether it came to that.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn merged(&self, patience: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + patience;
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET && Instant::now() < deadline {
            if self.number("SELECT count() FROM system.merges").await? > 0 {
                quiet_since = Instant::now();
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(quiet_since.elapsed() >= QUIET)
    }

    /// Bytes on disk of all tables of a database.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn bytes_on_disk(&self, database: &str) -> anyhow::Result<u64> {
        let sql = format!(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '{database}'"
        );
        self.number(&sql).await
    }

    /// How many parts `feedback` has now, and how many blocks were inserted into it, each a
    /// part until it was merged.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn parts(&self, database: &str) -> anyhow::Result<(u64, u64)> {
        let of = |what| {
            format!(
                "SELECT {what} FROM system.parts \
                 WHERE active AND database = '{database}' AND table = 'feedback'"
            )
        };
        let now = self.number(&of("count()")).await?;
        let inserted = self.number(&of("max(max_block_number)")).await?;
        Ok((now, inserted))
    }

    /// Drops a database.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn drop_database(&self, database: &str) -> anyhow::Result<()> {
        self.run(&format!("DROP DATABASE IF EXISTS {database} SYNC"))
            .await?;
        Ok(())
    }
}
