//! `plaudit drill`, beside a `plaudit up` as a person starts it; and its oracle, on losses
//! that a test makes.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use plaudit::drill::{Count, Oracle, Sent};
use plaudit::up::{Child, ChildSpec, Found, Tether};
use plaudit_event::{Event, Micros, Operation};
use plaudit_store::ClickhouseConfig;
use support::{DEADLINE, Options, Stack, backend, binary, command, repository, run, wait_until};
use uuid::Uuid;

use crate::events;

/// A drill waits for its victim to have lived for a while, and for the group after it.
const PATIENCE: Duration = DEADLINE.saturating_mul(3);

async fn plaudit(name: &'static str, directory: &Path, words: &[&str]) -> Result<Child> {
    let mut arguments: Vec<OsString> = words.iter().map(Into::into).collect();
    arguments.extend(["--dir".into(), directory.into()]);
    let spec = ChildSpec {
        name,
        program: binary()?,
        arguments,
        environment: Vec::new(),
        log: directory.join(format!("{name}.log")),
        tether: Tether::Tied(binary()?),
    };
    Ok(Child::start(spec).await?)
}

#[test]
fn p1_a_drill_on_a_running_stack_finds_all_that_was_acknowledged() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let scratch = tempfile::tempdir()?;
        let directory = scratch.path();
        let nobody = command(directory, &["drill", "kill-sink"]).await?;
        assert!(!nobody.status.success());
        let said = String::from_utf8(nobody.stderr)?;
        assert!(said.contains("no `plaudit up` runs"), "{said}");

        let parts = repository().join(".plaudit/parts").display().to_string();
        // As short as the broker takes it: a replay waits for it.
        let session = "kafka.properties.session.timeout.ms=6000";
        let words = ["up", "--free-ports", "--parts", &parts, "--set", session];
        let mut up = plaudit("up", directory, &words).await?;
        wait_until("the stack to be found", async || {
            Ok(Found::in_directory(directory).is_ok())
        })
        .await
        .with_context(|| up.last_lines(20).join("\n"))?;

        for (harm, done) in [
            ("kill-sink", "sink is killed"),
            ("poison", "a record that is no event"),
            ("replay", "the group is set back"),
            ("rebuild", "is stored anew from"),
            ("freeze-intake", "intake is frozen for"),
        ] {
            let words = ["drill", harm, "--times", "1", "--rate", "200"];
            let mut drill = plaudit("drill", directory, &words).await?;
            let ended = tokio::time::timeout(PATIENCE, drill.wait()).await;
            let said = drill.last_lines(100).join("\n");
            assert!(
                ended.context("the drill does not end")??.success(),
                "{said}"
            );
            for part in [done, "it adds up", "nothing is lost"] {
                assert!(said.contains(part), "{said}");
            }
        }
        up.stop(DEADLINE).await?;
        assert!(Found::in_directory(directory).is_err());
        Ok(())
    })
}

/// Counts by a file that says of each of these ids that it was acknowledged there.
async fn count(stack: &Stack, acked: &[(Uuid, String)]) -> Result<Count> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("acked.txt");
    let mut lines = String::new();
    for (id, receipt) in acked {
        writeln!(lines, "{id} {receipt}")?;
    }
    std::fs::write(&file, lines)?;
    let sent = Sent {
        events: acked.len() as u64,
        acked: vec![file],
        traces: "trace-".to_owned(),
    };
    let config = ClickhouseConfig {
        url: backend().clickhouse_url.clone(),
        database: stack.db.name().to_owned(),
        ..ClickhouseConfig::default()
    };
    Oracle::new(&config)?.count(&sent).await
}

fn acked(stack: &Stack, sent: &[Event<'_>], places: &[(i32, i64)]) -> Vec<(Uuid, String)> {
    let places = places.iter().map(|(partition, offset)| {
        let topic = &stack.kafka.topic;
        format!("{topic}:{partition}:{offset}")
    });
    sent.iter().map(Event::id).zip(places).collect()
}

#[test]
fn p1_the_oracle_misses_what_was_acknowledged_and_is_not_there() -> Result<()> {
    let options = Options {
        partitions: 1,
        expected_errors: &["clickhouse does not take rows"],
        ..Options::default()
    };
    run(options, async |stack| {
        let poison = "ALTER TABLE {db}.feedback ADD CONSTRAINT poison CHECK value != '7'";
        stack.db.execute(poison).await?;
        let sent = events::puts(10);
        let places = stack.produce(&sent).await?;
        stack.settled().await?;
        let mut acked = acked(stack, &sent, &places);
        let all = Count {
            sent: 10,
            acknowledged: 10,
            stored: 9,
            visible: 9,
            dead: 1,
            ..Count::default()
        };
        assert_eq!(count(stack, &acked).await?, all);
        assert!(all.problems().is_empty());

        acked.push((Uuid::now_v7(), "-".to_owned()));
        let less = count(stack, &acked).await?;
        assert_eq!((less.acknowledged, less.lost), (11, 1));
        assert_eq!(less.problems().len(), 1);
        Ok(())
    })
}

#[test]
fn p3_the_oracle_tells_a_copy_from_what_is_seen_twice() -> Result<()> {
    let options = Options {
        partitions: 1,
        ..Options::default()
    };
    run(options, async |stack| {
        stack.db.execute("SYSTEM STOP MERGES {db}.feedback").await?;
        let sent = events::puts(3);
        let [first, ..] = &sent[..] else {
            unreachable!("three")
        };
        // The same record a second time, in a batch of its own: a copy, seen once.
        let places = stack.produce(&sent).await?;
        stack.settled().await?;
        stack.produce(std::slice::from_ref(first)).await?;
        stack.settled().await?;
        let acked = acked(stack, &sent, &places);
        let counted = count(stack, &acked).await?;
        assert_eq!((counted.copies, counted.seen_twice), (1, 0));

        // The same id under another trace is another feedback to the product, and
        // nothing that a sender of unique ids could explain.
        let mut other = events::feedback(first.id(), "trace-other", 1);
        other.created_at = Some(Micros(0));
        stack
            .produce(&[events::event(Operation::Put(other))])
            .await?;
        stack.settled().await?;
        let counted = count(stack, &acked).await?;
        assert_eq!((counted.copies, counted.seen_twice), (1, 1));
        assert_eq!(counted.problems().len(), 1);
        stack
            .db
            .execute("SYSTEM START MERGES {db}.feedback")
            .await?;
        Ok(())
    })
}
