//! A ClickHouse of several shards, and what has to be said otherwise there.
//!
//! A table of one server is two in a cluster: `NAME_local` on every node, which holds
//! the rows of its shard, and `NAME`, a Distributed table over those. Rows are written
//! and read by `NAME`, as on one server; only what is done to rows where they lie (DDL,
//! retention, deletes) names the local tables, on every node.
//!
//! The statements are the same text for both, with placeholders:
//!
//! | placeholder | one server | cluster |
//! | --- | --- | --- |
//! | `{db}` | the database | the database |
//! | `{local}` | | `_local` |
//! | `{on_cluster}` | | ` ON CLUSTER 'name'`, unless each node is told by itself |
//! | `{cluster}` | | `'name'` |
//! | `{global}` | | `GLOBAL ` |
//! | `{if single}`, `{if cluster}` before a statement | whether it is said at all | |

use clickhouse::Client;

use crate::{ClickhouseConfig, ClusterConfig};

/// The settings of every request to a cluster.
const SETTINGS: [(&str, &str); 4] = [
    // A subquery is asked once, of all shards, and not by each shard of itself.
    ("distributed_product_mode", "global"),
    // An answer without a shard is none: the sink would store again, a reader miss rows.
    ("skip_unavailable_shards", "0"),
    // An insert is answered by the shards that have it, each row by the shard it belongs to.
    ("distributed_foreground_insert", "1"),
    ("insert_distributed_one_random_shard", "0"),
];

/// The settings where shards have replicas: whoever writes and reads back asks the same
/// replica of each shard, which has what it wrote itself. No insert is taken for an earlier
/// one: replicas do so by themselves, and may answer that they have what is gone.
const REPLICATED_SETTINGS: [(&str, &str); 3] = [
    ("load_balancing", "in_order"),
    ("prefer_localhost_replica", "0"),
    ("deduplicate_insert", "disable"),
];

/// The servers' defaults of the same, for whoever only reads: every replica gets its share.
const ANY_REPLICA: [(&str, &str); 2] = [
    ("load_balancing", "random"),
    ("prefer_localhost_replica", "1"),
];

/// Where replicas of a table find each other. Said in full, and not by the servers'
/// default: that has an id in it which each `CREATE` that is not `ON CLUSTER` makes anew,
/// also the one of a node that is added later. Its macros are the servers' business.
const REPLICA: &str = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";

impl ClusterConfig {
    /// A client that asks a cluster as one has to.
    pub(crate) fn configure(&self, client: Client) -> Client {
        let shards = self.name.is_some().then_some(SETTINGS);
        let replicas = self.has_replicas().then_some(REPLICATED_SETTINGS);
        let settings = shards.into_iter().flatten();
        set(client, settings.chain(replicas.into_iter().flatten()))
    }

    /// A configured client that only reads, and takes what a replica has.
    pub(crate) fn of_any_replica(&self, client: Client) -> Client {
        let any = self.has_replicas().then_some(ANY_REPLICA);
        set(client, any.into_iter().flatten())
    }

    fn has_replicas(&self) -> bool {
        self.name.is_some() && self.replicated
    }
}

fn set<'s>(client: Client, settings: impl Iterator<Item = (&'s str, &'s str)>) -> Client {
    settings.fold(client, |client, (name, value)| {
        client.with_setting(name, value)
    })
}

impl ClickhouseConfig {
    /// A statement for what these settings describe, or none where it is not said.
    pub(crate) fn statement(&self, template: &str) -> Option<String> {
        let cluster = self.cluster.name.as_deref();
        let (single, clustered) = ("{if single} ", "{if cluster} ");
        let template = match cluster {
            None if template.starts_with(clustered) => return None,
            Some(_) if template.starts_with(single) => return None,
            _ => template
                .trim_start_matches(single)
                .trim_start_matches(clustered),
        };
        let name = cluster.map(|name| format!("'{name}'")).unwrap_or_default();
        let on_cluster = match cluster {
            Some(_) if self.cluster.nodes.is_empty() => format!(" ON CLUSTER {name}"),
            _ => String::new(),
        };
        let in_cluster = |text| cluster.map_or("", |_| text);
        let statement = fill(
            template,
            &[
                ("{db}", &self.database),
                ("{local}", in_cluster("_local")),
                ("{on_cluster}", &on_cluster),
                ("{cluster}", &name),
                ("{global}", in_cluster("GLOBAL ")),
            ],
        );
        Some(if self.cluster.has_replicas() {
            replicated(statement)
        } else {
            statement
        })
    }
}

fn fill(template: &str, placeholders: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let known = placeholders.iter().find_map(|(placeholder, text)| {
            let behind = after.strip_prefix(placeholder.strip_prefix('{')?)?;
            Some((behind, text))
        });
        if let Some((behind, text)) = known {
            filled.push_str(text);
            rest = behind;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

/// The same statement, making a table that replicates.
fn replicated(statement: String) -> String {
    const ENGINE: &str = "ENGINE = ReplacingMergeTree";

    let made = statement.starts_with("CREATE TABLE");
    let Some((head, tail)) = statement.split_once(ENGINE).filter(|_| made) else {
        return statement;
    };
    let engine = "ENGINE = ReplicatedReplacingMergeTree";
    match tail.strip_prefix('(') {
        Some(tail) => format!("{head}{engine}({REPLICA}, {tail}"),
        None => format!("{head}{engine}({REPLICA}){tail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: Option<&str>, replicated: bool, nodes: &[&str]) -> ClickhouseConfig {
        ClickhouseConfig {
            cluster: ClusterConfig {
                name: name.map(str::to_owned),
                replicated,
                nodes: nodes.iter().map(|&node| node.to_owned()).collect(),
            },
            ..ClickhouseConfig::default()
        }
    }

    #[test]
    fn a_statement_is_said_as_the_servers_are() {
        let template = "CREATE TABLE {db}.t{local}{on_cluster} (a Int8) ENGINE = ReplacingMergeTree(a) ORDER BY a";
        let said = |config: ClickhouseConfig| config.statement(template).unwrap();
        assert_eq!(
            said(config(None, true, &[])),
            "CREATE TABLE plaudit.t (a Int8) ENGINE = ReplacingMergeTree(a) ORDER BY a"
        );
        assert_eq!(
            said(config(Some("c"), false, &[])),
            "CREATE TABLE plaudit.t_local ON CLUSTER 'c' (a Int8) ENGINE = ReplacingMergeTree(a) ORDER BY a"
        );
        assert_eq!(
            said(config(Some("c"), true, &["http://a"])),
            "CREATE TABLE plaudit.t_local (a Int8) ENGINE = ReplicatedReplacingMergeTree(\
             '/clickhouse/tables/{shard}/{database}/{table}', '{replica}', a) ORDER BY a"
        );
    }

    #[test]
    fn what_only_a_cluster_has_is_said_to_no_server_alone() {
        let single = config(None, true, &[]);
        let cluster = config(Some("c"), true, &[]);
        assert_eq!(single.statement("{if cluster} A {cluster}"), None);
        assert_eq!(cluster.statement("{if single} A"), None);
        let said = cluster.statement("{if cluster} A {cluster} {global}IN");
        assert_eq!(said.as_deref(), Some("A 'c' GLOBAL IN"));
        let said = single.statement("{if single} A {global}IN");
        assert_eq!(said.as_deref(), Some("A IN"));
    }
}
