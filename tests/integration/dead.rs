//! Dead letters, looked at and sent again with the built binary (P2, P3).

use std::time::Duration;

use anyhow::{Result, ensure};
use plaudit_event::{Event, Outcome};
use plaudit_kafka::{Admin, KafkaConfig, Record};
use support::{DEADLINE, Options, Stack, run, tool};
use uuid::Uuid;

use crate::events;

/// What `plaudit dead` prints.
async fn dead(stack: &Stack, arguments: &[&str]) -> Result<String> {
    let words: Vec<&str> = ["dead"].iter().chain(arguments).copied().collect();
    let output = tool(&stack.settings(), &words).await?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

fn options() -> Options {
    Options {
        partitions: 1,
        expected_errors: &["clickhouse does not take rows"],
        ..Options::default()
    }
}

async fn refuse_value(stack: &Stack, value: i64) -> Result<()> {
    let sql = format!("ALTER TABLE {{db}}.feedback ADD CONSTRAINT poison CHECK value != '{value}'");
    stack.db.execute(&sql).await.map(drop)
}

async fn allow_values(stack: &Stack) -> Result<()> {
    let sql = "ALTER TABLE {db}.feedback DROP CONSTRAINT poison";
    stack.db.execute(sql).await.map(drop)
}

/// A poison row and a record that is no event, each among others that are stored.
async fn die(stack: &Stack) -> Result<(Event<'static>, i64, i64)> {
    refuse_value(stack, 13).await?;
    let sent = events::puts(20);
    let places = stack.produce(&sent).await?;
    let garbage = stack.write([Record {
        key: Some(b"a key"),
        payload: Some(b"{ the secret"),
        ..Record::default()
    }]);
    let garbage = garbage.await?;
    stack.settled().await?;
    Ok((sent[13].clone(), places[13].1, garbage[0].1))
}

#[test]
fn p6_dead_letters_are_listed_by_reason_and_shown_without_their_payload() -> Result<()> {
    run(options(), async |stack| {
        assert_eq!(dead(stack, &["list"]).await?, "no dead letters\n");
        let (put, poison, garbage) = die(stack).await?;

        let list = dead(stack, &["list"]).await?;
        let rows: Vec<Vec<&str>> = list
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[1][..3], ["poison", "0", &poison.to_string()]);
        assert_eq!(rows[2][..3], ["undecodable", "0", &garbage.to_string()]);
        assert_eq!(rows[3..], [["poison:", "1"], ["undecodable:", "1"]]);

        let one = dead(stack, &["list", "--reason", "poison", "--since", "1h"]).await?;
        assert!(one.contains("poison: 1") && !one.contains("undecodable"));
        let none = dead(stack, &["list", "--since", "2999-01-01T00:00:00Z"]).await;
        assert!(none.is_err(), "no such time in the tables");
        let none = dead(stack, &["list", "--since", "2200-01-01T00:00:00Z"]).await?;
        assert_eq!(none, "no dead letters\n");

        let shown = dead(stack, &["show", &format!("0:{poison}")]).await?;
        assert!(shown.contains(&format!("put of {}", put.id())), "{shown}");
        assert!(!shown.contains("trace-13"), "{shown}");
        let place = format!("0:{garbage}");
        let shown = dead(stack, &["show", &place]).await?;
        assert!(!shown.contains("secret"), "{shown}");
        let shown = dead(stack, &["show", &place, "--payload"]).await?;
        assert!(shown.ends_with("{ the secret\n"), "{shown}");
        dead(stack, &["show", "0:0"]).await.unwrap_err();
        Ok(())
    })
}

