//! Two shards: what holds on one server holds on them, also while one is away.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use plaudit_event::{Event, Operation, Outcome};
use plaudit_store::{ClickhouseConfig, ClusterConfig, Identity, MigrateError, Store};
use serde_json::{Value, json};
use support::{Database, Options, Stack, run, tool, wait_until};
use uuid::Uuid;

use crate::events;
use crate::verify::all_committed;

fn options() -> Options {
    Options {
        sharded: true,
        ..Options::default()
    }
}

/// The identities of which a node has rows.
async fn identities(node: &Database) -> Result<BTreeSet<String>> {
    let sql = "SELECT DISTINCT concat(project, ' ', trace_id, ' ', toString(id)) AS identity
        FROM {db}.feedback_local FORMAT TSV";
    let text = node.execute(sql).await?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Both shards have some of it, and nothing is on both.
async fn is_spread(stack: &Stack, expected: usize) -> Result<()> {
    let mut all = BTreeSet::new();
    for node in stack.nodes() {
        let own = identities(&node).await?;
        assert!(
            own.len() > expected / 4,
            "a shard has {} of {expected}",
            own.len()
        );
        for identity in own {
            assert!(!all.contains(&identity), "{identity} is on both");
            all.insert(identity);
        }
    }
    assert_eq!(all.len(), expected);
    Ok(())
}

/// Two traces that are on different shards.
async fn traces_apart(stack: &Stack) -> Result<[String; 2]> {
    let sql = "SELECT toString(number) FROM numbers(20) \
               WHERE cityHash64(concat('apart-', toString(number))) % 2 = ";
    let mut found = Vec::new();
    for shard in 0..2 {
        let number = stack.db.number(&format!("{sql}{shard} LIMIT 1")).await?;
        found.push(format!("apart-{number}"));
    }
    found.try_into().ok().context("two traces")
}

async fn outcome_of_all(stack: &Stack, expected: Outcome) -> Result<()> {
    let outcomes = stack.settled().await?;
    for (place, outcome) in outcomes {
        assert_eq!(outcome, expected, "{place:?}");
    }
    Ok(())
}

#[test]
fn p3_p4_what_is_sent_is_on_one_shard_and_its_changes_find_it() -> Result<()> {
    run(options(), async |stack| {
        let item = |n: usize| json!({"trace_id": format!("t-{}", n % 90), "metric": format!("m-{}", n % 3), "value": n % 5, "tags": {"env": "prod"}});
        let sent = stack.api.feedback(&(0..300).map(item).collect()).await?;
        assert_eq!(sent.status, 200, "{}", sent.text);
        is_spread(stack, 300).await?;

        let (patched, retracted) = (sent.id(7)?, sent.id(8)?);
        let changes = json!([
            {"operation": "patch", "id": patched, "comment": "patched"},
            {"operation": "retract", "id": retracted},
        ]);
        let changed = stack.api.feedback(&changes).await?;
        assert_eq!(changed.states(), ["visible", "visible"], "{}", changed.text);
        let read = stack.api.get(&format!("/v1/feedback/{patched}")).await?;
        assert_eq!(read.at("/comment"), "patched", "{}", read.text);
        let read = stack.api.get(&format!("/v1/feedback/{retracted}")).await?;
        assert_eq!(read.status, 404);
        let state = stack
            .api
            .get(&format!("/v1/receipts/{}", sent.receipt(9)?))
            .await?;
        assert_eq!(state.at("/state"), "visible", "{}", state.text);
        // Each is read from the shard that has it.
        for (n, count) in [
            (6, 4),
            (7, 4),
            (8, 3),
            (9, 4),
            (40, 3),
            (41, 3),
            (42, 3),
            (43, 3),
        ] {
            let path = format!("/v1/traces/t-{n}/feedback");
            let trace = stack.api.get(&path).await?;
            let items = trace.at("/items").as_array().map(Vec::len);
            assert_eq!(items, Some(count), "{}", trace.text);
        }
        let summary = stack.api.get("/v1/metrics/m-2?by=tag.env").await?;
        assert_eq!(summary.at("/count"), 99, "{}", summary.text);
        assert_eq!(stack.db.current().await?.len(), 299);

        // One id on two shards: a patch changes the later, a retraction hides both.
        let id = Uuid::now_v7();
        let [one, two] = traces_apart(stack).await?;
        for (trace, value) in [(&one, 1), (&two, 2)] {
            let put = events::event(Operation::Put(events::feedback(id, trace, value)));
            stack.produce(&[put]).await?;
            stack.settled().await?;
        }
        is_spread(stack, 302).await?;
        stack
            .produce(&[events::event(events::comment(id, "the later"))])
            .await?;
        stack.settled().await?;
        let comments = format!(
            "SELECT trace_id, comment FROM {{db}}.feedback_current WHERE id = '{id}' ORDER BY value"
        );
        let seen = stack.db.rows(&comments).await?;
        assert_eq!(
            seen,
            [
                json!({"trace_id": one, "comment": ""}),
                json!({"trace_id": two, "comment": "the later"})
            ]
        );
        stack
            .produce(&[events::event(Operation::Retract { id })])
            .await?;
        stack.settled().await?;
        assert_eq!(
            stack.db.rows(&comments).await?,
            Vec::<serde_json::Value>::new()
        );
        let hidden = format!(
            "SELECT uniqExact(trace_id) FROM {{db}}.feedback WHERE id = '{id}' AND is_deleted AND version = 18446744073709551615"
        );
        assert_eq!(
            stack.db.number(&hidden).await?,
            2,
            "both have their tombstone"
        );
        Ok(())
    })
}

#[test]
fn p2_an_audit_adds_up_and_a_rebuild_restores_both_shards() -> Result<()> {
    let options = Options {
        partitions: 1,
        ..options()
    };
    run(options, async |stack| {
        let sent = events::puts(200);
        let id = |n: usize| sent[n].id();
        stack.produce(&sent).await?;
        let changes = [
            events::event(events::comment(id(3), "patched")),
            events::event(Operation::Retract { id: id(4) }),
            events::event(Operation::Put(events::feedback(id(5), "trace-5", 99))),
            sent[6].clone(),
        ];
        stack.produce(&changes).await?;
        stack.settled().await?;
        all_committed(stack).await?;
        stack.stop_sink(0).await?;
        // Of two records of the same version either may be the one that is seen.
        let seen = async || {
            let mut rows = stack.db.current().await?;
            for row in rows.iter_mut().filter_map(Value::as_object_mut) {
                row.remove("offset");
            }
            anyhow::Ok(rows)
        };
        let before = seen().await?;
        assert_eq!(before.len(), 199);
        stack
            .on_every_node("ALTER TABLE {db}.feedback{local} UPDATE comment = 'spoiled' WHERE 1 SETTINGS mutations_sync = 2")
            .await?;
        let range = ["rebuild", "--partition", "0", "--from", "0", "--to", "204"];
        for arguments in [&range[..], &["verify", "--deep"]] {
            let output = tool(&stack.settings(), arguments).await?;
            let (said, why) = (
                String::from_utf8(output.stdout)?,
                String::from_utf8(output.stderr)?,
            );
            assert!(output.status.success(), "{said}{why}");
        }
        assert_eq!(seen().await?, before);
        is_spread(stack, 200).await?;

        let store = Store::new(stack.clickhouse())?;
        let identity = |event: &Event<'_>| Identity {
            project: "default".to_owned(),
            trace_id: event.with_key(str::to_owned),
            id: event.id(),
        };
        let known: Vec<Identity> = sent.iter().map(identity).collect();
        assert_eq!(store.versions_of(&known).await?.len(), 200);
        stack.start_sink();
        Ok(())
    })
}

