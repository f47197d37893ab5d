//! The tables: made once, made by several, kept for as long as configured.

use std::time::Duration;

use anyhow::Result;
use plaudit_event::Micros;
use plaudit_store::read::{Filter, Reader};
use plaudit_store::{ClickhouseConfig, MigrateError, Store};
use support::{Database, Options, backend, run, wait_until};

use crate::events;

#[test]
fn a_migration_is_applied_once_however_often_and_by_whom() -> Result<()> {
    run(Options::default(), async |stack| {
        let store = Store::new(ClickhouseConfig {
            url: backend().clickhouse_url.clone(),
            database: stack.db.name().to_owned(),
            ..ClickhouseConfig::default()
        })?;
        let (one, two) = tokio::join!(store.migrate(), store.migrate());
        assert_eq!((one?.applied, two?.applied), (Vec::new(), Vec::new()));
        store.check_schema().await?;

        stack
            .db
            .execute("INSERT INTO {db}.migrations (version, name) VALUES (1000, 'later')")
            .await?;
        assert!(matches!(
            store.check_schema().await,
            Err(MigrateError::Newer { found: 1000, .. })
        ));
        assert!(matches!(
            store.migrate().await,
            Err(MigrateError::Newer { .. })
        ));
        Ok(())
    })
}

/// As many migrations made the tables when the orders by metric, tag and id were tables
/// too.
const FIRST_SCHEMA: u32 = 3;

#[test]
fn p3_what_a_database_of_the_first_schema_holds_is_found_in_the_one_table() -> Result<()> {
    run(Options::default(), async |stack| {
        let config = ClickhouseConfig {
            url: backend().clickhouse_url.clone(),
            database: format!("{}_first", stack.db.name()),
            ..ClickhouseConfig::default()
        };
        let db = Database::new(&config.url, &config.database);
        db.execute("CREATE DATABASE {db}").await?;
        let store = Store::new(config)?;
        let first = store.migrations().into_iter();
        for (.., statements) in first.filter(|(version, ..)| *version <= FIRST_SCHEMA) {
            for statement in statements {
                db.execute(&statement).await?;
            }
        }
        db.execute("CREATE TABLE {db}.migrations (version UInt32, name String, applied_at DateTime DEFAULT now()) ENGINE = ReplacingMergeTree ORDER BY version").await?;
        db.execute("INSERT INTO {db}.migrations (version, name) VALUES (1, ''), (2, ''), (3, '')")
            .await?;
        // Two parts, and in the second one of three again, with another metric and tag.
        for (every, version) in [(1, 1), (3, 2)] {
            let sql = format!(
                "INSERT INTO {{db}}.feedback (project, trace_id, id, version, metric, tags, score, weight)
                SELECT 'default', toString(intDiv(number, 4)), reinterpretAsUUID(sipHash128(number)), {version},
                    concat('m', toString((number + {version}) % 5)), map('v', toString({version})), number, 1
                FROM numbers(900) WHERE number % {every} = 0"
            );
            db.execute(&sql).await?;
        }
        let before = db.current().await?;
        assert_eq!(before.len(), 900);

        let later = store.migrations().into_iter();
        let later = later.filter(|(version, ..)| *version > FIRST_SCHEMA);
        let later: Vec<_> = later.map(|(_, name, _)| name).collect();
        assert_eq!(store.migrate().await?.applied, later);
        store.check_schema().await?;
        assert_eq!(db.current().await?, before);
        assert_eq!(db.number("SELECT count() FROM system.tables WHERE database = '{db}' AND name LIKE 'feedback%'").await?, 2);
        // Its rows get the other orders in the background, and are found meanwhile.
        let reader = Reader::new(store, Duration::from_secs(10));
        let found = async |metric: &str, tag: &str| {
            let filter = Filter {
                metric: Some(metric.to_owned()),
                tags: vec![("v".to_owned(), tag.to_owned())],
                ..Filter::default()
            };
            reader.list("default", &filter, None, 1000).await
        };
        let all_found = async || -> Result<()> {
            for (metric, tag) in [("m0", "1"), ("m0", "2"), ("m3", "1"), ("m3", "2")] {
                let seen = format!(
                    "SELECT count() FROM {{db}}.feedback_current WHERE metric = '{metric}' AND tags['v'] = '{tag}'"
                );
                let items = found(metric, tag).await?.items;
                assert_eq!(
                    i64::try_from(items.len())?,
                    db.number(&seen).await?,
                    "{metric}, {tag}"
                );
                let first = items.first().expect("some have both");
                assert_eq!(
                    reader.feedback("default", first.id).await?.as_ref(),
                    Some(first)
                );
            }
            Ok(())
        };
        all_found().await?;
        wait_until("the parts to have the other orders", async || {
            let waiting =
                "SELECT count() FROM system.mutations WHERE database = '{db}' AND NOT is_done";
            Ok(db.number(waiting).await? == 0)
        })
        .await?;
        let orders = "SELECT uniqExact(name) FROM system.projection_parts WHERE active AND database = '{db}'";
        assert_eq!(db.number(orders).await?, 2);
        all_found().await?;
        db.execute("DROP DATABASE {db} SYNC").await.map(drop)
    })
}

