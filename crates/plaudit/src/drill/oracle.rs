//! What became of everything that was acknowledged, counted by somebody who knows it all.
//!
//! The oracle knows each acknowledged id from the sender's own file, written after the
//! answer, and each id that a reader sees from ClickHouse itself. It takes Plaudit's word
//! for one thing only: that a record which has no row was dead-lettered or expired.
//!
//! Counting compares two sorted lists of ids, 16 bytes each.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use plaudit_event::{Outcome, Receipt};
use plaudit_store::ClickhouseConfig;
use serde::Serialize;
use uuid::Uuid;

use crate::witness::Witness;

/// Counts what is in one database.
#[derive(Clone, Debug)]
pub struct Oracle {
    clickhouse: Witness,
}

/// What the sender knows.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Events, whatever became of them.
    pub events: u64,
    /// Files of acknowledged ids with their receipts, as `plaudit load --acked` writes them.
    pub acked: Vec<PathBuf>,
    /// What the ids of the sender's traces begin with; empty for all that the database has.
    pub traces: String,
}

/// What became of what was sent.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Count {
    /// Events that were sent.
    pub sent: u64,
    /// Ids that were acknowledged.
    pub acknowledged: u64,
    /// Of the acknowledged, those with a row.
    pub stored: u64,
    /// Of the acknowledged, those that a reader sees.
    pub visible: u64,
    /// Of the acknowledged, those without a row whose record is a dead letter.
    pub dead: u64,
    /// Of the acknowledged, those without a row whose record left the log unread.
    pub expired: u64,
    /// Of the acknowledged, those that are nowhere.
    pub lost: u64,
    /// Ids that a reader sees and nobody acknowledged: their answers were lost.
    pub unacknowledged: u64,
    /// How often a reader sees an id beyond the first time.
    pub seen_twice: u64,
    /// Rows beyond the first of a version, as far as merges have left them.
    pub copies: u64,
}

/// An id as a number, to sort and compare.
type Id = u128;

/// Ranges of offsets that have no row, by topic and partition.
type WithoutRows = HashMap<(String, i32), Vec<(i64, i64, Outcome)>>;

impl Oracle {
    /// # Errors
    /// When no HTTP client can be set up.
    pub fn new(clickhouse: &ClickhouseConfig) -> anyhow::Result<Self> {
        Ok(Self {
            clickhouse: Witness::new(clickhouse)?,
        })
    }

    /// Counts. What is still on its way counts as lost: wait for the sinks before.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or a file cannot be read.
    pub async fn count(&self, sent: &Sent) -> anyhow::Result<Count> {
        let mut acked = Vec::new();
        for file in &sent.acked {
            each_acked(file, |id, _| {
                acked.push(id.as_u128());
                Ok(())
            })?;
        }
        acked.sort_unstable();
        acked.dedup();
        let (rows, _) = self.ids("feedback", sent).await?;
        let (visible, seen_twice) = self.ids("feedback_current", sent).await?;
        let seen = common(&acked, &visible);
        let mut count = Count {
            sent: sent.events,
            acknowledged: acked.len() as u64,
            stored: common(&acked, &rows),
            visible: seen,
            unacknowledged: visible.len() as u64 - seen,
            seen_twice,
            copies: self.copies(&sent.traces).await?,
            ..Count::default()
        };
        drop(visible);
        if count.stored < count.acknowledged {
            let outcomes = self.without_rows().await?;
            // An id that was acknowledged twice is judged once.
            acked.retain(|id| rows.binary_search(id).is_err());
            let mut missing: HashSet<Id> = acked.into_iter().collect();
            for file in &sent.acked {
                each_acked(file, |id, receipt| {
                    let id = id.as_u128();
                    let outcome = missing.contains(&id).then(|| outcome(&outcomes, receipt));
                    match outcome.flatten() {
                        Some(Outcome::DeadLettered) => count.dead += 1,
                        Some(Outcome::Expired) => count.expired += 1,
                        _ => return Ok(()),
                    }
                    missing.remove(&id);
                    Ok(())
                })?;
            }
            count.lost = missing.len() as u64;
        }
        Ok(count)
    }

