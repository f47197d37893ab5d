//! What ClickHouse refuses, and ClickHouse away.

use std::time::Duration;

use anyhow::Result;
use plaudit_event::Outcome;
use plaudit_sink::{OnExhausted, RetryConfig, SinkConfig};
use support::{Options, Proxy, Stack, backend, run, wait_until};

use crate::events;

/// Gives up after two attempts, without much waiting.
fn impatient(on_exhausted: OnExhausted) -> SinkConfig {
    SinkConfig {
        retry: RetryConfig {
            stop_after_attempt: 2,
            initial: Duration::from_millis(20),
            max: Duration::from_millis(50),
        },
        on_exhausted,
        ..Options::default().sink
    }
}

/// Makes every insert of feedback fail with TOO_MANY_PARTS, which may pass.
async fn refuse_inserts(stack: &Stack) -> Result<()> {
    stack.db.execute("SYSTEM STOP MERGES {db}.feedback").await?;
    let sql = "ALTER TABLE {db}.feedback MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1";
    stack.db.execute(sql).await.map(drop)
}

async fn allow_inserts(stack: &Stack) -> Result<()> {
    let sql =
        "ALTER TABLE {db}.feedback RESET SETTING parts_to_delay_insert, parts_to_throw_insert";
    stack.db.execute(sql).await?;
    stack
        .db
        .execute("SYSTEM START MERGES {db}.feedback")
        .await
        .map(drop)
}

/// A stack that has something stored, so that there is a part.
async fn store_one(stack: &Stack) -> Result<()> {
    stack.produce(&[events::put("before", 0)]).await?;
    stack.settled().await.map(drop)
}

#[test]
fn p6_a_row_that_clickhouse_cannot_take_is_set_aside_and_the_rest_is_stored() -> Result<()> {
    let options = Options {
        partitions: 1,
        expected_errors: &["clickhouse cannot take a row"],
        ..Options::default()
    };
    run(options, async |stack| {
        stack
            .db
            .execute("ALTER TABLE {db}.feedback ADD CONSTRAINT poison CHECK value != '13'")
            .await?;
        let sent = events::puts(100);
        let places = stack.produce(&sent).await?;
        let outcomes = stack.settled().await?;
        for (number, place) in places.iter().enumerate() {
            let expected = if number == 13 {
                Outcome::DeadLettered
            } else {
                Outcome::Stored
            };
            assert_eq!(outcomes[place], expected, "{number}");
        }
        assert_eq!(stack.db.current().await?.len(), 99);
        let sql =
            "SELECT count() FROM {db}.ledger WHERE outcome = 'dead_lettered' AND reason = 'poison'";
        assert_eq!(stack.db.number(sql).await?, 1);
        Ok(())
    })
}

#[test]
fn p6_a_batch_that_is_refused_at_every_attempt_becomes_dead_letters() -> Result<()> {
    let options = Options {
        sink: impatient(OnExhausted::DeadLetter),
        expected_errors: &["clickhouse refused rows at every attempt"],
        ..Options::default()
    };
    run(options, async |stack| {
        store_one(stack).await?;
        refuse_inserts(stack).await?;
        let dead = stack.produce(&events::puts(10)).await?;
        let outcomes = stack.settled().await?;
        for place in &dead {
            assert_eq!(outcomes[place], Outcome::DeadLettered);
        }
        let sql = "SELECT uniqExact(reason) = 1 AND any(reason) = 'exhausted' FROM {db}.ledger \
                   WHERE outcome = 'dead_lettered'";
        assert_eq!(stack.db.number(sql).await?, 1);
        // The sink goes on with what comes next.
        allow_inserts(stack).await?;
        let next = stack.produce(&events::puts(5)).await?;
        let outcomes = stack.settled().await?;
        assert!(next.iter().all(|place| outcomes[place] == Outcome::Stored));
        assert_eq!(stack.db.current().await?.len(), 6);
        Ok(())
    })
}

#[test]
fn a_sink_that_is_told_to_hold_keeps_trying_and_loses_nothing() -> Result<()> {
    let options = Options {
        sink: impatient(OnExhausted::Hold),
        expected_errors: &["clickhouse refuses: holding"],
        ..Options::default()
    };
    run(options, async |stack| {
        store_one(stack).await?;
        refuse_inserts(stack).await?;
        stack.produce(&events::puts(10)).await?;
        wait_until("the sink to hold", async || {
            Ok(stack.log.has("clickhouse refuses: holding"))
        })
        .await?;
        assert!(!stack.sink_is_ready(0));
        assert_eq!(stack.db.current().await?.len(), 1);
        allow_inserts(stack).await?;
        let outcomes = stack.settled().await?;
        assert!(
            outcomes.values().all(|outcome| *outcome == Outcome::Stored),
            "{outcomes:?}"
        );
        assert_eq!(stack.db.current().await?.len(), 11);
        stack.ready().await
    })
}

#[test]
fn p2_while_clickhouse_is_away_the_sink_holds_and_then_stores_everything() -> Result<()> {
    let target = backend()
        .clickhouse_url
        .trim_start_matches("http://")
        .to_owned();
    let proxies = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let proxy = proxies.block_on(Proxy::start(&target))?;
    let options = Options {
        sink: impatient(OnExhausted::DeadLetter),
        sink_clickhouse_url: Some(format!("http://{}", proxy.address())),
        ..Options::default()
    };
    run(options, async |stack| {
        store_one(stack).await?;
        proxy.cut();
        stack.produce(&events::puts(200)).await?;
        wait_until("the sink to say so", async || Ok(!stack.sink_is_ready(0))).await?;
        assert_eq!(stack.db.current().await?.len(), 1);
        proxy.mend();
        let outcomes = stack.settled().await?;
        assert!(
            outcomes.values().all(|outcome| *outcome == Outcome::Stored),
            "no attempt was counted"
        );
        assert_eq!(stack.db.current().await?.len(), 201);
        stack.ready().await
    })
}
