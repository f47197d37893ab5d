//! The tables: made once, made by several, kept for as long as configured.

use std::time::Duration;

use anyhow::Result;
use plaudit_event::Micros;
use plaudit_store::{ClickhouseConfig, MigrateError, Store};
use support::{Options, backend, run};

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
        for table in ["feedback", "feedback_by_metric"] {
            stack
                .db
                .execute(&format!("OPTIMIZE TABLE {{db}}.{table} FINAL"))
                .await?;
        }
        let rows = stack.db.current().await?;
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0]["trace_id"], "new");
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
        assert_eq!(ttl().await?, 5);
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
