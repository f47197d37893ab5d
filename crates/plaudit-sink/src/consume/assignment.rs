//! Partitions that come and go.
//!
//! A partition is not read before it is known where. Finding out asks ClickHouse,
//! which may be away, so a new partition is held until then (see `start`) and the
//! polling goes on. One whose next records left the log begins anew in the same way.

use std::time::Duration;

use plaudit_kafka::{Assigned, CommitError, GroupConsumer, OutOfRange, Rebalance, StartOffset};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{SECOND, SinkError, Work};
use crate::start::Start;

/// Between two attempts at the last commit.
const COMMIT_AGAIN: Duration = Duration::from_millis(200);

impl Work {
    /// Starts the partitions whose start was found, and has those found that were
    /// assigned meanwhile.
    pub(super) fn start_partitions(&mut self, consumer: &GroupConsumer) -> Result<(), SinkError> {
        if let Some(found) = self.finding.try_join_next() {
            for start in found.map_err(|error| SinkError::Thread(error.to_string()))?? {
                self.start(consumer, start)?;
            }
            if self.unstarted.is_empty() {
                self.readiness.clear("assignment");
            }
        }
        if !self.finding.is_empty() || Instant::now() < self.next_start {
            return Ok(());
        }
        if self.is_out_of_range {
            self.look_out_of_range(consumer);
        }
        if !self.unstarted.is_empty() {
            self.next_start = Instant::now() + SECOND;
            let (steps, assigned) = (self.steps.clone(), self.unstarted.clone());
            let find = async move { steps.find_starts(&assigned).await };
            self.finding.spawn_on(find, &self.handle);
        }
        Ok(())
    }

    fn start(&mut self, consumer: &GroupConsumer, start: Start) -> Result<(), SinkError> {
        let partition = start.partition;
        if start.next < start.at {
            // No batch spans what is gone; and it is committed after what came before.
            self.dispatch();
            let gone = (partition, start.next, start.at - 1);
            let number = self.offsets.begin(&[gone]);
            self.offsets.finish(number);
        }
        if let Some(until) = start.read_back_until {
            self.read_back_until.insert(partition, until);
        }
        self.steps.pending.begin(partition);
        consumer.start(partition, StartOffset::At(start.at))?;
        if self.paused {
            consumer.pause(&[partition])?;
        }
        self.unstarted.remove(&partition);
        tracing::info!(
            kafka.partition = partition,
            kafka.offset = start.at,
            "partition started"
        );
        Ok(())
    }

    /// The log no longer has, or never had, the next records of some partitions.
    pub(super) fn begin_anew(&mut self, gone: &[OutOfRange]) {
        // Not told which: their leaders could not be asked.
        self.is_out_of_range = gone.is_empty();
        for gone in gone {
            self.begin_again(gone.partition, gone.position);
        }
    }

    /// A partition is to be read on from where it was read to.
    fn begin_again(&mut self, partition: i32, position: i64) {
        let next = next_of(position, self.held.remove(&partition));
        self.unstarted.insert(partition, Some(next));
        self.note_held();
    }

    fn note_held(&self) {
        if self.held.is_empty() {
            self.readiness.clear("upgrade");
        }
    }

    fn look_out_of_range(&mut self, consumer: &GroupConsumer) {
        self.next_start = Instant::now() + SECOND;
        match consumer.out_of_range() {
            Ok(gone) => {
                self.begin_anew(&gone);
                if gone.is_empty() {
                    // The log has grown past it by now, and it stands still all the same.
                    for (partition, position) in consumer.positions() {
                        self.begin_again(partition, position);
                    }
                }
                self.is_out_of_range = false;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell which partitions are out of range");
            }
        }
    }

    /// Finishes what has begun, within `sink.drain`, and commits it.
    fn drain(&mut self, consumer: &GroupConsumer) {
        self.dispatch();
        let end = Instant::now() + self.steps.config.drain;
        while !self.under_way.is_empty() && Instant::now() < end {
            if let Err(error) = self.wait_for_one(end.saturating_duration_since(Instant::now())) {
                tracing::error!(%error, "a batch failed while draining");
                self.failed = Some(error);
                break;
            }
        }
        if !self.under_way.is_empty() {
            // Its records are read again by whoever has the partitions next.
            tracing::warn!(batches = self.under_way.len(), "not drained in time");
        }
        // Also what was committed without waiting: nobody may have heard of it.
        self.offsets.take_again();
        let done = self.offsets.take_done();
        if done.is_empty() {
            return;
        }
        // A coordinator that moves refuses for a moment.
        loop {
            match consumer.commit_sync(&done) {
                Ok(()) => return,
                Err(CommitError::Retry { .. }) if Instant::now() < end => {
                    std::thread::sleep(COMMIT_AGAIN);
                }
                Err(error) => {
                    tracing::warn!(%error, "offsets are not committed: these records are read again");
                    return;
                }
            }
        }
    }

    fn forget(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.offsets.forget(*partition);
            self.steps.pending.forget(*partition);
            self.unstarted.remove(partition);
            self.read_back_until.remove(partition);
            self.held.remove(partition);
        }
        // What is being found may be of a partition that is no longer ours.
        self.finding = JoinSet::new();
        self.next_start = Instant::now();
        self.note_held();
    }
}

/// The next record of a partition that was read to `position`. One that is held, and what
/// came after it, was read and not taken.
fn next_of(position: i64, held: Option<i64>) -> i64 {
    held.map_or(position, |held| held.min(position))
}

impl Rebalance for Work {
    fn on_assign(
        &mut self,
        _consumer: &GroupConsumer,
        assigned: &[Assigned],
    ) -> Vec<(i32, StartOffset)> {
        let partitions = assigned.iter().map(|new| (new.partition, new.committed));
        self.unstarted.extend(partitions);
        self.next_start = Instant::now();
        // Ready from its first start on: a rebalance is no reason to be replaced.
        if self.unstarted.is_empty() {
            self.readiness.clear("assignment");
        }
        // All are held until their start is known.
        Vec::new()
    }

    fn on_revoke(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        tracing::info!(kafka.partitions = ?partitions, "partitions are taken away: draining");
        self.drain(consumer);
        self.forget(partitions);
    }

    fn on_lost(&mut self, partitions: &[i32]) {
        tracing::warn!(kafka.partitions = ?partitions, "partitions were lost");
        // Not to be mixed with what is read if they come back: that begins elsewhere.
        self.dispatch();
        self.forget(partitions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_record_that_is_held_is_the_next_wherever_the_partition_was_read_to() {
        assert_eq!(next_of(7, None), 7);
        assert_eq!(next_of(8, Some(7)), 7);
        assert_eq!(next_of(120, Some(7)), 7);
    }
}
