//! `plaudit rebuild`: what was stored, stored anew (P2, P3, P4).

use std::process::Output;

use anyhow::Result;
use plaudit_event::{Operation, Outcome};
use support::{Options, Stack, run, tool};

use crate::events;
use crate::verify::all_committed;

async fn rebuild(stack: &Stack, from: i64, to: i64) -> Result<Output> {
    let (from, to) = (from.to_string(), to.to_string());
    let arguments = ["rebuild", "--partition", "0", "--from", &from, "--to", &to];
    tool(&stack.settings(), &arguments).await
}

async fn rebuilt(stack: &Stack, from: i64, to: i64) -> Result<String> {
    let output = rebuild(stack, from, to).await?;
    let said = String::from_utf8(output.stderr)?;
    assert!(output.status.success(), "{said}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn refused(stack: &Stack, from: i64, to: i64) -> Result<String> {
    let output = rebuild(stack, from, to).await?;
    assert!(!output.status.success());
    Ok(String::from_utf8(output.stderr)?)
}

async fn adds_up(stack: &Stack) -> Result<()> {
    let output = tool(&stack.settings(), &["verify", "--deep"]).await?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}");
    Ok(())
}

fn options() -> Options {
    Options {
        partitions: 1,
        ..Options::default()
    }
}

/// Puts, patches, a retraction, a later version and a copy, all stored; no sink runs.
async fn fill(stack: &mut Stack) -> Result<()> {
    let sent = events::puts(30);
    stack.produce(&sent).await?;
    let id = |n: usize| sent[n].id();
    let changes = [
        events::event(events::comment(id(3), "patched")),
        events::event(events::comment(id(20), "patched too")),
        events::event(Operation::Retract { id: id(4) }),
        events::event(Operation::Put(events::feedback(id(5), "trace-5", 99))),
        sent[6].clone(),
    ];
    stack.produce(&changes).await?;
    stack.settled().await?;
    all_committed(stack).await?;
    stack.stop_sink(0).await
}

#[test]
fn p3_a_rebuild_of_everything_restores_what_readers_saw() -> Result<()> {
    run(options(), async |stack| {
        fill(stack).await?;
        let before = stack.db.current().await?;
        assert_eq!(before.len(), 29);
        let outcomes = stack.outcomes().await?;
        for sql in [
            "ALTER TABLE {db}.feedback UPDATE comment = 'spoiled' WHERE 1 SETTINGS mutations_sync = 2",
            "DELETE FROM {db}.feedback WHERE offset BETWEEN 10 AND 14",
            "DELETE FROM {db}.feedback WHERE trace_id = 'trace-1'",
        ] {
            stack.db.execute(sql).await?;
        }
        // The same rows in the same batches: the engine has had these blocks before.
        for _ in 0..2 {
            let said = rebuilt(stack, 0, 35).await?;
            assert!(said.starts_with("duplicate: 1\nstored: 34"), "{said}");
            assert_eq!(stack.db.current().await?, before);
        }
        let now = stack.outcomes().await?;
        assert!(now.keys().eq(outcomes.keys()));
        assert!(now.values().all(|outcome| *outcome >= Outcome::Duplicate));
        adds_up(stack).await?;
        stack.start_sink();
        Ok(())
    })
}

#[test]
fn p4_a_rebuild_of_some_offsets_leaves_the_others_and_folds_their_changes() -> Result<()> {
    run(options(), async |stack| {
        fill(stack).await?;
        let before = stack.db.current().await?;
        // Batches smaller than the range, and puts apart from their changes.
        stack.db.execute("DELETE FROM {db}.ledger WHERE 1").await?;
        let range = format!(
            "INSERT INTO {{db}}.ledger VALUES \
             ('{}', 0, 0, 34, 'stored', '', '1970-01-01 00:00:00', '2200-01-01 00:00:00')",
            stack.kafka.topic
        );
        stack.db.execute(&range).await?;
        let mut settings = stack.settings();
        settings.push(("sink.batch.max_rows", "4".to_owned()));
        let arguments = ["rebuild", "--partition", "0", "--from", "2", "--to", "31"];
        let output = tool(&settings, &arguments).await?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8(output.stderr)?
        );
        assert_eq!(stack.db.current().await?, before);
        assert_eq!(stack.outcomes().await?.len(), 35);
        let whole = "SELECT count() FROM {db}.ledger WHERE first = 0 AND last = 34";
        assert_eq!(stack.db.number(whole).await?, 0, "its middle was taken out");
        adds_up(stack).await?;
        stack.start_sink();
        Ok(())
    })
}

#[test]
fn p2_a_rebuild_refuses_what_it_could_not_put_back() -> Result<()> {
    run(options(), async |stack| {
        stack.produce(&events::puts(10)).await?;
        stack.settled().await?;
        all_committed(stack).await?;
        let said = refused(stack, 0, 10).await?;
        assert!(
            said.contains("has 1 members: stop every sink first"),
            "{said}"
        );
        stack.stop_sink(0).await?;
        stack.expire(0, 5).await?;
        for (from, to) in [(4, 10), (5, 11), (0, 3)] {
            let said = refused(stack, from, to).await?;
            assert!(said.contains("holds offsets 5 to 10"), "{said}");
        }
        let said = refused(stack, 7, 7).await?;
        assert!(said.contains("--to"), "{said}");
        assert_eq!(stack.outcomes().await?.len(), 10);
        assert_eq!(stack.db.current().await?.len(), 10);

        // A topic made anew: another record at the offset than the table has.
        let sql = "ALTER TABLE {db}.feedback UPDATE offset = 9 - offset WHERE 1 SETTINGS mutations_sync = 2";
        stack.db.execute(sql).await?;
        let said = refused(stack, 5, 10).await?;
        assert!(said.contains("made anew"), "{said}");
        assert_eq!(stack.outcomes().await?.len(), 10);
        stack.db.execute(sql).await?;
        rebuilt(stack, 5, 10).await?;
        assert_eq!(stack.db.current().await?.len(), 10);
        stack.start_sink();
        Ok(())
    })
}
