//! Every outcome that a record can have, and that each has one (P2).

use std::time::Duration;

use anyhow::{Context, Result, bail};
use plaudit_event::{Operation, Outcome, codec};
use plaudit_kafka::{Read, Record, TopicReader};
use plaudit_sink::{ChangesConfig, SinkConfig};
use plaudit_store::Store;
use serde_json::json;
use support::{Options, Stack, run, wait_until};
use uuid::Uuid;

use crate::events;

/// A record of the dead-letter topic, as text.
struct Letter {
    key: Vec<u8>,
    payload: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Letter {
    fn header(&self, name: &str) -> Option<&str> {
        let (_, text) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(text)
    }
}

/// All dead letters of one partition.
fn dead_letters(stack: &Stack, partition: i32) -> Result<Vec<Letter>> {
    let topic = stack.kafka.dead_topic();
    let reader = TopicReader::open(&stack.kafka, &topic, &[(partition, 0)])?;
    let mut letters = Vec::new();
    loop {
        match reader.poll(support::DEADLINE).transpose()? {
            Some(Read::Record(message)) => letters.push(Letter {
                key: message.key().unwrap_or_default().to_vec(),
                payload: message.payload().unwrap_or_default().to_vec(),
                headers: message
                    .headers()
                    .map(|(name, text)| {
                        (name.to_owned(), String::from_utf8_lossy(text).into_owned())
                    })
                    .collect(),
            }),
            Some(Read::End { .. }) => return Ok(letters),
            None => bail!("the dead-letter topic has no end"),
        }
    }
}

#[test]
fn p2_a_record_that_is_no_event_is_a_dead_letter_with_its_reason() -> Result<()> {
    let options = Options {
        partitions: 1,
        ..Options::default()
    };
    run(options, async |stack| {
        let garbage = b"\xff{ not an event";
        let put = events::put("t", 1);
        let before = stack.produce(std::slice::from_ref(&put)).await?;
        let dead = stack.write([Record {
            key: Some(b"a key"),
            payload: Some(garbage),
            ..Record::default()
        }]);
        let dead = dead.await?;
        let after = stack.produce(&[events::put("t", 2)]).await?;
        let outcomes = stack.settled().await?;
        assert_eq!(outcomes[&before[0]], Outcome::Stored);
        assert_eq!(outcomes[&dead[0]], Outcome::DeadLettered);
        assert_eq!(outcomes[&after[0]], Outcome::Stored);
        assert_eq!(
            stack.db.current().await?.len(),
            2,
            "the rest of the batch is stored"
        );

        let letters = dead_letters(stack, 0)?;
        let [letter] = letters.as_slice() else {
            bail!("{} dead letters", letters.len());
        };
        assert_eq!(
            (letter.key.as_slice(), letter.payload.as_slice()),
            (&b"a key"[..], &garbage[..])
        );
        assert_eq!(letter.header("plaudit-dead-reason"), Some("undecodable"));
        assert_eq!(
            letter.header("plaudit-dead-topic"),
            Some(stack.kafka.topic.as_str())
        );
        assert_eq!(letter.header("plaudit-dead-partition"), Some("0"));
        assert_eq!(
            letter.header("plaudit-dead-offset"),
            Some(dead[0].1.to_string().as_str())
        );
        assert!(letter.header("plaudit-dead-attempts").is_some());
        let time: i64 = letter
            .header("plaudit-dead-time")
            .context("no time")?
            .parse()?;
        assert!((put.received_at.as_millis()..=events::now().as_millis()).contains(&time));

        let receipt = format!("{}:0:{}", stack.kafka.topic, dead[0].1);
        let state = stack.api.get(&format!("/v1/receipts/{receipt}")).await?;
        assert_eq!(
            state.json,
            json!({"receipt": receipt, "state": "dead_lettered", "reason": "undecodable"})
        );
        Ok(())
    })
}

#[test]
fn p2_an_event_that_comes_again_in_a_later_batch_is_stored_and_seen_once() -> Result<()> {
    run(Options::default(), async |stack| {
        let put = events::put("t", 1);
        stack.produce(std::slice::from_ref(&put)).await?;
        stack.settled().await?;
        stack.produce(&[put]).await?;
        let outcomes = stack.settled().await?;
        assert_eq!(outcomes.len(), 2);
        assert!(outcomes.values().all(|outcome| *outcome == Outcome::Stored));
        assert_eq!(stack.db.current().await?.len(), 1);
        Ok(())
    })
}

/// A stack without a sink, whose sinks take all that they find into one batch.
fn one_batch() -> Options {
    let mut options = Options {
        sinks: 0,
        partitions: 1,
        ..Options::default()
    };
    options.sink.batch.max_age = Duration::from_secs(2);
    options
}

#[test]
fn p2_copies_of_an_event_in_one_batch_are_duplicates() -> Result<()> {
    run(one_batch(), async |stack| {
        let put = events::put("t", 1);
        stack.produce(&[put.clone(), put.clone(), put]).await?;
        stack.start_sink();
        let outcomes: Vec<_> = stack.settled().await?.into_values().collect();
        use Outcome::{Duplicate, Stored};
        assert_eq!(outcomes, [Stored, Duplicate, Duplicate]);
        assert_eq!(stack.db.current().await?.len(), 1);
        Ok(())
    })
}

#[test]
fn p2_a_copy_of_what_a_replay_finds_stored_is_a_duplicate() -> Result<()> {
    run(one_batch(), async |stack| {
        let put = events::put("t", 1);
        let first = stack.start_sink();
        stack.produce(std::slice::from_ref(&put)).await?;
        stack.settled().await?;
        stack.stop_sink(first).await?;
        crate::sinks::rewind(stack)?;
        stack.produce(&[put]).await?;
        stack.start_sink();
        let outcomes: Vec<_> = stack.settled().await?.into_values().collect();
        assert_eq!(outcomes, [Outcome::Stored, Outcome::Duplicate]);
        assert_eq!(stack.db.current().await?.len(), 1);
        Ok(())
    })
}

#[test]
fn p4_a_patch_that_comes_before_its_feedback_waits_for_it() -> Result<()> {
    run(Options::default(), async |stack| {
        let id = Uuid::now_v7();
        let patch = stack
            .produce(&[events::event(events::comment(id, "first the patch"))])
            .await?;
        assert_eq!(stack.settled().await?[&patch[0]], Outcome::Pending);
        let receipt = format!("{}:{}:{}", stack.kafka.topic, patch[0].0, patch[0].1);
        let path = format!("/v1/receipts/{receipt}");
        assert_eq!(stack.api.get(&path).await?.at("/state"), "pending");

        // Within the clock skew that is allowed, the put is the older one.
        let put = Operation::Put(events::feedback(id, "t", 4));
        stack.produce(&[events::event(put)]).await?;
        wait_until("the patch to be stored", async || {
            Ok(stack.outcomes().await?[&patch[0]] == Outcome::Stored)
        })
        .await?;
        let rows = stack.db.current().await?;
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (&rows[0]["value"], &rows[0]["comment"]),
            (&json!("4"), &json!("first the patch"))
        );
        assert_eq!(stack.api.get(&path).await?.at("/state"), "visible");
        Ok(())
    })
}

