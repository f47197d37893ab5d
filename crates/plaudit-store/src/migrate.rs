//! Numbered migrations, applied once and safe to apply again.

use std::time::Duration;

use clickhouse::Row;
use serde::Deserialize;

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

/// The tables that lose what is too old.
const RETAINED: [(&str, Hides); 2] = [("feedback", Hides::Tombstones), ("changes", Hides::Patches)];

/// Which rows of a table may hide a feedback.
#[derive(Clone, Copy, Debug)]
enum Hides {
    /// Those that are deleted; the others are the feedback.
    Tombstones,
    /// Patches; what else there is, is kept for good.
    Patches,
}

/// How much longer than the feedback it hides a tombstone stays.
const TOMBSTONE_MARGIN: Duration = Duration::from_secs(30 * 24 * 3600);

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

    /// Makes the database and brings its tables to this binary's version.
    ///
    /// Safe to run again, and by several at once: every statement is idempotent.
    ///
    /// # Errors
    /// Names the migration that failed; those before it are in place.
    pub async fn migrate(&self) -> Result<Migrated, MigrateError> {
        let failed = |name| move |source: StoreError| MigrateError::Statement { name, source };
        self.execute("CREATE DATABASE IF NOT EXISTS {db}")
            .await
            .map_err(failed("database"))?;
        let versions = "CREATE TABLE IF NOT EXISTS {db}.migrations
            (version UInt32, name String, applied_at DateTime DEFAULT now())
            ENGINE = ReplacingMergeTree ORDER BY version";
        self.execute(versions).await.map_err(failed("migrations"))?;

        let found = self.schema_version().await?;
        if found > Self::SCHEMA_VERSION {
            return Err(MigrateError::Newer {
                found,
                known: Self::SCHEMA_VERSION,
            });
        }
        let mut applied = Vec::new();
        for (version, name, sql) in MIGRATIONS.iter().filter(|(version, ..)| *version > found) {
            for statement in statements(sql) {
                self.execute(&statement).await.map_err(failed(name))?;
            }
            let record = format!(
                "INSERT INTO {{db}}.migrations (version, name) VALUES ({version}, '{name}')"
            );
            self.execute(&record).await.map_err(failed(name))?;
            applied.push(*name);
        }
        self.apply_retention().await.map_err(failed("retention"))?;
        Ok(Migrated {
            applied,
            version: Self::SCHEMA_VERSION,
        })
    }

    /// Checks that the schema is the one that this binary was built for.
    ///
    /// # Errors
    /// [`MigrateError::Older`] or [`MigrateError::Newer`] say what to do;
    /// [`MigrateError::Column`] names what somebody changed.
    pub async fn check_schema(&self) -> Result<(), MigrateError> {
        let known = Self::SCHEMA_VERSION;
        match self.schema_version().await? {
            found if found > known => Err(MigrateError::Newer { found, known }),
            found if found < known => Err(MigrateError::Older { found, known }),
            _ => {
                let migrations: Vec<&str> = MIGRATIONS.iter().map(|(.., sql)| *sql).collect();
                self.check_columns(&migrations).await
            }
        }
    }

    async fn schema_version(&self) -> Result<u32, MigrateError> {
        #[derive(Deserialize, Row)]
        struct Version {
            version: u32,
        }

        const UNKNOWN_TABLE: u32 = 60;
        const UNKNOWN_DATABASE: u32 = 81;

        let versions = self.query("SELECT max(version) AS version FROM {db}.migrations");
        let answer = self.within(versions.fetch_one::<Version>()).await;
        match answer {
            Ok(row) => Ok(row.version),
            Err(error) if matches!(error.code(), Some(UNKNOWN_TABLE | UNKNOWN_DATABASE)) => Ok(0),
            Err(error) => Err(MigrateError::Version(error)),
        }
    }

    /// Sets or removes the TTLs. What hides a feedback outlives it, and a
    /// retraction is kept for good.
    async fn apply_retention(&self) -> Result<(), StoreError> {
        for (table, hides) in RETAINED {
            let statement = match self.config().retention {
                Some(kept) => {
                    let ttl = hides.ttl(kept);
                    format!("ALTER TABLE {{db}}.{table} MODIFY TTL {ttl}")
                }
                None if self.has_ttl(table).await? => {
                    format!("ALTER TABLE {{db}}.{table} REMOVE TTL")
                }
                None => continue,
            };
            self.execute(&statement).await?;
        }
        Ok(())
    }

    async fn has_ttl(&self, table: &str) -> Result<bool, StoreError> {
        let has_ttl: u8 = self
            .query("SELECT create_table_query LIKE '%TTL%' FROM system.tables WHERE database = ? AND name = ?")
            .bind(&self.config().database)
            .bind(table)
            .fetch_one()
            .await?;
        Ok(has_ttl != 0)
    }

    async fn execute(&self, sql: &str) -> Result<(), StoreError> {
        // Not a template for the client: a `?` in a comment is just that.
        Ok(self.client().query_raw(&self.named(sql)).execute().await?)
    }
}

impl Hides {
    /// The TTL of a table whose feedback is `kept` for so long.
    fn ttl(self, kept: Duration) -> String {
        let after = |kept: Duration| {
            let seconds = kept.as_secs();
            format!("toDateTime(received_at) + INTERVAL {seconds} SECOND DELETE")
        };
        let longer = after(kept + TOMBSTONE_MARGIN);
        match self {
            Self::Tombstones => format!(
                "{} WHERE is_deleted = 0, {longer} WHERE is_deleted = 1",
                after(kept)
            ),
            Self::Patches => format!("{longer} WHERE kind = 'patch'"),
        }
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

    #[test]
    fn migrations_are_numbered_without_gaps_and_idempotent() {
        for (index, (version, name, sql)) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(*version).unwrap(), index + 1, "{name}");
            for statement in statements(sql) {
                assert!(is_idempotent(&statement), "{name}: {statement}");
            }
        }
        assert_eq!(statements(MIGRATIONS[0].2).len(), 3);
        assert_eq!(Store::SCHEMA_VERSION, 4);
    }

    fn is_idempotent(statement: &str) -> bool {
        let once =
            statement.contains("IF NOT EXISTS {db}.") || statement.contains("IF EXISTS {db}.");
        let adds = statement.matches("    ADD ").count();
        let says = statement.starts_with("ALTER TABLE {db}.");
        once || (says && adds == statement.matches(" IF NOT EXISTS ").count())
    }
}
