//! Partitions that come and go.
//!
//! A partition is not read before it is known where: at the committed offset;
//! without one after the ledger's prefix; else at the log's start. Finding out
//! asks ClickHouse, which may be away, so a new partition is held until then and
//! the polling goes on.

use std::time::Duration;

use plaudit_kafka::{Assigned, CommitError, GroupConsumer, Rebalance, StartOffset, Watermarks};
use plaudit_store::{StoreError, Verdict};
use tokio::time::Instant;

use super::{SECOND, SinkError, Work};
use crate::retry::CLICKHOUSE;
use crate::steps::Stop;

/// One question to a partition's leader. The consumer's own connection would answer
/// it behind a fetch that waits for records.
const ASK: Duration = Duration::from_secs(5);

/// Between two attempts at the last commit.
const COMMIT_AGAIN: Duration = Duration::from_millis(200);

/// Where a partition begins, and up to where it must be read back.
struct Start {
    at: i64,
    read_back_until: Option<i64>,
}

impl Work {
    /// Starts the partitions that were assigned, as far as that can be done now.
    pub(super) fn start_partitions(&mut self, consumer: &GroupConsumer) -> Result<(), SinkError> {
        if self.unstarted.is_empty() || Instant::now() < self.next_start {
            return Ok(());
        }
        self.next_start = Instant::now() + SECOND;
        let asked = self.admin.watermarks(&self.steps.topic, ASK);
        let logs = match self.handle.block_on(asked) {
            Ok(logs) => logs,
            Err(error) => {
                tracing::warn!(%error, "cannot start partitions yet");
                return Ok(());
            }
        };
        for (partition, committed) in self.unstarted.clone() {
            let Some(log) = logs.iter().find(|log| log.partition == partition) else {
                continue;
            };
            let Some(start) = self.find_start(log, committed)? else {
                return Ok(());
            };
            if let Some(until) = start.read_back_until {
                self.read_back_until.insert(partition, until);
            }
            let handle = self.handle.clone();
            handle.block_on(self.steps.load_pending(partition))?;
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
        }
        if self.unstarted.is_empty() {
            self.readiness.clear("assignment");
        }
        Ok(())
    }

    /// Where a partition begins; `None` when it cannot be told now.
    fn find_start(
        &self,
        log: &Watermarks,
        committed: Option<i64>,
    ) -> Result<Option<Start>, SinkError> {
        let partition = log.partition;
        if committed.is_some_and(|offset| offset < log.low) {
            let gone = format!(
                "partition {partition}: offset {} is committed and the log begins at {}",
                committed.unwrap_or_default(),
                log.low
            );
            return Err(SinkError::Overtaken(gone));
        }
        let topic = &self.steps.topic;
        let store = &self.steps.store;
        let handle = self.handle.clone();
        let asked = handle.block_on(async {
            let ledger = store.ledger_ends(topic, partition, log.low).await?;
            let at = committed.unwrap_or(ledger.prefix);
            let stored = store.highest_stored(topic, partition, at).await?;
            Ok::<_, StoreError>((ledger, at, stored))
        });
        let (ledger, at, stored) = match asked {
            Ok(answer) => answer,
            Err(source) => match source.verdict() {
                Verdict::Away | Verdict::Retry => {
                    tracing::warn!(kafka.partition = partition, error = %source, "cannot start a partition yet");
                    self.readiness.block(CLICKHOUSE, source.to_string());
                    return Ok(None);
                }
                Verdict::Poison | Verdict::Fatal => {
                    let request = "read the ledger";
                    return Err(Stop::Store { request, source }.into());
                }
            },
        };
        let highest = ledger.highest.max(committed);
        if highest.is_some_and(|end| end > log.high) && !self.has_grown(partition, highest) {
            let end = highest.unwrap_or_default();
            let evidence = format!("ends at offset {} and was stored up to {end}", log.high);
            return Err(self.steps.made_anew(partition, evidence).into());
        }
        Ok(Some(Start {
            at,
            read_back_until: ledger.highest.map(|end| end - 1).max(stored),
        }))
    }

    /// Whether the log has meanwhile reached `end`: another sink may have stored
    /// records that came after the first look.
    fn has_grown(&self, partition: i32, end: Option<i64>) -> bool {
        let asked = self.admin.watermarks(&self.steps.topic, ASK);
        let logs = self.handle.block_on(asked).unwrap_or_default();
        let log = logs.iter().find(|log| log.partition == partition);
        log.is_some_and(|log| Some(log.high) >= end)
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
        if self.held.is_empty() {
            self.readiness.clear("upgrade");
        }
    }
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
