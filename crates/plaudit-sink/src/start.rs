//! Where partitions begin, and what is gone before that.
//!
//! A partition begins at its committed offset; without one after the ledger's
//! prefix; else at the log's start. Where the log no longer has that offset,
//! retention overtook the sink: the records in between are gone, save those that
//! were stored before a crash. What is gone is ledgered `expired` before anything
//! after it is read, or stops the sink, as `sink.on_expired` says.
//!
//! All partitions are asked for at once, and not by the thread that polls: while
//! ClickHouse is away this waits, for as long as it takes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plaudit_event::Outcome;
use plaudit_kafka::Watermarks;
use plaudit_store::{ChangeKind, LedgerEnds, LedgerRange};

use crate::config::OnExpired;
use crate::consume::SinkError;
use crate::metrics;
use crate::origin::Origin;
use crate::steps::{Steps, Stop};

/// Where a partition begins, and up to where it must be read back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Start {
    pub(crate) partition: i32,
    /// The offset that was to be next.
    pub(crate) next: i64,
    /// The first offset to read: `next`, or the log's start where that is later.
    pub(crate) at: i64,
    /// The highest offset that was stored before this sink had the partition.
    pub(crate) read_back_until: Option<i64>,
}

/// Partition, first and last offset.
type Range = (i32, i64, i64);

impl Steps {
    /// Finds where these partitions begin, by what is committed of each; leaves
    /// out those of which it cannot be told now.
    pub(crate) async fn find_starts(
        &self,
        assigned: &BTreeMap<i32, Option<i64>>,
    ) -> Result<Vec<Start>, SinkError> {
        let from: Vec<_> = assigned
            .iter()
            .map(|(partition, committed)| (*partition, committed.unwrap_or(0)))
            .collect();
        let ends = self
            .insist("read the ledger", || {
                self.store.ledger_ends(&self.topic, &from)
            })
            .await?;
        let stored = self
            .insist("read stored offsets", || {
                self.store.highest_stored(&self.topic, &from)
            })
            .await?;
        // The logs last: they have whatever another sink has stored by now.
        let Origin::Topic(admin) = &self.origin else {
            return Ok(Vec::new());
        };
        let logs = match admin.watermarks(&self.topic, Origin::ASK).await {
            Ok(logs) => logs,
            Err(error) => {
                tracing::warn!(%error, "cannot start partitions yet");
                return Ok(Vec::new());
            }
        };
        let mut starts = Vec::with_capacity(assigned.len());
        for log in &logs {
            let Some(committed) = assigned.get(&log.partition) else {
                continue;
            };
            let end = ends.iter().find(|end| end.partition == log.partition);
            let highest = stored.iter().find(|(of, _)| *of == log.partition);
            let highest = highest.map(|(_, offset)| *offset);
            let start = Start::of(log, *committed, end, highest)
                .map_err(|evidence| self.made_anew(log.partition, evidence))?;
            starts.push(start);
        }
        self.end_expired(&starts).await?;
        Ok(starts)
    }

    /// Gives every offset that was to be next and is gone its outcome.
    async fn end_expired(&self, starts: &[Start]) -> Result<(), SinkError> {
        let gone: Vec<Range> = starts
            .iter()
            .filter(|start| start.next < start.at)
            .map(|start| (start.partition, start.next, start.at - 1))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let ledger = self
            .insist("read the ledger", || {
                self.store.ledger_overlapping(&self.topic, &gone)
            })
            .await?;
        let missing: Vec<Range> = gone.iter().flat_map(|gone| gaps(*gone, &ledger)).collect();
        let ranges = outcomes_of(&missing, &self.stored_before(&missing).await?);
        let expired: Vec<_> = ranges
            .iter()
            .filter(|range| range.outcome == Outcome::Expired)
            .collect();
        if self.config.on_expired == OnExpired::Stop && !expired.is_empty() {
            return Err(SinkError::Overtaken(described(&expired)));
        }
        self.write_ledger(&ranges).await?;
        for range in &ranges {
            let records = usize::try_from(range.last - range.first + 1).unwrap_or(0);
            match range.outcome {
                // It went in before, and is counted when it ends.
                Outcome::Pending => {}
                Outcome::Expired => metrics::outcome(range.outcome, records),
                // By a sink that did not live to count it: it goes in and comes out here.
                _ => {
                    metrics::records(records);
                    metrics::outcome(range.outcome, records);
                }
            }
        }
        for range in expired {
            tracing::error!(
                kafka.partition = range.partition,
                first = range.first,
                last = range.last,
                "records left the log before they were stored: expired"
            );
        }
        Ok(())
    }

