//! Whether the tables are those that the migrations made.
//!
//! What the migrations say is read from their own text, so that it is said once.
//! A column that somebody added is nobody's business; one that is missing, or
//! holds something else, would make ClickHouse refuse every batch.

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;

use crate::{MigrateError, Store};

/// A column that a migration makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Column<'m> {
    table: &'m str,
    name: &'m str,
    kind: &'m str,
}

#[derive(Deserialize, Row)]
struct Found {
    table: String,
    name: String,
    kind: String,
}

impl Store {
    /// Compares the tables with what these migrations make.
    pub(crate) async fn check_columns(&self, migrations: &[&str]) -> Result<(), MigrateError> {
        let sql = "SELECT table, name, type AS kind FROM system.columns WHERE database = ?";
        let query = self.query(sql).bind(&self.config().database);
        let found: Vec<Found> = self
            .within(query.fetch_all())
            .await
            .map_err(MigrateError::Version)?;
        let found: HashMap<(&str, &str), &str> = found
            .iter()
            .map(|column| ((&*column.table, &*column.name), &*column.kind))
            .collect();
        for Column { table, name, kind } in needed(migrations) {
            let is = found.get(&(table, name));
            if is.is_none_or(|is| plain(is) != plain(kind)) {
                return Err(MigrateError::Column {
                    column: format!("{table}.{name}"),
                    found: (*is.unwrap_or(&"missing")).to_owned(),
                    needed: in_one_line(kind),
                });
            }
        }
        Ok(())
    }
}

/// The columns of the tables that are there after the last migration.
fn needed<'m>(migrations: &[&'m str]) -> Vec<Column<'m>> {
    let mut needed: Vec<Column<'m>> = Vec::new();
    for sql in migrations {
        needed.extend(columns(sql));
        let dropped = dropped(sql);
        needed.retain(|column| !dropped.contains(&column.table));
    }
    needed
}

/// The tables of every `DROP TABLE` of a migration.
fn dropped(sql: &str) -> Vec<&str> {
    const DROP: &str = "DROP TABLE IF EXISTS {database}.";

    let statements = sql.split(DROP).skip(1);
    statements
        .filter_map(|rest| rest.split(|c: char| c.is_whitespace() || c == ';').next())
        .collect()
}

/// The columns of every `CREATE TABLE` of a migration.
fn columns(sql: &str) -> Vec<Column<'_>> {
    const CREATE: &str = "CREATE TABLE IF NOT EXISTS {database}.";

    let mut columns = Vec::new();
    for statement in sql.split(CREATE).skip(1) {
        let Some((table, rest)) = statement.split_once('(') else {
            continue;
        };
        for item in items(rest) {
            let Some((name, kind)) = item.trim().split_once(char::is_whitespace) else {
                continue;
            };
            if !matches!(name, "INDEX" | "CONSTRAINT" | "PROJECTION") {
                columns.push(Column {
                    table: table.trim(),
                    name,
                    kind: kind_alone(kind),
                });
            }
        }
    }
    columns
}

/// What stands between the commas up to the bracket that closes.
fn items(text: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        let ends = match letter {
            '(' => {
                depth += 1;
                false
            }
            ')' if depth == 0 => true,
            ')' => {
                depth -= 1;
                false
            }
            ',' => depth == 0,
            _ => false,
        };
        if ends {
            items.extend(text.get(start..at));
            start = at + 1;
        }
        if ends && letter == ')' {
            break;
        }
    }
    items
}

/// A column's type without how it is kept.
fn kind_alone(kind: &str) -> &str {
    let clauses = [" DEFAULT ", " CODEC(", " TTL "];
    let end = clauses.iter().filter_map(|clause| kind.find(clause)).min();
    kind.get(..end.unwrap_or(kind.len())).unwrap_or(kind).trim()
}

/// A type as far as it matters to what is written: a dictionary is not seen.
fn plain(kind: &str) -> String {
    let kind: String = kind.chars().filter(|c| !c.is_whitespace()).collect();
    kind.replace("LowCardinality(", "").replace(')', "")
}

fn in_one_line(kind: &str) -> String {
    kind.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_from_a_migration() {
        let sql = "-- a comment (with brackets)
CREATE TABLE IF NOT EXISTS {database}.one
(
    a    LowCardinality(String) CODEC(ZSTD(1)),
    b    Enum8('x' = 1,
               'y' = 2),
    INDEX a_range a TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (a, b);
CREATE TABLE IF NOT EXISTS {database}.two (c Map(String, String)) ENGINE = Memory;
CREATE VIEW IF NOT EXISTS {database}.three AS SELECT (1, 2);";
        let found: Vec<_> = columns(sql)
            .into_iter()
            .map(|column| (column.table, column.name, plain(column.kind)))
            .collect();
        let expected = [
            ("one", "a", "String"),
            ("one", "b", "Enum8('x'=1,'y'=2"),
            ("two", "c", "Map(String,String"),
        ];
        assert_eq!(found, expected.map(|(t, n, k)| (t, n, k.to_owned())));
    }

    #[test]
    fn a_table_that_a_later_migration_drops_is_not_needed() {
        let made = "CREATE TABLE IF NOT EXISTS {database}.one (a String) ENGINE = Memory;
CREATE TABLE IF NOT EXISTS {database}.two (b String) ENGINE = Memory;";
        let needed = needed(&[made, "DROP TABLE IF EXISTS {database}.one SYNC;"]);
        let tables: Vec<_> = needed.iter().map(|column| column.table).collect();
        assert_eq!(tables, ["two"]);
    }

    #[test]
    fn a_dictionary_or_another_width_of_blanks_is_no_other_type() {
        assert_eq!(plain("LowCardinality(String)"), plain("String"));
        assert_ne!(plain("Nullable(Float64)"), plain("Float64"));
        assert_ne!(plain("DateTime64(3, 'UTC')"), plain("DateTime64(6, 'UTC')"));
    }
}