    /// The ids of a table or view in order, each once, and how often they repeat.
    async fn ids(&self, table: &str, sent: &Sent) -> anyhow::Result<(Vec<Id>, u64)> {
        let sql = format!(
            "SELECT id, count() FROM {table} WHERE startsWith(trace_id, '{}') GROUP BY id FORMAT TSV",
            quoted(&sent.traces)
        );
        let (mut ids, mut repeated) = (Vec::new(), 0);
        let read = self.clickhouse.lines(&sql, |line| {
            let (id, times) = line.split_once('\t').context("two columns")?;
            ids.push(id.parse::<Uuid>()?.as_u128());
            repeated += times.parse::<u64>()? - 1;
            Ok(())
        });
        read.await.with_context(|| format!("read {table}"))?;
        ids.sort_unstable();
        Ok((ids, repeated))
    }

    /// Rows beyond the first of a version, on the traces that begin so.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn copies(&self, traces: &str) -> anyhow::Result<u64> {
        let sql = format!(
            "SELECT count() - uniqExact(project, trace_id, id, version) FROM feedback \
             WHERE startsWith(trace_id, '{}')",
            quoted(traces)
        );
        let answer = self.clickhouse.query(&sql).await?;
        answer.trim().parse().context("read a number")
    }

    async fn without_rows(&self) -> anyhow::Result<WithoutRows> {
        const SQL: &str = "SELECT topic, partition, first, last, outcome FROM ledger \
             WHERE outcome IN ('dead_lettered', 'expired') FORMAT TSV";
        let mut found = WithoutRows::new();
        let read = self.clickhouse.lines(SQL, |line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [topic, partition, first, last, outcome] = columns[..] else {
                bail!("five columns")
            };
            let place = (topic.to_owned(), partition.parse()?);
            let range = (first.parse()?, last.parse()?, outcome.parse()?);
            found.entry(place).or_default().push(range);
            Ok(())
        });
        read.await.context("read the ledger")?;
        Ok(found)
    }
}

impl Count {
    /// What must never be, in words.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.acknowledged == 0 {
            problems.push("nothing was acknowledged, so nothing is shown".to_owned());
        }
        if self.lost > 0 {
            problems.push(format!("{} acknowledged ids are lost", self.lost));
        }
        if self.seen_twice > 0 {
            problems.push(format!("{} ids are seen more than once", self.seen_twice));
        }
        problems
    }
}

/// Hands each line of a file to `take`: the id, and its receipt if it has one.
fn each_acked(
    file: &Path,
    mut take: impl FnMut(Uuid, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let open = File::open(file).with_context(|| format!("read {}", file.display()))?;
    for line in BufReader::new(open).lines() {
        let line = line?;
        let (id, receipt) = line.split_once(' ').context("a line is `ID RECEIPT`")?;
        take(id.parse()?, receipt)?;
    }
    Ok(())
}

fn outcome(outcomes: &WithoutRows, receipt: &str) -> Option<Outcome> {
    let receipt: Receipt = receipt.parse().ok()?;
    let ranges = outcomes.get(&(receipt.topic.to_string(), receipt.partition))?;
    let mut around = ranges
        .iter()
        .filter(|(first, last, _)| (*first..=*last).contains(&receipt.offset));
    around.next().map(|(_, _, outcome)| *outcome)
}

/// How many numbers both lists have; each list is in order and has a number once.
fn common(some: &[Id], others: &[Id]) -> u64 {
    let mut others = others.iter().peekable();
    let both = some.iter().filter(|id| {
        while others.next_if(|other| other < id).is_some() {}
        others.peek() == Some(id)
    });
    both.count() as u64
}

/// A text inside a literal of SQL.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_lists_have_is_counted() {
        assert_eq!(common(&[1, 3, 5, 9], &[0, 1, 2, 5, 6, 9, 10]), 3);
        assert_eq!(common(&[], &[1]), 0);
        assert_eq!(common(&[1], &[]), 0);
    }

    #[test]
    fn a_receipt_has_the_outcome_of_the_range_around_it() {
        let range = vec![(5, 9, Outcome::DeadLettered)];
        let outcomes = WithoutRows::from([(("t".to_owned(), 2), range)]);
        assert_eq!(outcome(&outcomes, "t:2:9"), Some(Outcome::DeadLettered));
        for elsewhere in ["t:2:10", "t:2:4", "t:1:9", "u:2:9", "-"] {
            assert_eq!(outcome(&outcomes, elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn what_is_lost_or_seen_twice_is_a_problem_and_a_copy_is_none() {
        let fine = Count {
            acknowledged: 1,
            copies: 7,
            dead: 1,
            ..Count::default()
        };
        assert!(fine.problems().is_empty());
        let bad = Count {
            lost: 1,
            seen_twice: 2,
            ..fine
        };
        assert_eq!(bad.problems().len(), 2);
        assert_eq!(Count::default().problems().len(), 1);
    }
}
