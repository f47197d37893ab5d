//! Patches that are given up: too late, or not to be folded.
//!
//! In the order that a crash bears: marked in `changes`, so that no fold applies
//! them any more; dead-lettered; ledgered. A patch that is marked and still
//! pending in the ledger goes through the last two again.
//!
//! A patch is late only when its feedback cannot be on its way any more: every
//! partition of the topic is past the patch's receive time.

use std::collections::BTreeSet;

use plaudit_event::{Micros, Outcome};
use plaudit_kafka::Watermarks;
use plaudit_store::{Change, GaveUp, LedgerEnds, LedgerRange};

use crate::batch::Position;
use crate::dead_letter::DeadLetter;
use crate::metrics::{self, reason};
use crate::origin::Origin;
use crate::pending::{Waiting, ids_of};
use crate::steps::{Steps, Stop, now_millis};

/// Changes whose records are in memory at a time (**P5**).
pub(crate) const RECORDS_AT_A_TIME: usize = 250;

impl Steps {
    /// Gives up what has waited too long, of patches whose feedback is not there.
    pub(crate) async fn give_up_late(&self, waiting: &[Waiting]) -> Result<(), Stop> {
        let patience = self.config.changes.give_up_after.as_millis();
        let patience = i64::try_from(patience).unwrap_or(i64::MAX);
        let now = now_millis();
        let is_late =
            |waiting: &&Waiting| now.saturating_sub(waiting.received_at.as_millis()) > patience;
        let late: Vec<&Waiting> = waiting.iter().filter(is_late).collect();
        if late.is_empty() || !self.pending.may_look_at_logs() {
            return Ok(());
        }
        let reached = self.reached(now).await?;
        let late: Vec<&Waiting> = late
            .into_iter()
            .filter(|waiting| waiting.received_at < reached)
            .collect();
        // Once more, now that what was on its way has come.
        let folded = self.fold(&ids_of(late.iter().copied())).await?;
        self.end_given_up(&folded.unfoldable).await?;
        let late: BTreeSet<_> = late
            .into_iter()
            .filter(|waiting| !folded.found.contains(&waiting.id))
            .map(Waiting::place)
            .collect();
        if late.is_empty() {
            return Ok(());
        }
        tracing::error!(
            records = late.len(),
            "patches whose feedback did not come: dead letters"
        );
        self.end_given_up(&late).await
    }

    /// Ends patches at these places as given up, for lack of feedback unless they
    /// are marked with another reason. Those that have ended so already are left out: of
    /// a batch and a round that come to the same patch, the second has nothing to do.
    pub(crate) async fn end_given_up(&self, places: &BTreeSet<(i32, i64)>) -> Result<(), Stop> {
        let places: Vec<_> = places.iter().copied().collect();
        for places in places.chunks(RECORDS_AT_A_TIME) {
            let _one_at_a_time = self.pending.giving_up.lock().await;
            let ranges = ranges_at(places);
            let ledger = self
                .insist("read the ledger", || {
                    self.store.ledger_overlapping(&self.topic, &ranges)
                })
                .await?;
            let (ended, open): (Vec<_>, Vec<_>) = places
                .iter()
                .partition(|place| is_dead_lettered(&ledger, **place));
            self.pending.remove(&ended);
            self.end_marked(&open).await?;
        }
        Ok(())
    }

    /// Marks those that are not, and carries out what a mark stands for.
    async fn end_marked(&self, places: &[(i32, i64)]) -> Result<(), Stop> {
        if places.is_empty() {
            return Ok(());
        }
        let mut changes = self.changes_at(places).await?;
        let mut new = Vec::new();
        for change in &mut changes {
            if change.gave_up.is_none() {
                change.gave_up = Some(GaveUp::NoFeedback);
                new.push(change.clone());
            }
        }
        if !new.is_empty() {
            self.insert_marked(&new).await?;
        }
        let letters = changes.iter();
        let dead: Vec<DeadLetter> = letters
            .map(|change| DeadLetter::of_change(change, change.gave_up))
            .collect();
        self.publish_dead_letters(&dead).await?;
        let ranges: Vec<LedgerRange> = dead.iter().map(range_of).collect();
        self.write_ledger(&ranges).await?;
        self.pending.remove(places);
        metrics::outcome(Outcome::DeadLettered, dead.len());
        Ok(())
    }

