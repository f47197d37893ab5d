//! ClickHouse, asked as somebody would who believes neither `plaudit-store` nor the query
//! API: SQL over bare HTTP.
//!
//! For who checks what Plaudit has done, and for nobody else. The tables and the view
//! that are asked are public.

use anyhow::{Context, bail};
use plaudit_store::ClickhouseConfig;
use plaudit_tls::Trust;
use reqwest::{Client, Response};

/// Asks one database.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    http: Client,
    config: ClickhouseConfig,
}

impl Witness {
    /// # Errors
    /// When no HTTP client can be set up, or it has nobody to trust.
    pub(crate) fn new(config: &ClickhouseConfig) -> anyhow::Result<Self> {
        let trust = Trust::towards(&config.url, "clickhouse.ca_file", config.ca_file.as_deref())?;
        let http = trust.http_client().no_proxy().build();
        Ok(Self {
            http: http.context("set up an HTTP client")?,
            config: config.clone(),
        })
    }

    /// The whole answer.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or with what it says.
    pub(crate) async fn query(&self, sql: &str) -> anyhow::Result<String> {
        let answer = self.ask(sql).await?;
        answer.text().await.context("read ClickHouse's answer")
    }

    /// Hands each line of the answer to `take`, however long the answer is.
    ///
    /// # Errors
    /// When ClickHouse does not answer to the end, or `take` fails.
    pub(crate) async fn lines(
        &self,
        sql: &str,
        mut take: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut answer = self.ask(sql).await?;
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = answer.chunk().await.context("read ClickHouse's answer")? {
            rest.extend_from_slice(&chunk);
            let whole = rest.iter().rposition(|byte| *byte == b'\n');
            let lines: Vec<u8> = rest.drain(..whole.map_or(0, |end| end + 1)).collect();
            std::str::from_utf8(&lines)?
                .lines()
                .try_for_each(&mut take)?;
        }
        std::str::from_utf8(&rest)?.lines().try_for_each(take)
    }

    async fn ask(&self, sql: &str) -> anyhow::Result<Response> {
        let request = self
            .http
            .post(&self.config.url)
            .header("x-clickhouse-user", &self.config.user)
            .header("x-clickhouse-key", self.config.password.expose())
            .header("x-clickhouse-database", &self.config.database)
            .body(sql.to_owned());
        let answer = request.send().await.context("ask ClickHouse")?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.context("read ClickHouse's answer")?;
        bail!("ClickHouse answers {status}: {}", text.trim())
    }
}
