//! `plaudit verify`, on what is as it should be and on what is not (P1, P2).

use std::fmt::Write;

use anyhow::Result;
use plaudit_event::Operation;
use plaudit_kafka::Record;
use support::{Options, Stack, run, tool, wait_until};
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::events;

/// What a verification prints, and whether it says that it adds up.
struct Verdict {
    adds_up: bool,
    text: String,
}

impl Verdict {
    /// The numbers of the line of all partitions.
    fn totals(&self) -> Vec<u64> {
        let all = self
            .text
            .lines()
            .find(|line| line.trim_start().starts_with("all "));
        let words = all.unwrap().split_whitespace().skip(1);
        words.map(|word| word.parse().unwrap()).collect()
    }

    /// The lines that say what does not add up.
    fn problems(&self) -> Vec<&str> {
        self.text
            .lines()
            .filter(|line| line.starts_with("partition "))
            .collect()
    }
}

async fn verify(stack: &Stack, arguments: &[&str]) -> Result<Verdict> {
    let words: Vec<&str> = ["verify"].iter().chain(arguments).copied().collect();
    let output = tool(&stack.settings(), &words).await?;
    let text = String::from_utf8(output.stdout)?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(
        output.status.code(),
        Some(i32::from(!output.status.success())),
        "{said}"
    );
    assert_eq!(
        output.status.success(),
        text.ends_with("it adds up\n"),
        "{text}{said}"
    );
    Ok(Verdict {
        adds_up: output.status.success(),
        text,
    })
}

