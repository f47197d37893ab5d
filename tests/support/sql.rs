//! Questions to a test's own database, past Plaudit.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::http::http_client;

/// The database of one test.
#[derive(Clone, Debug)]
pub struct Database {
    http: reqwest::Client,
    url: String,
    name: String,
}

/// How answers are written: plain numbers, and times in the form of the API.
const SETTINGS: &str = "output_format_json_quote_64bit_integers=0&date_time_output_format=iso";

impl Database {
    /// The database of this name, behind this HTTP interface.
    pub fn new(url: &str, name: &str) -> Self {
        Self {
            http: http_client(),
            url: url.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a statement. `{db}` stands for the database.
    ///
    /// # Errors
    /// What the server says.
    pub async fn execute(&self, sql: &str) -> Result<String> {
        let sql = sql.replace("{db}", &self.name);
        let answer = self
            .http
            .post(format!("{}/?{SETTINGS}", self.url))
            .body(sql.clone())
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{sql}: {text}");
        Ok(text)
    }

    /// The rows of a query, as JSON objects.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn rows(&self, sql: &str) -> Result<Vec<Value>> {
        let text = self.execute(&format!("{sql} FORMAT JSONEachRow")).await?;
        let parse = |line| serde_json::from_str(line).context("ClickHouse wrote no JSON");
        text.lines().map(parse).collect()
    }

    /// The one number that a query answers.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), or when it is no number.
    pub async fn number(&self, sql: &str) -> Result<i64> {
        let text = self.execute(sql).await?;
        text.trim()
            .parse()
            .with_context(|| format!("{sql}: {text}"))
    }

    /// What readers see, by metric and id.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn current(&self) -> Result<Vec<Value>> {
        self.rows("SELECT * FROM {db}.feedback_current ORDER BY metric, trace_id, id")
            .await
    }
}
