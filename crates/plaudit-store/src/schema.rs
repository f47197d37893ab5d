//! Whether the schema is the one that this binary needs, on whichever nodes there are.

use clickhouse::Row;
use serde::Deserialize;

use crate::{MigrateError, Store, StoreError};

/// The lowest and the highest version of the schema on some nodes; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, Deserialize, Row)]
pub(crate) struct Versions {
    pub(crate) lowest: u32,
    pub(crate) highest: u32,
}

/// Of which nodes something is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// The one that is connected to.
    Node,
    /// One of each shard, so that one replica of it may be away.
    Shards,
    /// All.
    Replicas,
}

impl Store {
    /// Checks that the schema is the one that this binary was built for.
    ///
    /// # Errors
    /// [`MigrateError::Older`], [`MigrateError::Newer`] and [`MigrateError::Shape`] say
    /// what to do; [`MigrateError::Column`] names what somebody changed.
    pub async fn check_schema(&self) -> Result<(), MigrateError> {
        let known = Self::SCHEMA_VERSION;
        let found = self.versions(Asked::Shards).await?;
        if found.highest > known {
            let found = found.highest;
            return Err(MigrateError::Newer { found, known });
        }
        if found.lowest < known {
            let found = found.lowest;
            return Err(MigrateError::Older { found, known });
        }
        let migrations = self.migrations().into_iter();
        let statements: Vec<String> = migrations.flat_map(|(.., sql)| sql).collect();
        self.check_columns(&statements).await
    }

    /// The versions of the schema on the nodes that are asked.
    pub(crate) async fn versions(&self, asked: Asked) -> Result<Versions, MigrateError> {
        self.check_shape().await?;
        let versions = if self.is_cluster() {
            self.versions_in_cluster(asked).await
        } else {
            self.version_of_server().await
        };
        versions.map_err(MigrateError::Version)
    }

    async fn version_of_server(&self) -> Result<Versions, StoreError> {
        const UNKNOWN_TABLE: u32 = 60;
        const UNKNOWN_DATABASE: u32 = 81;

        let sql = "SELECT max(version) AS highest, highest AS lowest FROM {db}.migrations";
        match self.within(self.query(sql).fetch_one()).await {
            Err(error) if matches!(error.code(), Some(UNKNOWN_TABLE | UNKNOWN_DATABASE)) => {
                Ok(Versions::default())
            }
            answer => answer,
        }
    }

    /// By the comments of the nodes' views: where there is none, a node has nothing yet.
    async fn versions_in_cluster(&self, asked: Asked) -> Result<Versions, StoreError> {
        let nodes = |count: &str| {
            format!("(SELECT {count} FROM system.clusters WHERE cluster = {{cluster}})")
        };
        let (expected, tables) = match asked {
            Asked::Node => ("1".to_owned(), "system.tables"),
            Asked::Shards => (
                nodes("uniqExact(shard_num)"),
                "cluster({cluster}, system.tables)",
            ),
            Asked::Replicas => (
                nodes("count()"),
                "clusterAllReplicas({cluster}, system.tables)",
            ),
        };
        let sql = format!(
            "SELECT max(version) AS highest, if(count() = {expected}, min(version), 0) AS lowest FROM (
                SELECT toUInt32OrZero(comment) AS version FROM {tables}
                WHERE database = ? AND name = 'migrations')"
        );
        let query = self.query(&sql).bind(&self.config().database);
        self.within(query.fetch_one()).await
    }

    /// Tables of one server are not made those of a cluster, nor the other way round.
    async fn check_shape(&self) -> Result<(), MigrateError> {
        let sql =
            "SELECT engine = 'View' FROM system.tables WHERE database = ? AND name = 'migrations'";
        let query = self.query(sql).bind(&self.config().database);
        let of_cluster: Option<u8> = self
            .within(query.fetch_optional())
            .await
            .map_err(MigrateError::Version)?;
        match of_cluster {
            Some(0) if self.is_cluster() => Err(MigrateError::Shape {
                holds: "one server",
                advice: "unset clickhouse.cluster.name, or choose another clickhouse.database",
            }),
            Some(1) if !self.is_cluster() => Err(MigrateError::Shape {
                holds: "a cluster",
                advice: "set clickhouse.cluster.name, or choose another clickhouse.database",
            }),
            _ => Ok(()),
        }
    }
}
