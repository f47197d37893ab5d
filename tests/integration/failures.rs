//! What ClickHouse refuses, and ClickHouse away.

use std::time::Duration;

use anyhow::Result;
use plaudit_event::{Operation, Outcome};
use plaudit_sink::{OnExhausted, RetryConfig, SinkConfig};
use support::{Options, Proxy, Stack, backend, run, wait_until};
use uuid::Uuid;

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

/// Makes every insert of feedback fail with ILLEGAL_DIVISION, which is not known
/// to be anything but passing.
async fn refuse_inserts(stack: &Stack) -> Result<()> {
    let sql =
        "ALTER TABLE {db}.feedback ADD CONSTRAINT broken CHECK intDiv(1, toUInt8(value = '')) = 1";
    stack.db.execute(sql).await.map(drop)
}

async fn allow_inserts(stack: &Stack) -> Result<()> {
    let sql = "ALTER TABLE {db}.feedback DROP CONSTRAINT broken";
    stack.db.execute(sql).await.map(drop)
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
        expected_errors: &["clickhouse does not take rows"],
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
fn p6_one_row_in_a_thousand_that_clickhouse_cannot_take_is_found() -> Result<()> {
    let options = Options {
        partitions: 1,
        sinks: 0,
        expected_errors: &["clickhouse does not take rows"],
        ..Options::default()
    };
    run(options, async |stack| {
        stack
            .db
            .execute("ALTER TABLE {db}.feedback ADD CONSTRAINT poison CHECK value != '617'")
            .await?;
        stack.produce(&events::puts(1000)).await?;
        stack.start_sink();
        let outcomes = stack.settled().await?;
        for ((_, offset), outcome) in outcomes {
            let expected = if offset == 617 {
                Outcome::DeadLettered
            } else {
                Outcome::Stored
            };
            assert_eq!(outcome, expected, "{offset}");
        }
        assert_eq!(stack.db.current().await?.len(), 999);
        Ok(())
    })
}

#[test]
fn p6_a_row_that_is_refused_without_being_called_bad_data_is_found_too() -> Result<()> {
    let options = Options {
        partitions: 1,
        sinks: 0,
        sink: impatient(OnExhausted::DeadLetter),
        expected_errors: &["clickhouse does not take rows"],
        ..Options::default()
    };
    run(options, async |stack| {
        // ILLEGAL_DIVISION: for more rows in a row than there are single ones before it
        // looks as if the server took nothing, and for one among good ones.
        let bad = |value: i64| value < 7 || value == 42;
        let sql = "ALTER TABLE {db}.feedback ADD CONSTRAINT broken \
                   CHECK intDiv(1, toUInt8(toInt32(value) >= 7 AND value != '42')) = 1";
        stack.db.execute(sql).await?;
        stack.produce(&events::puts(100)).await?;
        stack.start_sink();
        let outcomes = stack.settled().await?;
        for ((_, offset), outcome) in outcomes {
            let expected = if bad(offset) {
                Outcome::DeadLettered
            } else {
                Outcome::Stored
            };
            assert_eq!(outcome, expected, "{offset}");
        }
        let sql = "SELECT count() FROM {db}.ledger \
                   WHERE outcome = 'dead_lettered' AND reason = 'exhausted'";
        assert!(stack.db.number(sql).await? > 0);
        Ok(())
    })
}

#[test]
fn p6_a_change_whose_fold_is_refused_without_being_called_bad_data_blocks_nothing() -> Result<()> {
    let options = Options {
        sink: impatient(OnExhausted::DeadLetter),
        expected_errors: &["with these changes folded in"],
        ..Options::default()
    };
    run(options, async |stack| {
        let sql = "ALTER TABLE {db}.feedback ADD CONSTRAINT broken \
                   CHECK intDiv(1, toUInt8(comment != 'bad')) = 1";
        stack.db.execute(sql).await?;
        let put = events::put("t", 1);
        let id = put.id();
        stack.produce(&[put]).await?;
        for (text, outcome) in [("bad", Outcome::DeadLettered), ("good", Outcome::Stored)] {
            let patch = events::event(events::comment(id, text));
            let places = stack.produce(&[patch]).await?;
            assert_eq!(stack.settled().await?[&places[0]], outcome, "{text}");
        }
        assert_eq!(stack.db.current().await?[0]["comment"], "good");
        Ok(())
    })
}

#[test]
fn p6_a_change_that_cannot_be_folded_is_set_aside_and_the_others_are_applied() -> Result<()> {
    let options = Options {
        expected_errors: &["with these changes folded in"],
        ..Options::default()
    };
    run(options, async |stack| {
        stack
            .db
            .execute("ALTER TABLE {db}.feedback ADD CONSTRAINT poison CHECK comment != 'bad'")
            .await?;
        let comment = |id, text| events::event(events::comment(id, text));
        let (put, other) = (events::put("t", 1), events::put("t", 2));
        let (id, late) = (put.id(), Uuid::now_v7());
        // No later than its patch, although it comes later.
        let last = events::event(Operation::Put(events::feedback(late, "t", 3)));
        stack.produce(&[put, other.clone()]).await?;
        let good = stack.produce(&[comment(id, "good")]).await?;
        stack.settled().await?;
        // One after what is folded, between others, and before its feedback.
        let bad = stack
            .produce(&[comment(id, "bad"), comment(late, "bad")])
            .await?;
        let fine = stack.produce(&[comment(other.id(), "fine")]).await?;
        stack.settled().await?;
        stack.produce(&[last]).await?;
        wait_until("the changes to be set aside", async || {
            let outcomes = stack.settled().await?;
            Ok(bad
                .iter()
                .all(|place| outcomes[place] == Outcome::DeadLettered))
        })
        .await?;
        let outcomes = stack.outcomes().await?;
        assert_eq!(outcomes[&good[0]], Outcome::Stored);
        assert_eq!(outcomes[&fine[0]], Outcome::Stored);
        let rows = stack
            .db
            .rows("SELECT value, comment FROM {db}.feedback_current ORDER BY value");
        let seen: Vec<String> = rows
            .await?
            .iter()
            .map(|row| format!("{} {}", row["value"], row["comment"]))
            .collect();
        assert_eq!(seen, [r#""1" "good""#, r#""2" "fine""#, r#""3" """#]);
        let sql = "SELECT count() FROM {db}.ledger WHERE outcome = 'dead_lettered' AND reason = 'unfoldable'";
        assert_eq!(stack.db.number(sql).await?, 2);
        Ok(())
    })
}

#[test]
fn p6_a_row_that_an_error_left_without_what_a_view_makes_of_it_is_held_until_it_is_whole()
-> Result<()> {
    let options = Options {
        partitions: 1,
        sink: impatient(OnExhausted::DeadLetter),
        expected_errors: &["clickhouse refuses: holding"],
        ..Options::default()
    };
    run(options, async |stack| {
        // What an operator's view fills refuses it: the error answer leaves the row
        // itself stored.
        for sql in [
            "CREATE TABLE {db}.own (metric String, CONSTRAINT poison CHECK metric != 'bad')
            ENGINE = MergeTree ORDER BY metric",
            "CREATE MATERIALIZED VIEW {db}.to_own TO {db}.own AS SELECT metric FROM {db}.feedback",
        ] {
            stack.db.execute(sql).await?;
        }
        let mut bad = events::feedback(Uuid::now_v7(), "t", 1);
        bad.metric = "bad".into();
        let places = stack
            .produce(&[events::event(Operation::Put(bad)), events::put("t", 2)])
            .await?;
        wait_until("the sink to hold", async || {
            Ok(stack.log.has("complete stored rows"))
        })
        .await?;
        assert!(!stack.sink_is_ready(0));
        assert_eq!(stack.db.current().await?.len(), 2, "it is seen");
        assert_eq!(stack.outcomes().await?.len(), 0, "so it is no dead letter");
        let allow = "ALTER TABLE {db}.own DROP CONSTRAINT poison";
        stack.db.execute(allow).await?;
        let outcomes = stack.settled().await?;
        assert!(
            places
                .iter()
                .all(|place| outcomes[place] == Outcome::Stored)
        );
        stack.ready().await
    })
}

#[test]
fn p6_a_batch_that_is_refused_at_every_attempt_becomes_dead_letters() -> Result<()> {
    let options = Options {
        sink: impatient(OnExhausted::DeadLetter),
        expected_errors: &["clickhouse does not take rows"],
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
fn p2_while_clickhouse_has_too_much_to_do_the_sink_waits_and_counts_no_attempt() -> Result<()> {
    let options = Options {
        sink: impatient(OnExhausted::DeadLetter),
        ..Options::default()
    };
    run(options, async |stack| {
        store_one(stack).await?;
        stack.db.execute("SYSTEM STOP MERGES {db}.feedback").await?;
        let sql = "ALTER TABLE {db}.feedback MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1";
        stack.db.execute(sql).await?;
        stack.produce(&events::puts(10)).await?;
        wait_until("the sink to say so", async || {
            Ok(stack.log.has("TOO_MANY_PARTS"))
        })
        .await?;
        assert!(!stack.sink_is_ready(0));
        let sql =
            "ALTER TABLE {db}.feedback RESET SETTING parts_to_delay_insert, parts_to_throw_insert";
        stack.db.execute(sql).await?;
        stack
            .db
            .execute("SYSTEM START MERGES {db}.feedback")
            .await?;
        let outcomes = stack.settled().await?;
        assert!(outcomes.values().all(|outcome| *outcome == Outcome::Stored));
        assert_eq!(stack.db.current().await?.len(), 11);
        stack.ready().await
    })
}

#[test]
fn p6_what_is_too_much_for_clickhouse_goes_in_by_halves() -> Result<()> {
    let mut sink = impatient(OnExhausted::DeadLetter);
    sink.batch.max_age = Duration::from_secs(2);
    let options = Options {
        sink,
        ..Options::default()
    };
    run(options, async |stack| {
        store_one(stack).await?;
        // As if memory ran out (MEMORY_LIMIT_EXCEEDED), however often it is tried.
        let view = "CREATE MATERIALIZED VIEW {db}.limited ENGINE = Null AS
            SELECT throwIf(count() > 1500, 'too much', toInt16(241)) AS refused FROM {db}.feedback
            SETTINGS allow_custom_error_code_in_throwif = 1";
        stack.db.execute(view).await?;
        stack.produce(&events::puts(4000)).await?;
        let outcomes = stack.settled().await?;
        assert!(outcomes.values().all(|outcome| *outcome == Outcome::Stored));
        assert!(stack.log.has("more than clickhouse can take: halved"));
        assert_eq!(stack.db.current().await?.len(), 4001);
        stack.ready().await
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