#[test]
fn feedback_goes_when_its_retention_is_over() -> Result<()> {
    let options = Options {
        retention: Some(Duration::from_secs(3600)),
        ..Options::default()
    };
    run(options, async |stack| {
        let mut old = events::put("old", 1);
        old.received_at = Micros(events::now().0 - 2 * 3600 * 1_000_000);
        stack.produce(&[old, events::put("new", 2)]).await?;
        stack.settled().await?;
        stack
            .db
            .execute("OPTIMIZE TABLE {db}.feedback FINAL")
            .await?;
        let rows = stack.db.current().await?;
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0]["trace_id"], "new");

        // Outcomes stay until no log has their records any more.
        let now = events::now().as_millis();
        for (first, days) in [(-3, 100), (-2, 40), (-1, 20)] {
            let at = now - days * 24 * 3_600_000;
            let sql = format!(
                "INSERT INTO {{db}}.ledger SELECT 'old', 0, {first}, {first}, arrayJoin(['pending', 'stored']), '',
                    fromUnixTimestamp64Milli({at}), fromUnixTimestamp64Milli({at})"
            );
            stack.db.execute(&sql).await?;
        }
        stack.db.execute("OPTIMIZE TABLE {db}.ledger FINAL").await?;
        let left = async |outcome| {
            let of = format!(
                "SELECT count() FROM {{db}}.ledger WHERE topic = 'old' AND outcome = '{outcome}'"
            );
            stack.db.number(&of).await
        };
        assert_eq!((left("pending").await?, left("stored").await?), (1, 2));
        Ok(())
    })
}

#[test]
fn p2_no_insert_is_taken_for_an_earlier_one() -> Result<()> {
    let options = Options {
        sinks: 0,
        ..Options::default()
    };
    run(options, async |stack| {
        for table in ["feedback", "changes", "ledger"] {
            let stop = format!("SYSTEM STOP MERGES {{db}}.{table}");
            stack.db.execute(&stop).await?;
            let insert = format!(
                "INSERT INTO {{db}}.{table} (topic, partition) SETTINGS insert_deduplication_token = 'same'
                VALUES ('t', 0)"
            );
            stack.db.execute(&insert).await?;
            stack.db.execute(&insert).await?;
            let rows = format!("SELECT count() FROM {{db}}.{table} WHERE topic = 't'");
            assert_eq!(stack.db.number(&rows).await?, 2, "{table}");
        }
        Ok(())
    })
}

#[test]
fn a_retention_can_be_changed_and_taken_back() -> Result<()> {
    run(Options::default(), async |stack| {
        let migrate = async |retention| {
            let config = ClickhouseConfig {
                url: backend().clickhouse_url.clone(),
                database: stack.db.name().to_owned(),
                retention,
                ..ClickhouseConfig::default()
            };
            Store::new(config)
                .expect("plain HTTP needs no certificates")
                .migrate()
                .await
        };
        let ttl = async || {
            let sql = "SELECT countIf(create_table_query LIKE '%TTL%') FROM system.tables WHERE database = '{db}'";
            stack.db.number(sql).await
        };
        assert_eq!(ttl().await?, 0);
        migrate(Some(Duration::from_secs(60))).await?;
        assert_eq!(ttl().await?, 3);
        migrate(None).await?;
        assert_eq!(ttl().await?, 0);
        Ok(())
    })
}

#[test]
fn a_column_that_does_not_fit_stops_the_sink_before_it_takes_a_record() -> Result<()> {
    let options = Options {
        sinks: 0,
        ..Options::default()
    };
    run(options, async |stack| {
        for (broken, mended, words) in [
            (
                "ALTER TABLE {db}.feedback RENAME COLUMN comment TO remark",
                "ALTER TABLE {db}.feedback RENAME COLUMN remark TO comment",
                "`feedback.comment` is missing and this binary needs String",
            ),
            (
                "ALTER TABLE {db}.feedback MODIFY COLUMN weight Float32",
                "ALTER TABLE {db}.feedback MODIFY COLUMN weight Float64",
                "`feedback.weight` is Float32 and this binary needs Float64",
            ),
        ] {
            stack.db.execute(broken).await?;
            let number = stack.start_sink();
            let failure = stack.sink_failure(number).await?;
            assert!(failure.contains(words), "{failure}");
            stack.db.execute(mended).await?;
        }
        stack
            .db
            .execute("ALTER TABLE {db}.feedback ADD COLUMN own String")
            .await?;
        stack.start_sink();
        stack.ready().await
    })
}

#[test]
fn p6_every_error_code_has_the_name_that_clickhouse_gives_it() -> Result<()> {
    let table = include_str!("../../crates/plaudit-store/src/error/verdicts.rs");
    let known: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix('(')?.strip_suffix("\"),"))
        .filter_map(|entry| entry.split_once(", \""))
        .collect();
    assert!(known.len() > 50, "the table is written in another way");
    run(Options::default(), async |stack| {
        for (code, name) in known {
            let sql = format!("SELECT errorCodeToName(toInt32({code}))");
            assert_eq!(stack.db.execute(&sql).await?.trim(), name, "{code}");
        }
        Ok(())
    })
}
