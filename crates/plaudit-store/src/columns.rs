//! Whether the tables are those that the migrations made.
//!
//! What the migrations say is read from their own text, so that it is said once.
//! A column that somebody added is nobody's business; one that is missing, or
//! holds something else, would make ClickHouse refuse every batch.

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;

use crate::{MigrateError, Store};

/// A column that a statement makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Column<'m> {
    table: &'m str,
    name: &'m str,
    kind: &'m str,
}

#[derive(Deserialize, Row)]
struct Found {
    shard: u32,
    table: String,
    name: String,
    kind: String,
}

impl Store {
    /// Compares the tables, of every shard, with what these statements make.
    pub(crate) async fn check_columns(&self, statements: &[String]) -> Result<(), MigrateError> {
        let (shards, columns) = if self.is_cluster() {
            let shards = "SELECT DISTINCT shard_num FROM system.clusters WHERE cluster = {cluster}";
            let shards = self.within(self.query(shards).fetch_all()).await;
            (
                shards.map_err(MigrateError::Version)?,
                "_shard_num AS shard, table, name, type AS kind FROM cluster({cluster}, system.columns)",
            )
        } else {
            let columns = "toUInt32(0) AS shard, table, name, type AS kind FROM system.columns";
            (vec![0], columns)
        };
        let sql = format!("SELECT {columns} WHERE database = ?");
        let query = self.query(&sql).bind(&self.config().database);
        let found: Vec<Found> = self
            .within(query.fetch_all())
            .await
            .map_err(MigrateError::Version)?;
        let found: HashMap<(u32, &str, &str), &str> = found
            .iter()
            .map(|column| ((column.shard, &*column.table, &*column.name), &*column.kind))
            .collect();
        let needed = needed(statements);
        for shard in shards {
            for Column { table, name, kind } in &needed {
                let is = found.get(&(shard, *table, *name));
                if is.is_none_or(|is| plain(is) != plain(kind)) {
                    let of_shard = match shard {
                        0 => String::new(),
                        shard => format!("shard {shard}: "),
                    };
                    return Err(MigrateError::Column {
                        column: format!("{of_shard}{table}.{name}"),
                        found: (*is.unwrap_or(&"missing")).to_owned(),
                        needed: in_one_line(kind),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The columns of the tables that are there after the last of these statements.
fn needed(statements: &[String]) -> Vec<Column<'_>> {
    let mut needed: Vec<Column<'_>> = Vec::new();
    for sql in statements {
        if let Some(made) = sql.strip_prefix("CREATE TABLE IF NOT EXISTS ") {
            needed.extend(columns(made, &needed));
        }
        if let Some(dropped) = sql.strip_prefix("DROP TABLE IF EXISTS ") {
            let dropped = table(dropped);
            needed.retain(|column| column.table != dropped);
        }
    }
    needed
}

/// The table that is named first, without its database.
fn table(sql: &str) -> &str {
    let name = sql.split(|c: char| c.is_whitespace() || matches!(c, '(' | ';'));
    let name = name.into_iter().next().unwrap_or_default();
    name.split_once('.').map_or(name, |(_, table)| table)
}

/// The columns of a `CREATE TABLE`, given what stands behind that. A table that is made
/// `AS` another has its columns.
fn columns<'m>(sql: &'m str, known: &[Column<'m>]) -> Vec<Column<'m>> {
    let made = table(sql);
    let Some((head, rest)) = sql.split_once('(') else {
        return Vec::new();
    };
    if let Some((_, other)) = head.split_once(" AS ") {
        let other = table(other);
        let like = known.iter().filter(|column| column.table == other);
        return like
            .map(|column| Column {
                table: made,
                ..*column
            })
            .collect();
    }
    let column = |item: &'m str| {
        let (name, kind) = item.trim().split_once(char::is_whitespace)?;
        let is_column = !matches!(name, "INDEX" | "CONSTRAINT" | "PROJECTION");
        is_column.then(|| Column {
            table: made,
            name,
            kind: kind_alone(kind),
        })
    };
    items(rest).into_iter().filter_map(column).collect()
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

    fn found(statements: &[&str]) -> Vec<(String, String, String)> {
        let statements: Vec<String> = statements.iter().map(|&sql| sql.to_owned()).collect();
        let columns = needed(&statements).into_iter();
        columns
            .map(|column| {
                (
                    column.table.to_owned(),
                    column.name.to_owned(),
                    plain(column.kind),
                )
            })
            .collect()
    }

    #[test]
    fn columns_are_read_from_statements() {
        let made = "CREATE TABLE IF NOT EXISTS db.one_local ON CLUSTER 'c'
(
    a    LowCardinality(String) CODEC(ZSTD(1)),
    b    Enum8('x' = 1,
               'y' = 2),
    INDEX a_range a TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree ORDER BY (a, b)";
        let like = "CREATE TABLE IF NOT EXISTS db.one ON CLUSTER 'c' AS db.one_local
ENGINE = Distributed('c', 'db', 'one_local', f(a, b))";
        let other = "CREATE TABLE IF NOT EXISTS db.two (c Map(String, String)) ENGINE = Memory";
        let view = "CREATE VIEW IF NOT EXISTS db.three AS SELECT (1, 2)";
        let expected = [
            ("one_local", "a", "String"),
            ("one_local", "b", "Enum8('x'=1,'y'=2"),
            ("one", "a", "String"),
            ("one", "b", "Enum8('x'=1,'y'=2"),
            ("two", "c", "Map(String,String"),
        ];
        let expected = expected.map(|(t, n, k)| (t.to_owned(), n.to_owned(), k.to_owned()));
        assert_eq!(found(&[made, like, other, view]), expected);
    }

    #[test]
    fn a_table_that_a_later_migration_drops_is_not_needed() {
        let left = found(&[
            "CREATE TABLE IF NOT EXISTS db.one (a String) ENGINE = Memory",
            "CREATE TABLE IF NOT EXISTS db.two (b String) ENGINE = Memory",
            "DROP TABLE IF EXISTS db.one SYNC",
        ]);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].0, "two");
    }

    #[test]
    fn a_dictionary_or_another_width_of_blanks_is_no_other_type() {
        assert_eq!(plain("LowCardinality(String)"), plain("String"));
        assert_ne!(plain("Nullable(Float64)"), plain("Float64"));
        assert_ne!(plain("DateTime64(3, 'UTC')"), plain("DateTime64(6, 'UTC')"));
    }
}
