//! The judge of every test: what must hold whatever the test did.
//!
//! - The balance law (**P2**): every record of the topic has an outcome, and the ledger
//!   has no offset that the topic has not.
//! - The services stop when told, and then everything is committed; where the broker
//!   refused that, a further sink commits it.
//! - A reader sees no feedback twice (**P3**).
//! - No ERROR line that the test did not name.

use anyhow::{Result, ensure};

use crate::log::Log;
use crate::stack::Stack;
use crate::wait::wait_until;

/// ERROR lines of threads that belong to no test, and why they are none's fault.
const EXPECTED_OF_PROCESS: &[&str] = &[
    // A test writes such a record; the line comes from the polling thread.
    "record is of a newer version",
];

/// Judges a stack at the end of its test, and drops its database.
///
/// # Errors
/// What does not hold.
pub async fn judge(stack: &mut Stack) -> Result<()> {
    balance(stack).await?;
    stack.stop_services().await?;
    committed(stack).await?;
    seen_once(stack).await?;
    errors(stack)?;
    stack.db.execute("DROP DATABASE {db} SYNC").await?;
    Ok(())
}

async fn balance(stack: &Stack) -> Result<()> {
    let outcomes = stack.settled().await?;
    let logs = stack.logs().await?;
    for (partition, offset) in outcomes.keys() {
        let known = logs.get(partition).is_some_and(|log| *offset < log.end);
        ensure!(
            known,
            "the ledger has offset {offset} of partition {partition}, the topic has not"
        );
    }
    Ok(())
}

/// What is committed is all of the log. Where the broker refused the last commit, the
/// next sink must make up for it.
async fn committed(stack: &mut Stack) -> Result<()> {
    if let Err(uncommitted) = all_committed(stack).await {
        let refused = Log::of_process().has_refused_commit(&stack.kafka.topic);
        ensure!(refused, uncommitted);
        stack.start_sink();
        let next = wait_until("the next sink to commit", async || {
            Ok(all_committed(stack).await.is_ok())
        });
        next.await?;
        stack.stop_services().await?;
    }
    Ok(())
}

async fn all_committed(stack: &Stack) -> Result<()> {
    let committed = stack.committed().await?;
    let logs = stack.logs().await?;
    for (partition, log) in logs.iter().filter(|(_, log)| !log.is_empty()) {
        let found = committed.get(partition).copied();
        ensure!(
            found == Some(log.end),
            "partition {partition} ends at {}, and {found:?} is committed",
            log.end
        );
    }
    Ok(())
}

async fn seen_once(stack: &Stack) -> Result<()> {
    let twice = stack
        .db
        .number("SELECT count() - uniqExact(project, trace_id, id) FROM {db}.feedback_current")
        .await?;
    ensure!(twice == 0, "{twice} feedbacks are seen more than once");
    Ok(())
}

fn errors(stack: &Stack) -> Result<()> {
    let unexpected = |expected: &[&str], lines: Vec<String>| -> Vec<String> {
        let is_expected = |line: &String| expected.iter().any(|part| line.contains(part));
        lines
            .into_iter()
            .filter(|line| !is_expected(line))
            .collect()
    };
    let own = unexpected(stack.options().expected_errors, stack.log.errors());
    ensure!(own.is_empty(), "unexpected ERROR lines: {own:#?}");
    let strays = unexpected(EXPECTED_OF_PROCESS, Log::of_process().errors());
    ensure!(
        strays.is_empty(),
        "unexpected ERROR lines of some test: {strays:#?}"
    );
    Ok(())
}
