//! What the query service asks: named questions with typed answers.
//!
//! Every answer is what `feedback_current` would say, whether or not parts are
//! merged: of each feedback its latest version, unless that is withdrawn or the
//! id has a retraction in `changes`. The view itself reads a whole project; the
//! questions here get the same answer through a key.
//!
//! What a user typed is always bound, never written into the text of a query.
//! Nothing here writes: the server is told so with each query.

mod feedback;
mod list;
mod metrics;
mod receipts;
mod search;
mod sql;
mod trace;

use std::fmt;
use std::time::Duration;

use clickhouse::query::Query;
use clickhouse::{Client, RowOwned, RowRead};

use crate::{MigrateError, Store, StoreError};

pub use feedback::FeedbackRow;
pub use list::{Filter, Page, Position, TargetFilter};
pub use metrics::{Group, MetricCount, MetricCounts, MetricSummary, Numbers, Quantile, ValueCount};
pub use receipts::Settled;
pub use trace::TraceMetric;

use sql::Sql;

/// Asks a [`Store`], within limits. Cloning shares the connections.
#[derive(Clone)]
pub struct Reader {
    store: Store,
    client: Client,
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The answer is larger than one may be: ask for less.
    #[error("the answer is too large")]
    TooLarge(#[source] StoreError),
    /// The query did not end in time: narrow it, or ask again.
    #[error("the query took too long")]
    TooSlow(#[source] StoreError),
    /// ClickHouse failed; see [`StoreError::verdict`].
    #[error("cannot read from ClickHouse")]
    Failed(#[source] StoreError),
}

/// How much longer than its query a request may take, so that it is the server
/// that ends it and says so.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// The most rows of one answer; no question here expects as many.
const MAX_RESULT_ROWS: u32 = 100_000;

/// The most bytes of one answer before compression: the query service has them as rows
/// and as JSON.
const MAX_RESULT_BYTES: u32 = 32 << 20;

/// The longest text of a query: a page of candidates, each a trace id and an id.
const MAX_QUERY_BYTES: u32 = 16 << 20;

impl Reader {
    /// A reader whose queries end after `timeout`, whole seconds rounded up.
    pub fn new(store: Store, timeout: Duration) -> Self {
        let seconds = timeout.as_millis().div_ceil(1000).max(1);
        let client = store
            .config()
            .cluster
            .of_any_replica(store.client().clone());
        let client = client
            // Reads, and the settings below.
            .with_setting("readonly", "2")
            // A reader takes what the replica has.
            .with_setting("select_sequential_consistency", "0")
            .with_setting("max_execution_time", seconds.to_string())
            .with_setting("max_result_rows", MAX_RESULT_ROWS.to_string())
            .with_setting("max_result_bytes", MAX_RESULT_BYTES.to_string())
            .with_setting("max_query_size", MAX_QUERY_BYTES.to_string())
            // A caller that has gone costs the server nothing more.
            .with_setting("cancel_http_readonly_queries_on_client_close", "1");
        Self {
            store,
            client,
            timeout: timeout + ANSWER_MARGIN,
        }
    }

    /// Asks whether the server answers and has the schema of this binary.
    ///
    /// # Errors
    /// What is in the way, in words for an operator.
    pub async fn check(&self) -> Result<(), MigrateError> {
        match tokio::time::timeout(self.timeout, self.store.check_schema()).await {
            Ok(checked) => checked,
            Err(_) => Err(MigrateError::Version(StoreError::timed_out())),
        }
    }

    async fn fetch_few<T: RowOwned + RowRead>(&self, sql: Sql) -> Result<Vec<T>, ReadError> {
        self.answer(self.few(sql)).await
    }

    /// What takes a few granules: threads would cost more than they bring, for the
    /// query as for each of its many short reads.
    fn few(&self, sql: Sql) -> Query {
        self.query(sql)
            .with_setting("max_threads", "1")
            .with_setting("local_filesystem_read_method", "pread")
    }

    async fn fetch<T: RowOwned + RowRead>(&self, sql: Sql) -> Result<Vec<T>, ReadError> {
        self.answer(self.query(sql)).await
    }

    fn query(&self, sql: Sql) -> Query {
        sql.into_query(|text| self.client.query(&self.store.named(text)))
    }

    async fn answer<T: RowOwned + RowRead>(&self, query: Query) -> Result<Vec<T>, ReadError> {
        match tokio::time::timeout(self.timeout, query.fetch_all()).await {
            Ok(rows) => Ok(rows.map_err(StoreError::from)?),
            Err(_) => Err(ReadError::TooSlow(StoreError::timed_out())),
        }
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        const TIMEOUT_EXCEEDED: u32 = 159;
        const TOO_MANY_ROWS_OR_BYTES: u32 = 396;

        match error.code() {
            Some(TIMEOUT_EXCEEDED) => Self::TooSlow(error),
            Some(TOO_MANY_ROWS_OR_BYTES) => Self::TooLarge(error),
            _ => Self::Failed(error),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("store", &self.store)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