    /// What a crash left without its ledger row in ranges that the log no longer
    /// has: rows are stored, a patch waits for its feedback.
    async fn stored_before(&self, ranges: &[Range]) -> Result<BTreeMap<(i32, i64), Outcome>, Stop> {
        let rows = self.stored_in(ranges).await?;
        let changes = self
            .insist("read changes", || {
                self.store.changes_at(&self.topic, ranges)
            })
            .await?;
        let rows = rows.places().map(|place| (place, Outcome::Stored));
        let changes = changes.iter().map(|change| match change.kind {
            ChangeKind::Patch => (change.place(), Outcome::Pending),
            ChangeKind::Retract => (change.place(), Outcome::Stored),
        });
        Ok(rows.chain(changes).collect())
    }
}

impl Start {
    /// # Errors
    /// What tells that the topic was made anew.
    fn of(
        log: &Watermarks,
        committed: Option<i64>,
        ledger: Option<&LedgerEnds>,
        highest_stored: Option<i64>,
    ) -> Result<Self, String> {
        let ledgered = ledger.map(|end| end.highest);
        if let Some(end) = ledgered.max(committed).filter(|end| *end > log.high) {
            let high = log.high;
            return Err(format!("ends at offset {high} and was stored up to {end}"));
        }
        // Batches end in any order: what the ledger has first may have a gap before it.
        let prefix = ledger
            .filter(|end| end.first <= log.low)
            .map(|end| end.prefix);
        let next = committed.or(prefix).unwrap_or(log.low);
        // The ledger outlives a topic, where a commit does not. Reading back its last
        // record tells one made anew under the old name, however long it has grown.
        let again = committed.is_none() && prefix.is_some();
        Ok(Self {
            partition: log.partition,
            next,
            at: (next - i64::from(again)).max(log.low),
            read_back_until: ledgered.map(|end| end - 1).max(highest_stored),
        })
    }
}

/// The parts of `range` that no ledger range covers.
fn gaps((partition, first, last): Range, ledger: &[LedgerRange]) -> Vec<Range> {
    let mut covering: Vec<_> = ledger
        .iter()
        .filter(|range| range.partition == partition)
        .map(|range| (range.first, range.last))
        .collect();
    covering.sort_unstable();
    let mut next = first;
    let mut gaps = Vec::new();
    for (from, to) in covering {
        if next < from.min(last + 1) {
            gaps.push((partition, next, from.min(last + 1) - 1));
        }
        next = next.max(to + 1);
    }
    if next <= last {
        gaps.push((partition, next, last));
    }
    gaps
}

/// The missing ranges as the ledger gets them: `expired` but for what is known.
fn outcomes_of(missing: &[Range], known: &BTreeMap<(i32, i64), Outcome>) -> Vec<LedgerRange> {
    let mut ranges = Vec::new();
    for (partition, first, last) in missing {
        let mut push = |first, last, outcome| {
            ranges.push(LedgerRange {
                partition: *partition,
                first,
                last,
                outcome,
                reason: String::new(),
                // Nobody has read them.
                min_timestamp: 0,
                max_timestamp: 0,
            });
        };
        let mut next = *first;
        for ((_, offset), outcome) in known.range((*partition, *first)..=(*partition, *last)) {
            if next < *offset {
                push(next, offset - 1, Outcome::Expired);
            }
            push(*offset, *offset, *outcome);
            next = offset + 1;
        }
        if next <= *last {
            push(next, *last, Outcome::Expired);
        }
    }
    ranges
}