    /// The time up to which every partition of the topic is ledgered. Asks where
    /// the logs end first: what comes later is later than `now`.
    async fn reached(&self, now: i64) -> Result<Micros, Stop> {
        let Origin::Topic(admin) = &self.origin else {
            // One batch after the other: between two of them all is ledgered.
            return Ok(Micros(now.saturating_mul(1000)));
        };
        let logs = match admin.watermarks(&self.topic, Origin::ASK).await {
            Ok(logs) => logs,
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether patches are to be given up");
                return Ok(Micros(0));
            }
        };
        let from: Vec<_> = logs.iter().map(|log| (log.partition, log.low)).collect();
        let ends = self
            .insist("read the ledger", || {
                self.store.ledger_ends(&self.topic, &from)
            })
            .await?;
        let reached = logs.iter().map(|log| {
            let end = ends.iter().find(|end| end.partition == log.partition);
            reached_in(log, end, now)
        });
        Ok(Micros(reached.min().unwrap_or(0).saturating_mul(1000)))
    }
}

/// The time, in milliseconds, up to which a partition is ledgered. One that is
/// ledgered to its end, such as an idle one, is ledgered up to now.
fn reached_in(log: &Watermarks, end: Option<&LedgerEnds>, now: i64) -> i64 {
    let run = end.filter(|end| end.first <= log.low);
    let prefix = run.map_or(log.low, |run| run.prefix.max(log.low));
    if prefix >= log.high {
        return now;
    }
    run.map_or(0, |run| run.reached)
}

impl DeadLetter {
    /// A change, by its id, with the reason that it is given up for.
    pub(crate) fn of_change(change: &Change, gave_up: Option<GaveUp>) -> Self {
        Self {
            position: Position {
                partition: change.partition,
                offset: change.offset,
                timestamp: change.received_at.as_millis(),
            },
            key: change.id.to_string().into_bytes(),
            payload: change.record.clone(),
            reason: reason_of(gave_up),
            attempts: 0,
        }
    }
}

/// Why a change is dead-lettered.
pub(crate) fn reason_of(gave_up: Option<GaveUp>) -> &'static str {
    match gave_up {
        Some(GaveUp::Unfoldable) => reason::UNFOLDABLE,
        Some(GaveUp::NoFeedback) | None => reason::NO_FEEDBACK,
    }
}

/// The places as ranges, neighbours in one: each is a condition of a query.
pub(crate) fn ranges_at(places: &[(i32, i64)]) -> Vec<(i32, i64, i64)> {
    let follows = |one: &(i32, i64), next: &(i32, i64)| one.0 == next.0 && one.1 + 1 == next.1;
    let runs = places.chunk_by(follows);
    let range = |run: &[(i32, i64)]| Some((run.first()?.0, run.first()?.1, run.last()?.1));
    runs.filter_map(range).collect()
}

fn is_dead_lettered(ledger: &[LedgerRange], (partition, offset): (i32, i64)) -> bool {
    let mut dead = ledger
        .iter()
        .filter(|range| range.outcome == Outcome::DeadLettered);
    dead.any(|range| range.covers(partition, offset))
}

fn range_of(letter: &DeadLetter) -> LedgerRange {
    LedgerRange {
        partition: letter.position.partition,
        first: letter.position.offset,
        last: letter.position.offset,
        outcome: Outcome::DeadLettered,
        reason: letter.reason.to_owned(),
        min_timestamp: letter.position.timestamp,
        max_timestamp: letter.position.timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1000;

    #[test]
    fn neighbours_are_asked_for_as_one_range() {
        let places = [(0, 3), (0, 4), (0, 5), (0, 7), (1, 8)];
        assert_eq!(ranges_at(&places), [(0, 3, 5), (0, 7, 7), (1, 8, 8)]);
        assert_eq!(ranges_at(&[]), []);
    }

    fn reached(low: i64, high: i64, run: Option<(i64, i64)>) -> i64 {
        let log = Watermarks {
            partition: 0,
            low,
            high,
        };
        let end = run.map(|(first, prefix)| LedgerEnds {
            partition: 0,
            first,
            prefix,
            reached: 500,
            highest: high.max(prefix),
        });
        reached_in(&log, end.as_ref(), NOW)
    }

    #[test]
    fn an_idle_partition_does_not_hold_a_patch_back_and_one_that_is_behind_does() {
        assert_eq!(reached(0, 0, None), NOW, "never written to");
        assert_eq!(reached(7, 7, None), NOW, "all of it expired");
        assert_eq!(reached(0, 9, Some((0, 9))), NOW, "ledgered to its end");
        assert_eq!(reached(0, 9, Some((0, 5))), 500, "behind");
        assert_eq!(
            reached(5, 9, Some((0, 5))),
            500,
            "behind since the log's start"
        );
        assert_eq!(reached(0, 9, None), 0, "never ledgered");
        assert_eq!(reached(0, 9, Some((3, 9))), 0, "a gap before it");
    }
}