#[test]
fn p2_p3_nothing_is_lost_or_seen_twice_while_a_shard_is_away() -> Result<()> {
    run(options(), async |stack| {
        let mut sent = 0;
        for round in 0..3 {
            let first = events::puts(200);
            stack.produce(&first).await?;
            sent += 200;
            if round > 0 {
                // In the middle of it, or before: whatever it was doing, it is not answered.
                stack.shards.as_mut().context("shards")?.kill(1).await?;
                stack.produce(&events::puts(200)).await?;
                sent += 200;
                wait_until("the sink to see that a shard is away", async || {
                    Ok(!stack.sink_is_ready(0))
                })
                .await?;
                let answer = stack.api.get("/v1/feedback?metric=stars").await?;
                assert_eq!(answer.status, 503, "{}", answer.text);
                stack.shards.as_mut().context("shards")?.revive(1).await?;
            }
            outcome_of_all(stack, Outcome::Stored).await?;
            assert_eq!(stack.db.current().await?.len(), sent);
            is_spread(stack, sent).await?;
        }
        Ok(())
    })
}

#[test]
fn p6_a_shard_that_dies_in_the_middle_of_an_insert_is_away() -> Result<()> {
    let options = Options {
        partitions: 1,
        ..options()
    };
    run(options, async |stack| {
        // An insert that takes its time there. That it ends early may be said with the code of
        // bad data.
        let [_, second] = &stack.nodes()[..] else {
            panic!("there are two");
        };
        let slow =
            "ALTER TABLE {db}.feedback_local ADD CONSTRAINT slow CHECK sleepEachRow(0.02) = 0";
        second.execute(slow).await?;
        stack.produce(&events::puts(200)).await?;
        let inserts = "SELECT count() FROM system.processes WHERE NOT is_initial_query AND query LIKE 'INSERT INTO {db}.%'";
        wait_until("the shard to insert", async || {
            Ok(second.number(inserts).await? > 0)
        })
        .await?;
        let shards = stack.shards.as_mut().context("shards")?;
        shards.kill(1).await?;
        shards.revive(1).await?;
        second
            .execute("ALTER TABLE {db}.feedback_local DROP CONSTRAINT slow")
            .await?;
        outcome_of_all(stack, Outcome::Stored).await?;
        assert_eq!(stack.db.current().await?.len(), 200);
        assert_eq!(
            stack.contents().await?.len(),
            400,
            "values and keys, and no dead letter"
        );
        is_spread(stack, 200).await
    })
}

