//! Numbered migrations, applied once and safe to apply again.

use crate::schema::{Asked, Versions};
use crate::{Store, StoreError};

/// The migrations, in order. Never change one that was released: add the next.
const MIGRATIONS: &[(u32, &str, &str)] = &[
    (
        1,
        "feedback",
        include_str!("../migrations/0001_feedback.sql"),
    ),
    (
        2,
        "other_orders",
        include_str!("../migrations/0002_other_orders.sql"),
    ),
    (3, "current", include_str!("../migrations/0003_current.sql")),
    (
        4,
        "one_table",
        include_str!("../migrations/0004_one_table.sql"),
    ),
    (
        5,
        "every_insert_counts",
        include_str!("../migrations/0005_every_insert_counts.sql"),
    ),
    (
        6,
        "strings_in_one_file",
        include_str!("../migrations/0006_strings_in_one_file.sql"),
    ),
    (
        7,
        "blocks_and_merges",
        include_str!("../migrations/0007_blocks_and_merges.sql"),
    ),
];

/// What `migrate` did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Migrated {
    /// The names of the migrations that were not there yet.
    pub applied: Vec<&'static str>,
    /// The schema's version now.
    pub version: u32,
}

/// Why the schema is not what this binary needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// A statement failed.
    #[error("cannot apply migration `{name}`")]
    Statement {
        /// The migration.
        name: &'static str,
        /// Why.
        source: StoreError,
    },
    /// The server could not be asked.
    #[error("cannot read the schema's version")]
    Version(#[source] StoreError),
    /// A newer Plaudit made the schema.
    #[error("the schema has version {found}, newer than the {known} this binary knows: upgrade it")]
    Newer {
        /// The schema's version.
        found: u32,
        /// This binary's.
        known: u32,
    },
    /// The tables are those of one server, or those of a cluster, and not as the settings
    /// have it.
    #[error("the database holds the tables of {holds}: {advice}")]
    Shape {
        /// What they are of.
        holds: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// One of several nodes could not be brought to this version.
    #[error("cannot migrate {url}")]
    Node {
        /// Which, of `clickhouse.cluster.nodes`.
        url: String,
        /// Why.
        source: Box<MigrateError>,
    },
    /// The schema is older, or not there.
    #[error("the schema has version {found} and this binary needs {known}: run `plaudit migrate`")]
    Older {
        /// The schema's version, 0 when there is none.
        found: u32,
        /// This binary's.
        known: u32,
    },
    /// A column is not as the migrations made it.
    #[error("the column `{column}` is {found} and this binary needs {needed}")]
    Column {
        /// Table and column.
        column: String,
        /// Its type, or that it is missing.
        found: String,
        /// The type that is needed.
        needed: String,
    },
}

impl Store {
    /// The version of the schema that this binary needs.
    pub const SCHEMA_VERSION: u32 = {
        let mut highest = 0;
        let mut index = 0;
        while index < MIGRATIONS.len() {
            #[expect(clippy::indexing_slicing, reason = "below the length, in a constant")]
            let (version, _, _) = MIGRATIONS[index];
            highest = version;
            index += 1;
        }
        highest
    };

    /// Makes the database and brings its tables to this binary's version, on every server
    /// of a cluster.
    ///
    /// Safe to run again, and by several at once: every statement is idempotent.
    ///
    /// # Errors
    /// Names the migration that failed; those before it are in place.
    pub async fn migrate(&self) -> Result<Migrated, MigrateError> {
        if self.config().cluster.nodes.is_empty() {
            return self
                .migrate_from(self.versions(Asked::Replicas).await?)
                .await;
        }
        let mut migrated = Migrated {
            applied: Vec::new(),
            version: Self::SCHEMA_VERSION,
        };
        for node in self.nodes() {
            let failed = |source| MigrateError::Node {
                url: node.config().url.clone(),
                source: Box::new(source),
            };
            let found = node.versions(Asked::Node).await.map_err(failed)?;
            let applied = node.migrate_from(found).await.map_err(failed)?.applied;
            // One that was added later has all of them to come.
            if applied.len() > migrated.applied.len() {
                migrated.applied = applied;
            }
        }
        Ok(migrated)
    }

    async fn migrate_from(&self, found: Versions) -> Result<Migrated, MigrateError> {
        let failed = |name| move |source: StoreError| MigrateError::Statement { name, source };
        let known = Self::SCHEMA_VERSION;
        if found.highest > known {
            let found = found.highest;
            return Err(MigrateError::Newer { found, known });
        }
        self.execute("CREATE DATABASE IF NOT EXISTS {db}{on_cluster}")
            .await
            .map_err(failed("database"))?;
        let mut applied = Vec::new();
        for (version, name, statements) in self.migrations() {
            if version <= found.lowest {
                continue;
            }
            for statement in &statements {
                self.execute(statement).await.map_err(failed(name))?;
            }
            self.record(version, name).await.map_err(failed(name))?;
            applied.push(name);
        }
        self.apply_retention().await.map_err(failed("retention"))?;
        Ok(Migrated {
            applied,
            version: known,
        })
    }

    /// Every migration's version, name and statements, as this store's servers are told
    /// them.
    pub fn migrations(&self) -> Vec<(u32, &'static str, Vec<String>)> {
        let said = |(version, name, sql): &(u32, &'static str, &str)| {
            let statements = statements(sql).into_iter();
            let statements = statements.filter_map(|sql| self.config().statement(&sql));
            (*version, *name, statements.collect())
        };
        MIGRATIONS.iter().map(said).collect()
    }

    /// Notes that the migrations up to this one are applied.
    ///
    /// On one server as a row. Each node of a cluster has a view instead, whose comment is
    /// the version: DDL reaches every node, a row only the one that it is sent to.
    async fn record(&self, version: u32, name: &str) -> Result<(), StoreError> {
        if self.is_cluster() {
            let applied = MIGRATIONS.iter().take_while(|(one, ..)| *one <= version);
            let rows = applied.map(|(version, name, _)| format!("({version}, '{name}')"));
            let rows = rows.collect::<Vec<_>>().join(", ");
            let view = format!(
                "CREATE OR REPLACE VIEW {{db}}.migrations{{on_cluster}} AS
                SELECT * FROM VALUES('version UInt32, name String', {rows}) COMMENT '{version}'"
            );
            return self.execute(&view).await;
        }
        let table = "CREATE TABLE IF NOT EXISTS {db}.migrations
            (version UInt32, name String, applied_at DateTime DEFAULT now())
            ENGINE = ReplacingMergeTree ORDER BY version";
        self.execute(table).await?;
        let row =
            format!("INSERT INTO {{db}}.migrations (version, name) VALUES ({version}, '{name}')");
        self.execute(&row).await
    }

    pub(crate) async fn execute(&self, sql: &str) -> Result<(), StoreError> {
        // Not a template for the client: a `?` in a comment is just that.
        Ok(self.client().query_raw(&self.named(sql)).execute().await?)
    }
}

/// The statements of a migration, with its placeholder in the form of
/// [`Store::named`]. Comments stand on lines of their own.
fn statements(sql: &str) -> Vec<String> {
    let code: Vec<&str> = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let code = code.join("\n").replace("{database}", "{db}");
    let statements = code
        .split(";\n")
        .map(|statement| statement.trim().trim_end_matches(';'));
    statements
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClickhouseConfig;

    #[test]
    fn migrations_are_numbered_without_gaps_and_idempotent() {
        for (index, (version, name, sql)) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(*version).unwrap(), index + 1, "{name}");
            for statement in statements(sql) {
                assert!(is_idempotent(&statement), "{name}: {statement}");
            }
        }
        let said = |name: Option<&str>| {
            let mut config = ClickhouseConfig::default();
            config.cluster.name = name.map(str::to_owned);
            Store::new(config).unwrap().migrations()
        };
        assert_eq!(said(None)[0].2.len(), 3);
        assert_eq!(said(Some("c"))[0].2.len(), 6);
        assert_eq!(Store::SCHEMA_VERSION, 7);
        let left = |(.., sql): (u32, _, Vec<String>)| sql.concat().contains('{');
        assert!(!said(None).into_iter().any(left));
    }

    fn is_idempotent(statement: &str) -> bool {
        let statement = statement
            .trim_start_matches("{if single} ")
            .trim_start_matches("{if cluster} ");
        let once =
            statement.contains("IF NOT EXISTS {db}.") || statement.contains("IF EXISTS {db}.");
        let adds = statement.matches("    ADD ").count();
        let says = statement.starts_with("ALTER TABLE {db}.");
        once || (says && adds == statement.matches(" IF NOT EXISTS ").count())
    }
}