#[test]
fn p3_a_dead_letter_that_is_replayed_twice_is_seen_once_as_it_was_sent() -> Result<()> {
    run(options(), async |stack| {
        let (put, poison, _) = die(stack).await?;
        assert_eq!(stack.db.current().await?.len(), 19);

        // Not mended yet: it dies again, and its two letters go back as one record.
        let said = dead(stack, &["replay"]).await?;
        assert!(said.contains("wrote 1 records"), "{said}");
        assert!(
            said.contains("no events that this Plaudit knows: 1"),
            "{said}"
        );
        stack.settled().await?;
        let said = dead(stack, &["replay", "--dry-run"]).await?;
        assert!(said.contains("would write 1 of reason poison"), "{said}");
        assert!(
            said.contains("further letters of the same records: 1"),
            "{said}"
        );
        assert_eq!(stack.logs().await?[&0].end, 22, "a dry run writes nothing");

        allow_values(stack).await?;
        for _ in 0..2 {
            let said = dead(stack, &["replay", "--reason", "poison"]).await?;
            assert!(said.contains("wrote 1 records"), "{said}");
        }
        let outcomes = stack.settled().await?;
        assert_eq!(outcomes[&(0, poison)], Outcome::DeadLettered, "as it was");
        assert_eq!(outcomes[&(0, 22)], Outcome::Stored);
        assert!(matches!(
            outcomes[&(0, 23)],
            Outcome::Stored | Outcome::Duplicate
        ));
        let rows = stack.db.current().await?;
        assert_eq!(rows.len(), 20);
        let row = rows.iter().find(|row| row["value"] == "13").unwrap();
        assert_eq!(row["id"], put.id().to_string());
        assert_eq!(row["received_at"], put.received_at.to_string());
        Ok(())
    })
}

#[test]
fn p6_a_record_that_the_dead_letter_topic_finds_too_large_blocks_nothing() -> Result<()> {
    run(options(), async |stack| {
        let dead_topic = KafkaConfig {
            topic: stack.kafka.dead_topic(),
            ..stack.kafka.clone()
        };
        let limit = [("max.message.bytes", "2000")];
        Admin::new(&dead_topic)?
            .alter_topic(&limit, DEADLINE)
            .await?;
        // Nothing that could be compressed.
        let large: Vec<u8> = (0..320).flat_map(|_| Uuid::new_v4().into_bytes()).collect();
        let records = [&large[..], b"{ small"].map(|payload| Record {
            payload: Some(payload),
            ..Record::default()
        });
        // The broker has answered before all of it goes by the new limit.
        let places = support::wait_for("the limit to hold", async || {
            let places = stack.write(records).await?;
            let outcomes = stack.settled().await?;
            for place in &places {
                assert_eq!(outcomes[place], Outcome::DeadLettered);
            }
            let shown = dead(stack, &["show", &format!("0:{}", places[0].1)]).await?;
            let is_refused = shown.contains("value     5120 bytes, not kept");
            Ok(is_refused.then_some(places))
        })
        .await?;
        let shown = dead(stack, &["show", &format!("0:{}", places[1].1)]).await?;
        assert!(shown.contains("value     7 bytes\n"), "{shown}");
        Ok(())
    })
}

#[test]
fn p4_a_patch_that_was_given_up_is_applied_by_a_replay_once_its_feedback_is_there() -> Result<()> {
    let mut options = Options {
        expected_errors: &["patches whose feedback did not come"],
        ..Options::default()
    };
    options.sink.changes.give_up_after = Duration::from_millis(1);
    run(options, async |stack| {
        let id = Uuid::now_v7();
        let put = events::event(plaudit_event::Operation::Put(events::feedback(id, "t", 1)));
        let patch = events::event(events::comment(id, "late"));
        let place = stack.produce(&[patch]).await?;
        support::wait_until("the patch to be given up", async || {
            Ok(stack.settled().await?[&place[0]] == Outcome::DeadLettered)
        })
        .await?;
        stack.produce(&[put]).await?;
        stack.settled().await?;
        assert_eq!(stack.db.current().await?[0]["comment"], "");

        let said = dead(stack, &["replay", "--reason", "no_feedback"]).await?;
        assert!(said.contains("wrote 1 records"), "{said}");
        let outcomes = stack.settled().await?;
        assert_eq!(
            outcomes.values().filter(|o| **o == Outcome::Stored).count(),
            2
        );
        assert_eq!(stack.db.current().await?[0]["comment"], "late");
        Ok(())
    })
}
