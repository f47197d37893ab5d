//! Patches whose feedback is not there yet.
//!
//! Such a patch is durable in `changes`, so its offset is committed; whoever
//! stores the feedback folds it. This list is for telling the ledger so, and for
//! giving up in the end. It is read back from the ledger after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plaudit_event::{Micros, Outcome};
use plaudit_store::{Change, LedgerRange, Table, encode_change};

use crate::batch::Position;
use crate::dead_letter::DeadLetter;
use crate::metrics::{self, reason};
use crate::steps::{Steps, Stop, now_millis};

/// The patches that wait, of the partitions that this sink has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending(Arc<Mutex<BTreeMap<(i32, i64), Waiting>>>);

/// A patch that waits for its feedback.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    change: Change,
    /// Kafka's timestamp of its record, in milliseconds.
    timestamp: i64,
}

/// Patches that are kept in memory. More than that are durable all the same;
/// they are looked at again when a sink is next given their partition.
const MOST: usize = 100_000;

/// Patches that one round looks at, the longest waiting first.
const A_ROUND: usize = 5000;

impl Waiting {
    pub(crate) fn of(change: &Change, timestamp: i64) -> Self {
        Self {
            change: change.clone(),
            timestamp,
        }
    }

    fn position(&self) -> Position {
        Position {
            partition: self.change.partition,
            offset: self.change.offset,
            timestamp: self.timestamp,
        }
    }
}

impl Pending {
    pub(crate) fn add(&self, waiting: Vec<Waiting>) {
        let mut list = self.list();
        for waiting in waiting {
            if list.len() < MOST {
                list.insert((waiting.change.partition, waiting.change.offset), waiting);
            }
        }
        metrics::pending(list.len());
    }

    /// Forgets a partition that is another sink's now.
    pub(crate) fn forget(&self, partition: i32) {
        self.list().retain(|(of, _), _| *of != partition);
    }

    fn remove(&self, ended: &[Waiting]) {
        let mut list = self.list();
        for waiting in ended {
            list.remove(&(waiting.change.partition, waiting.change.offset));
        }
        metrics::pending(list.len());
    }

    fn round(&self) -> Vec<Waiting> {
        let mut round: Vec<Waiting> = self.list().values().cloned().collect();
        round.sort_by_key(|waiting| waiting.change.received_at);
        round.truncate(A_ROUND);
        round
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<(i32, i64), Waiting>> {
        // A panic elsewhere does not make the list wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steps {
    /// Reads back what waits in a partition that this sink was just given.
    pub(crate) async fn load_pending(&self, partition: i32) -> Result<(), Stop> {
        let offsets = self
            .insist("read pending patches", || {
                self.store.pending_offsets(&self.topic, partition)
            })
            .await?;
        for offsets in offsets.chunks(A_ROUND) {
            let ranges: Vec<_> = offsets
                .iter()
                .map(|offset| (partition, *offset, *offset))
                .collect();
            let changes = self
                .insist("read pending patches", || {
                    self.store.changes_at(&self.topic, &ranges)
                })
                .await?;
            let waiting = changes
                .into_iter()
                .map(|change| Waiting {
                    timestamp: change.received_at.as_millis(),
                    change,
                })
                .collect();
            self.pending.add(waiting);
        }
        Ok(())
    }

    /// Looks once whether the feedback of waiting patches has come.
    pub(crate) async fn retry_pending(&self) -> Result<(), Stop> {
        let round = self.pending.round();
        if round.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<_> = round
            .iter()
            .filter(|waiting| !waiting.change.gave_up)
            .map(|waiting| (waiting.change.project.clone(), waiting.change.id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let found = self.fold(&ids).await?;
        let (ended, waiting): (Vec<_>, Vec<_>) = round.into_iter().partition(|waiting| {
            let id = (waiting.change.project.clone(), waiting.change.id);
            !waiting.change.gave_up && found.contains(&id)
        });
        self.end_pending(&ended, Outcome::Stored, "").await?;
        self.give_up(waiting).await
    }

    /// Gives up what has waited too long, in the order that a crash bears: marked
    /// in `changes`, so that no fold applies it any more; dead-lettered; ledgered.
    async fn give_up(&self, waiting: Vec<Waiting>) -> Result<(), Stop> {
        let patience = self.config.changes.give_up_after.as_millis();
        let patience = i64::try_from(patience).unwrap_or(i64::MAX);
        let now = now_millis();
        let is_late = |waiting: &Waiting| {
            let age = now.saturating_sub(waiting.change.received_at.as_millis());
            waiting.change.gave_up || age > patience
        };
        let mut late: Vec<Waiting> = waiting.into_iter().filter(is_late).collect();
        if late.is_empty() {
            return Ok(());
        }
        // Its feedback may still be on its way through a partition that is behind.
        let reached = self.reached().await?;
        late.retain(|waiting| waiting.change.gave_up || waiting.change.received_at < reached);
        if late.is_empty() {
            return Ok(());
        }
        tracing::error!(
            records = late.len(),
            "patches whose feedback did not come: dead letters"
        );
        let mut rows = Vec::new();
        for waiting in &mut late {
            waiting.change.gave_up = true;
            encode_change(&mut rows, &waiting.change);
        }
        self.insert_own("give up patches", Table::Changes, late.len(), &rows)
            .await?;
        let dead: Vec<DeadLetter> = late
            .iter()
            .map(|waiting| DeadLetter {
                position: waiting.position(),
                key: waiting.change.id.to_string().into_bytes(),
                payload: waiting.change.record.clone(),
                reason: reason::NO_FEEDBACK,
                attempts: 0,
            })
            .collect();
        self.publish_dead_letters(&dead).await?;
        self.end_pending(&late, Outcome::DeadLettered, reason::NO_FEEDBACK)
            .await
    }

    /// The time up to which every partition that was ever written is ledgered.
    ///
    /// A partition without traffic holds this back: giving up late is safe,
    /// giving up early is not.
    async fn reached(&self) -> Result<Micros, Stop> {
        let reached = self
            .insist("read the ledger", || self.store.ledger_reached(&self.topic))
            .await?;
        let lowest = reached.into_iter().map(|(_, timestamp)| timestamp).min();
        Ok(Micros(lowest.unwrap_or(0).saturating_mul(1000)))
    }

    async fn end_pending(
        &self,
        ended: &[Waiting],
        outcome: Outcome,
        reason: &str,
    ) -> Result<(), Stop> {
        let ranges: Vec<LedgerRange> = ended
            .iter()
            .map(|waiting| LedgerRange {
                partition: waiting.change.partition,
                first: waiting.change.offset,
                last: waiting.change.offset,
                outcome,
                reason: reason.to_owned(),
                min_timestamp: waiting.timestamp,
                max_timestamp: waiting.timestamp,
            })
            .collect();
        self.write_ledger(&ranges).await?;
        self.pending.remove(ended);
        metrics::outcome(outcome, u64::try_from(ended.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}