#[test]
fn p6_a_row_that_its_shard_cannot_take_is_set_aside_and_the_rest_is_stored() -> Result<()> {
    let options = Options {
        partitions: 1,
        sinks: 0,
        expected_errors: &["clickhouse does not take rows"],
        ..options()
    };
    run(options, async |stack| {
        stack
            .on_every_node("ALTER TABLE {db}.feedback{local} ADD CONSTRAINT poison CHECK value NOT IN ('13', '14', '617')")
            .await?;
        stack.produce(&events::puts(1000)).await?;
        stack.start_sink();
        for ((_, offset), outcome) in stack.settled().await? {
            let expected = match offset {
                13 | 14 | 617 => Outcome::DeadLettered,
                _ => Outcome::Stored,
            };
            assert_eq!(outcome, expected, "{offset}");
        }
        assert_eq!(stack.db.current().await?.len(), 997);
        is_spread(stack, 997).await
    })
}

#[test]
fn every_node_has_the_schema_or_the_services_wait() -> Result<()> {
    run(options(), async |stack| {
        let config = ClickhouseConfig {
            retention: Some(Duration::from_secs(3600)),
            ..stack.clickhouse()
        };
        let store = Store::new(config.clone())?;
        assert_eq!(store.migrate().await?.applied, Vec::<&str>::new());
        store.check_schema().await?;
        let nodes = stack.nodes();
        for node in &nodes {
            let kept = "SELECT count() FROM system.tables WHERE database = '{db}' AND create_table_query LIKE '%TTL%'";
            assert_eq!(node.number(kept).await?, 3);
            let version = "SELECT max(version) FROM {db}.migrations";
            assert_eq!(
                node.number(version).await?,
                i64::from(Store::SCHEMA_VERSION)
            );
        }

        let second = &nodes[1];
        second
            .execute("ALTER TABLE {db}.feedback_local DROP COLUMN comment")
            .await?;
        let Err(MigrateError::Column { column, .. }) = store.check_schema().await else {
            panic!("a column of the second shard is missing");
        };
        assert_eq!(column, "shard 2: feedback_local.comment");
        second.execute("DROP DATABASE {db} SYNC").await?;
        let missing = store.check_schema().await;
        assert!(
            matches!(missing, Err(MigrateError::Older { found: 0, .. })),
            "{missing:?}"
        );
        let applied = store.migrate().await?.applied;
        assert_eq!(applied.len(), store.migrations().len());
        store.check_schema().await?;

        // Nor is the one made of the other.
        let alone = ClickhouseConfig {
            cluster: ClusterConfig::default(),
            ..config.clone()
        };
        let refused = Store::new(alone.clone())?.migrate().await;
        assert!(
            matches!(refused, Err(MigrateError::Shape { .. })),
            "{refused:?}"
        );
        let database = format!("{}_alone", config.database);
        let alone = ClickhouseConfig {
            database: database.clone(),
            ..alone
        };
        Store::new(alone)?.migrate().await?;
        let clustered = Store::new(ClickhouseConfig { database, ..config })?;
        let refused = clustered.check_schema().await;
        assert!(
            matches!(refused, Err(MigrateError::Shape { .. })),
            "{refused:?}"
        );
        Ok(())
    })
}

/// The engine has no replication: that its DDL is right is not shown, but that it is DDL.
#[test]
fn the_statements_of_a_replicated_cluster_are_read_by_the_engine() -> Result<()> {
    run(Options::default(), async |stack| {
        let mut config = stack.clickhouse();
        config.cluster.name = Some("c".to_owned());
        let migrations = Store::new(config)?.migrations().into_iter();
        let statements: Vec<String> = migrations.flat_map(|(.., sql)| sql).collect();
        let made = |word: &str| statements.iter().filter(|sql| sql.contains(word)).count();
        assert_eq!(
            made(
                "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
            ),
            3
        );
        assert_eq!(made("Distributed('c', "), 3);
        assert_eq!(made(" ON CLUSTER 'c'"), statements.len());
        for statement in &statements {
            stack
                .db
                .execute(&format!("EXPLAIN AST {statement}"))
                .await?;
        }
        Ok(())
    })
}