/// A file of receipts as `plaudit load --acked` writes it.
fn acked(stack: &Stack, acked: &[(Uuid, (i32, i64))]) -> Result<NamedTempFile> {
    let mut text = String::new();
    for (id, (partition, offset)) in acked {
        writeln!(text, "{id} {}:{partition}:{offset}", stack.kafka.topic)?;
    }
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Ok(file)
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Waits until the group has committed all that the topic has.
pub(crate) async fn all_committed(stack: &Stack) -> Result<()> {
    let logs = stack.logs().await?;
    wait_until("everything to be committed", async || {
        let committed = stack.committed().await?;
        let mut logs = logs.iter().filter(|(_, log)| !log.is_empty());
        Ok(logs.all(|(partition, log)| committed.get(partition) == Some(&log.end)))
    })
    .await
}

fn one_partition() -> Options {
    Options {
        partitions: 1,
        ..Options::default()
    }
}

#[test]
fn p2_records_of_every_kind_add_up_while_a_sink_runs_and_when_none_does() -> Result<()> {
    run(Options::default(), async |stack| {
        let sent = events::puts(200);
        let places = stack.produce(&sent).await?;
        let of = |n: usize| sent[n].id();
        let newer = Operation::Put(events::feedback(of(0), "trace-0", 7));
        let changes = [
            events::event(events::comment(of(1), "patched")),
            events::event(Operation::Retract { id: of(2) }),
            events::event(events::comment(Uuid::now_v7(), "before its feedback")),
            events::event(newer),
            sent[3].clone(),
        ];
        stack.produce(&changes).await?;
        let garbage = stack.write([Record {
            key: Some(b"k"),
            payload: Some(b"garbage"),
            ..Record::default()
        }]);
        garbage.await?;
        stack.settled().await?;
        // Merged away rows are proven by later ones.
        stack
            .db
            .execute("OPTIMIZE TABLE {db}.feedback FINAL")
            .await?;

        let ids = sent.iter().map(plaudit_event::Event::id);
        let receipts = acked(stack, &ids.zip(places).collect::<Vec<_>>())?;
        let verdict = verify(stack, &["--receipts", path(&receipts), "--deep"]).await?;
        assert!(verdict.adds_up, "{}", verdict.text);
        let totals = verdict.totals();
        assert_eq!(totals.iter().sum::<u64>(), 206);
        assert_eq!(totals[2..], [1, 0, 1, 0, 0], "{}", verdict.text);
        assert!(
            verdict.text.contains("acknowledged: 200"),
            "{}",
            verdict.text
        );
        assert!(
            verdict.text.contains("records read: 206"),
            "{}",
            verdict.text
        );

        stack.stop_sink(0).await?;
        stack.produce(&events::puts(50)).await?;
        let verdict = verify(stack, &["--deep"]).await?;
        assert!(verdict.adds_up, "{}", verdict.text);
        assert_eq!(verdict.totals()[5..], [50, 0]);
        let verdict = verify(stack, &["--from", "2h", "--to", "0:0,1:0,2:1"]).await?;
        assert_eq!(verdict.totals().iter().sum::<u64>(), 1);
        let verdict = verify(stack, &["--from", "2200-01-01T00:00:00Z"]).await?;
        assert_eq!(verdict.totals().iter().sum::<u64>(), 0);
        stack.start_sink();
        Ok(())
    })
}

#[test]
fn p2_a_gap_in_the_ledger_is_found_and_named() -> Result<()> {
    run(one_partition(), async |stack| {
        for _ in 0..3 {
            stack.produce(&events::puts(10)).await?;
            stack.settled().await?;
        }
        all_committed(stack).await?;
        assert!(verify(stack, &[]).await?.adds_up);
        // Ranges end where batches did; this one is cut out of whichever has it.
        let cut = [
            "CREATE TABLE {db}.before AS {db}.ledger",
            "INSERT INTO {db}.before SELECT * FROM {db}.ledger",
            "INSERT INTO {db}.ledger SELECT * REPLACE (12 AS last) FROM (SELECT * FROM {db}.before WHERE first <= 12 AND last > 12)",
            "INSERT INTO {db}.ledger SELECT * REPLACE (16 AS first) FROM (SELECT * FROM {db}.before WHERE first < 16 AND last >= 16)",
            "DELETE FROM {db}.ledger WHERE first <= 15 AND last >= 13",
        ];
        for sql in cut {
            stack.db.execute(sql).await?;
        }
        let verdict = verify(stack, &[]).await?;
        assert!(!verdict.adds_up);
        assert_eq!(verdict.totals()[5..], [0, 3]);
        let problems = verdict.problems();
        assert_eq!(problems.len(), 2, "the head of the table, and {problems:?}");
        assert!(
            problems[1].starts_with("partition 0, offsets 13 to 15 (3)"),
            "{problems:?}"
        );
        assert!(verify(stack, &["--to", "0:13"]).await?.adds_up);
        assert!(verify(stack, &["--from", "0:16"]).await?.adds_up);
        stack
            .db
            .execute("INSERT INTO {db}.ledger SELECT * FROM {db}.before")
            .await?;
        assert!(verify(stack, &["--deep"]).await?.adds_up);
        Ok(())
    })
}

#[test]
fn p1_a_receipt_that_is_no_offset_of_the_topic_is_found() -> Result<()> {
    run(one_partition(), async |stack| {
        let sent = events::puts(3);
        let places = stack.produce(&sent).await?;
        stack.settled().await?;
        let invented = acked(stack, &[(sent[0].id(), places[0]), (Uuid::nil(), (0, 3))])?;
        let verdict = verify(stack, &["--receipts", path(&invented)]).await?;
        assert!(!verdict.adds_up);
        assert_eq!(
            verdict.problems()[1..],
            ["partition 0, offset 3: acknowledged, and no offset of the topic"]
        );
        // A receipt that is one, of another record.
        let swapped = acked(stack, &[(sent[0].id(), places[1])])?;
        assert!(
            verify(stack, &["--receipts", path(&swapped)])
                .await?
                .adds_up
        );
        let verdict = verify(stack, &["--receipts", path(&swapped), "--deep"]).await?;
        assert!(!verdict.adds_up, "{}", verdict.text);
        assert_eq!(verdict.problems().len(), 2);
        Ok(())
    })
}

#[test]
fn p2_a_row_that_is_not_there_is_found_by_reading_the_records() -> Result<()> {
    run(one_partition(), async |stack| {
        let sent = events::puts(20);
        let places = stack.produce(&sent).await?;
        let patch = events::event(events::comment(sent[5].id(), "patched"));
        let patch = stack.produce(&[patch]).await?;
        stack.settled().await?;
        wait_until("the patch to be stored", async || {
            Ok(stack.outcomes().await?[&patch[0]] == plaudit_event::Outcome::Stored)
        })
        .await?;
        assert!(verify(stack, &["--deep"]).await?.adds_up);
        let lost = sent[7].id();
        stack
            .db
            .execute(&format!("DELETE FROM {{db}}.feedback WHERE id = '{lost}'"))
            .await?;
        let sql = format!("DELETE FROM {{db}}.changes WHERE offset = {}", patch[0].1);
        stack.db.execute(&sql).await?;
        assert!(
            verify(stack, &[]).await?.adds_up,
            "the ledger alone does not tell"
        );
        let verdict = verify(stack, &["--deep"]).await?;
        assert!(!verdict.adds_up);
        let missing = |(partition, offset): (i32, i64)| {
            format!("partition {partition}, offset {offset}: stored by the ledger, and not there")
        };
        let mut problems = verdict.problems()[1..].to_vec();
        problems.sort_unstable();
        let mut expected = [missing(places[7]), missing(patch[0])];
        expected.sort_unstable();
        assert_eq!(problems, expected);
        Ok(())
    })
}

#[test]
fn p2_a_dead_letter_that_is_not_there_is_found() -> Result<()> {
    let options = Options {
        sinks: 0,
        ..one_partition()
    };
    run(options, async |stack| {
        stack.produce(&events::puts(3)).await?;
        let sql = format!(
            "INSERT INTO {{db}}.ledger VALUES \
             ('{}', 0, 0, 1, 'dead_lettered', 'poison', '1970-01-01 00:00:00', '2200-01-01 00:00:00')",
            stack.kafka.topic
        );
        stack.db.execute(&sql).await?;
        let verdict = verify(stack, &["--deep"]).await?;
        assert!(!verdict.adds_up);
        assert_eq!(
            verdict.problems()[1..],
            [
                "partition 0, offset 0: dead-lettered, and without its letter",
                "partition 0, offset 1: dead-lettered, and without its letter"
            ]
        );
        stack.start_sink();
        Ok(())
    })
}

#[test]
fn p2_a_dead_letter_adds_up_until_its_record_is_seen_all_the_same() -> Result<()> {
    let options = Options {
        expected_errors: &["clickhouse does not take rows"],
        ..one_partition()
    };
    run(options, async |stack| {
        let poison = "ALTER TABLE {db}.feedback ADD CONSTRAINT poison CHECK value != '2'";
        stack.db.execute(poison).await?;
        stack.produce(&events::puts(3)).await?;
        stack.settled().await?;
        let verdict = verify(stack, &["--deep"]).await?;
        assert_eq!(verdict.totals()[..3], [2, 0, 1], "{}", verdict.text);
        assert!(verdict.adds_up, "{}", verdict.text);
        let swap = "ALTER TABLE {db}.feedback UPDATE offset = 3 - offset WHERE offset > 0 SETTINGS mutations_sync = 2";
        stack.db.execute(swap).await?;
        let verdict = verify(stack, &[]).await?;
        assert!(!verdict.adds_up);
        assert_eq!(
            verdict.problems()[1..],
            ["partition 0, offset 2: dead-lettered, and has a row"]
        );
        Ok(())
    })
}