fn described(expired: &[&LedgerRange]) -> String {
    let mut text = String::new();
    for range in expired {
        let separator = if text.is_empty() { "" } else { "; " };
        let LedgerRange {
            partition,
            first,
            last,
            ..
        } = range;
        // Writing to a String cannot fail.
        write!(
            text,
            "{separator}partition {partition}, offsets {first} to {last}"
        )
        .unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(low: i64, high: i64) -> Watermarks {
        Watermarks {
            partition: 0,
            low,
            high,
        }
    }

    fn ledger(first: i64, prefix: i64, highest: i64) -> LedgerEnds {
        LedgerEnds {
            partition: 0,
            first,
            prefix,
            reached: 0,
            highest,
        }
    }

    fn range(first: i64, last: i64, outcome: Outcome) -> LedgerRange {
        LedgerRange {
            partition: 0,
            first,
            last,
            outcome,
            reason: String::new(),
            min_timestamp: 0,
            max_timestamp: 0,
        }
    }

    #[test]
    fn a_partition_begins_at_the_commit_else_after_the_ledger_else_at_the_logs_start() {
        let begin = |log, committed, ledger: Option<LedgerEnds>| {
            let start = Start::of(&log, committed, ledger.as_ref(), None).unwrap();
            (start.next, start.at, start.read_back_until)
        };
        let known = Some(ledger(0, 10, 20));
        assert_eq!(begin(log(0, 30), Some(5), known), (5, 5, Some(19)));
        // With the last record that the ledger has.
        assert_eq!(begin(log(0, 30), None, known), (10, 9, Some(19)));
        assert_eq!(begin(log(10, 30), None, known), (10, 10, Some(19)));
        assert_eq!(begin(log(7, 30), None, None), (7, 7, None));
        // Of two batches the later one ended, and then the sink was killed.
        let gap = Some(ledger(10, 20, 20));
        assert_eq!(begin(log(0, 30), None, gap), (0, 0, Some(19)));
        assert_eq!(begin(log(10, 30), None, gap), (20, 19, Some(19)));
    }

    #[test]
    fn p2_what_the_log_no_longer_has_is_between_next_and_at() {
        let begin = |log, committed, ledger: Option<LedgerEnds>| {
            let start = Start::of(&log, committed, ledger.as_ref(), None).unwrap();
            (start.next, start.at)
        };
        assert_eq!(begin(log(8, 30), Some(5), None), (5, 8));
        assert_eq!(begin(log(15, 30), None, Some(ledger(0, 10, 10))), (10, 15));
    }

    #[test]
    fn a_log_that_ends_before_what_was_stored_was_made_anew() {
        let begun = |committed, ledger: Option<LedgerEnds>| {
            Start::of(&log(0, 15), committed, ledger.as_ref(), None)
        };
        begun(Some(16), None).unwrap_err();
        begun(None, Some(ledger(0, 10, 16))).unwrap_err();
        begun(Some(15), Some(ledger(0, 10, 15))).unwrap();
    }

    #[test]
    fn p2_only_offsets_without_an_outcome_expire() {
        let ledger = [
            range(0, 4, Outcome::Stored),
            range(3, 6, Outcome::Pending),
            range(9, 9, Outcome::DeadLettered),
        ];
        assert_eq!(gaps((0, 2, 12), &ledger), [(0, 7, 8), (0, 10, 12)]);
        assert_eq!(gaps((0, 2, 8), &ledger), [(0, 7, 8)]);
        assert_eq!(gaps((0, 0, 6), &ledger), []);
        assert_eq!(gaps((1, 0, 6), &ledger), [(1, 0, 6)]);

        let known = BTreeMap::from([((0, 7), Outcome::Stored), ((0, 11), Outcome::Pending)]);
        let ended: Vec<_> = outcomes_of(&[(0, 7, 8), (0, 10, 12)], &known)
            .into_iter()
            .map(|range| (range.first, range.last, range.outcome))
            .collect();
        assert_eq!(
            ended,
            [
                (7, 7, Outcome::Stored),
                (8, 8, Outcome::Expired),
                (10, 10, Outcome::Expired),
                (11, 11, Outcome::Pending),
                (12, 12, Outcome::Expired)
            ]
        );
    }
}