#[test]
fn p2_a_patch_whose_feedback_never_comes_is_given_up() -> Result<()> {
    // Partitions that nobody ever wrote to do not hold it back.
    let options = Options {
        sink: SinkConfig {
            changes: ChangesConfig {
                give_up_after: Duration::from_millis(1),
                ..ChangesConfig::default()
            },
            ..Options::default().sink
        },
        expected_errors: &["patches whose feedback did not come"],
        ..Options::default()
    };
    run(options, async |stack| {
        let id = Uuid::now_v7();
        let patch = stack
            .produce(&[events::event(events::comment(id, "nobody's"))])
            .await?;
        wait_until("the patch to be given up", async || {
            Ok(stack.settled().await?[&patch[0]] == Outcome::DeadLettered)
        })
        .await?;
        let letters = dead_letters(stack, patch[0].0)?;
        assert_eq!(letters.len(), 1);
        assert_eq!(
            letters[0].header("plaudit-dead-reason"),
            Some("no_feedback")
        );
        let event = codec::decode(&letters[0].payload, || None)?;
        assert_eq!(event.id(), id);

        // Given up is final: a feedback that comes later is as it was sent.
        stack
            .produce(&[events::event(Operation::Put(events::feedback(id, "t", 2)))])
            .await?;
        stack.settled().await?;
        let rows = stack.db.current().await?;
        assert!(rows.iter().all(|row| row["comment"] == ""), "{rows:?}");
        Ok(())
    })
}

