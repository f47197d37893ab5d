//! The connection that every query and insert goes through.

use std::fmt;
use std::sync::{Arc, Mutex};

use clickhouse::{Client, Compression};
use plaudit_tls::TlsError;

use crate::native::Buffers;
use crate::{ClickhouseConfig, InsertCompression, StoreError, transport};

/// A ClickHouse server and a database on it. Cloning shares the connections.
#[derive(Clone)]
pub struct Store {
    client: Client,
    config: ClickhouseConfig,
    /// Of the block that is made; one at a time, and shared by clones.
    pub(crate) buffers: Arc<Mutex<Buffers>>,
}

impl Store {
    /// A store that connects when it is first asked something.
    ///
    /// # Errors
    /// [`TlsError`] when an `https` server could not be believed, whoever it is: the
    /// certificates to check its own by cannot be had.
    pub fn new(config: ClickhouseConfig) -> Result<Self, TlsError> {
        let client = transport::client(&config)?
            .with_url(&config.url)
            .with_user(&config.user)
            .with_password(config.password.expose())
            .with_compression(match config.compression {
                InsertCompression::None => Compression::None,
                InsertCompression::Lz4 => Compression::Lz4,
            })
            // What a majority of replicas has is seen: of two folds at least one sees both
            // writes. Without replicas this says nothing.
            .with_setting("select_sequential_consistency", "1")
            // Queries name `{database}.table` themselves, so that `migrate` can
            // speak to a server on which the database is not made yet.
            .with_product_info("plaudit", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            client: config.cluster.configure(client),
            config,
            buffers: Arc::default(),
        })
    }

    /// Whether a request is carried out by several servers, so that some of it may be
    /// under way when the answer says that it failed.
    pub fn is_cluster(&self) -> bool {
        self.config.cluster.name.is_some()
    }

    /// Stores of which each speaks to one of the servers that have to be told by
    /// themselves what concerns them all: this one, unless `clickhouse.cluster.nodes`
    /// says otherwise.
    pub(crate) fn nodes(&self) -> Vec<Self> {
        let nodes = &self.config.cluster.nodes;
        if nodes.is_empty() {
            return vec![self.clone()];
        }
        let at = |url: &String| Self {
            client: self.client.clone().with_url(url),
            config: ClickhouseConfig {
                url: url.clone(),
                ..self.config.clone()
            },
            buffers: Arc::clone(&self.buffers),
        };
        nodes.iter().map(at).collect()
    }

    /// How the server is reached.
    pub fn config(&self) -> &ClickhouseConfig {
        &self.config
    }

    /// Asks the server whether it answers at all.
    ///
    /// # Errors
    /// [`StoreError`] with verdict `Away` when nothing answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.within(self.query("SELECT 1").fetch_one::<u8>())
            .await?;
        Ok(())
    }

    /// Waits for an answer, for as long as `clickhouse.timeout`.
    pub(crate) async fn within<T>(
        &self,
        answer: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.config.timeout, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(StoreError::timed_out()),
        }
    }

    /// A query, whose placeholders `cluster` explains.
    pub(crate) fn query(&self, sql: &str) -> clickhouse::query::Query {
        self.client.query(&self.named(sql))
    }

    /// SQL with its placeholders filled in.
    pub(crate) fn named(&self, sql: &str) -> String {
        self.config.statement(sql).unwrap_or_default()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("url", &self.config.url)
            .finish_non_exhaustive()
    }
}