#[test]
fn p5_more_patches_than_one_round_looks_at_are_all_ended_also_after_a_restart() -> Result<()> {
    let options = Options {
        partitions: 1,
        expected_errors: &["patches whose feedback did not come"],
        ..Options::default()
    };
    run(options, async |stack| {
        let patches: Vec<_> = (0..5200)
            .map(|_| events::event(events::comment(Uuid::now_v7(), "nobody's")))
            .collect();
        stack.produce(&patches).await?;
        stack.settled().await?;
        stack.stop_sink(0).await?;
        stack.options_mut().sink.changes.give_up_after = Duration::from_millis(1);
        stack.start_sink();
        wait_until("every patch to be given up", async || {
            let sql = "SELECT count() FROM {db}.changes FINAL WHERE gave_up = 0";
            Ok(stack.db.number(sql).await? == 0)
        })
        .await?;
        wait_until("each to have its outcome", async || {
            let outcomes = stack.outcomes().await?;
            Ok(outcomes
                .values()
                .all(|outcome| *outcome == Outcome::DeadLettered))
        })
        .await
    })
}

#[test]
fn a_retraction_without_a_feedback_is_stored_and_hides_what_comes() -> Result<()> {
    run(Options::default(), async |stack| {
        let id = Uuid::now_v7();
        let retract = stack
            .produce(&[events::event(Operation::Retract { id })])
            .await?;
        assert_eq!(stack.settled().await?[&retract[0]], Outcome::Stored);
        stack
            .produce(&[events::event(Operation::Put(events::feedback(id, "t", 1)))])
            .await?;
        stack.settled().await?;
        assert_eq!(stack.db.current().await?.len(), 0);
        Ok(())
    })
}

#[test]
fn p5_the_changes_of_many_feedbacks_are_read_in_parts() -> Result<()> {
    run(Options::default(), async |stack| {
        let puts = events::puts(3);
        stack.produce(&puts).await?;
        let text = "x".repeat(400_000);
        for round in 0..30 {
            let of_all = puts.iter().map(|put| put.id());
            let patches: Vec<_> = of_all
                .map(|id| events::event(events::comment(id, &format!("{round} {text}"))))
                .collect();
            stack.produce(&patches).await?;
        }
        let outcomes = stack.settled().await?;
        assert!(outcomes.values().all(|outcome| *outcome == Outcome::Stored));
        // 36 MB, of which 32 MiB may come at once.
        let ids: Vec<_> = puts
            .iter()
            .map(|put| (put.project.to_string(), put.id()))
            .collect();
        let store = Store::new(stack.clickhouse())?;
        assert_eq!(store.changes_of(&ids).await?, None);
        let of_one = store.changes_of(&ids[..1]).await?.context("of one")?;
        assert_eq!(of_one.len(), 30);
        for row in stack.db.current().await? {
            let comment = row["comment"].as_str().context("a comment")?;
            assert!(comment.starts_with("29 "), "{comment:.9}");
        }
        Ok(())
    })
}
