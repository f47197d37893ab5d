//! The steps of one batch, in their order (PROTOCOL: *one batch*).
//!
//! The order is what holds the promises. Rows are in before their changes are
//! looked up, so of two sinks, one with a put and one with its patch, at least
//! one sees both. Dead letters are confirmed and the ledger is written before an
//! offset moves, so a crash repeats work and loses none.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plaudit_event::{Micros, Outcome};
use plaudit_store::{
    ChangeKind, LedgerRange, Store, StoreError, Table, encode_change, encode_range,
};

use crate::batch::{Batch, ChangeRecord};
use crate::config::SinkConfig;
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::give_up;
use crate::metrics::{self, reason};
use crate::origin::Origin;
use crate::outcomes::Outcomes;
use crate::pending::{Pending, Waiting};
use crate::read_back::Stored;
use crate::retry::Retry;

/// What the steps need: the store, the dead-letter topic, the rules.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) store: Store,
    pub(crate) retry: Retry,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) config: SinkConfig,
    pub(crate) topic: Arc<str>,
    pub(crate) pending: Pending,
    pub(crate) origin: Origin,
}

/// Why the sink must stop: going on would lose or repeat something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// ClickHouse will never take what the sink writes: schema, rights, version.
    #[error("cannot {request}")]
    Store {
        /// What was asked, as verb and object.
        request: &'static str,
        /// The answer.
        source: StoreError,
    },
    /// The topic is not the one that the ledger speaks of.
    #[error(
        "topic `{topic}` was made anew under its old name: partition {partition} {evidence}; \
         use another topic name, or another database"
    )]
    MadeAnew {
        /// The topic.
        topic: Arc<str>,
        /// The partition that told.
        partition: i32,
        /// What told.
        evidence: String,
    },
}

/// How many rows of a batch are sampled for receive-to-visible.
const VISIBLE_SAMPLES: usize = 32;

impl Steps {
    /// Carries a batch through steps 1 to 6. When it returns, the batch's offsets
    /// may be committed, in order.
    ///
    /// `read_back` asks for step 1: needed until the partition is past what was
    /// stored before this sink had it.
    ///
    /// Not to be dropped half-way except at the end of the process: what it has
    /// begun would be begun again by nobody.
    ///
    /// # Errors
    /// [`Stop`], and the batch's offsets must not be committed.
    pub(crate) async fn carry_out(&self, batch: &Batch, read_back: bool) -> Result<Outcomes, Stop> {
        metrics::records(batch.len());
        let mut outcomes = Outcomes::default();
        let stored = if read_back {
            self.read_back(batch, &mut outcomes).await?
        } else {
            Stored::default()
        };
        let mut dead = undecodable(batch, &mut outcomes);
        self.insert_rows(batch, &stored, &mut outcomes, &mut dead)
            .await?;
        let changes: Vec<&ChangeRecord> = batch
            .changes
            .iter()
            .filter(|record| !outcomes.is_skipped(record.position))
            .collect();
        self.insert_changes(&changes).await?;
        let waiting = self
            .fold_batch(batch, &changes, &mut outcomes, &mut dead)
            .await?;
        self.publish_dead_letters(&dead).await?;
        self.write_ledger(&outcomes.ranges(&batch.spans)).await?;
        self.pending.add(waiting);
        count(batch, &outcomes);
        Ok(outcomes)
    }

    /// Step 3: patches and retractions, durable before anything is folded.
    async fn insert_changes(&self, changes: &[&ChangeRecord]) -> Result<(), Stop> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for record in changes {
            encode_change(&mut rows, &record.change);
        }
        self.insert_own("insert changes", Table::Changes, changes.len(), &rows)
            .await
    }

    /// Step 4: applies changes to the rows of this batch, and the changes of this
    /// batch to rows wherever they are. Returns the patches that found none.
    async fn fold_batch(
        &self,
        batch: &Batch,
        changes: &[&ChangeRecord],
        outcomes: &mut Outcomes,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<Vec<Waiting>, Stop> {
        let mut ids: Vec<_> = changes
            .iter()
            .map(|record| (record.change.project.clone(), record.change.id))
            .collect();
        let oldest = batch.puts.iter().map(|put| put.version_time).min();
        if let Some(oldest) = oldest {
            let since = Micros(oldest.0.saturating_sub(self.clock_skew()));
            let ranges = batch.ranges();
            let changed = self
                .insist("look up changes", || {
                    self.store.changed_among(&self.topic, &ranges, since)
                })
                .await?;
            ids.extend(changed);
        }
        ids.sort_unstable();
        ids.dedup();
        let mut folded = self.fold(&ids).await?;
        let mut waiting = Vec::new();
        for record in changes {
            let (change, position) = (&record.change, record.position);
            if let Some(why) = folded.given_up.remove(&change.place()) {
                let reason = give_up::reason_of(Some(why));
                outcomes.set(position, Outcome::DeadLettered, reason);
                dead.push(DeadLetter::of_change(change, Some(why)));
                continue;
            }
            let id = (change.project.clone(), change.id);
            if change.kind == ChangeKind::Patch && !folded.found.contains(&id) {
                outcomes.set(position, Outcome::Pending, "");
                waiting.push(Waiting::of(change));
            }
        }
        // Those of earlier batches end here and now.
        folded
            .unfoldable
            .retain(|place| folded.given_up.contains_key(place));
        self.end_given_up(&folded.unfoldable).await?;
        Ok(waiting)
    }

    /// Step 5: confirmed by the broker before any offset of theirs moves.
    pub(crate) async fn publish_dead_letters(&self, dead: &[DeadLetter]) -> Result<(), Stop> {
        self.dead_letters.publish(dead, self.retry.waits()).await;
        for letter in dead {
            metrics::dead_letters(letter.reason, 1);
        }
        Ok(())
    }

    /// Step 6: what became of every offset.
    pub(crate) async fn write_ledger(&self, ranges: &[LedgerRange]) -> Result<(), Stop> {
        if ranges.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for range in ranges {
            encode_range(&mut rows, &self.topic, range);
        }
        self.insert_own("write the ledger", Table::Ledger, ranges.len(), &rows)
            .await
    }

    /// Inserts rows of the sink's own making, which must go in.
    pub(crate) async fn insert_own(
        &self,
        request: &'static str,
        table: Table,
        rows: usize,
        data: &[u8],
    ) -> Result<(), Stop> {
        let payload = self.store.payload(table, rows, data);
        self.insist(request, || self.store.insert(&payload)).await
    }

    pub(crate) async fn insist<T, F>(
        &self,
        request: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let answer = self.retry.insist(request, call).await;
        answer.map_err(|source| Stop::Store { request, source })
    }

    /// `sink.changes.clock_skew` in microseconds.
    pub(crate) fn clock_skew(&self) -> i64 {
        i64::try_from(self.config.changes.clock_skew.as_micros()).unwrap_or(i64::MAX)
    }
}

/// Records that are no events, on their way to the dead-letter topic.
fn undecodable(batch: &Batch, outcomes: &mut Outcomes) -> Vec<DeadLetter> {
    let mut dead = Vec::new();
    for record in &batch.undecodable {
        if outcomes.is_skipped(record.position) {
            continue;
        }
        outcomes.set(record.position, Outcome::DeadLettered, reason::UNDECODABLE);
        dead.push(DeadLetter {
            position: record.position,
            key: record.key.clone(),
            payload: record.payload.clone(),
            reason: reason::UNDECODABLE,
            attempts: 0,
        });
    }
    dead
}

/// The balance of **P2** as metrics: every record once, by its outcome.
fn count(batch: &Batch, outcomes: &Outcomes) {
    let ranges = outcomes.ranges(&batch.spans);
    metrics::skipped(outcomes.skipped());
    // What is pending is counted when it ends.
    for range in ranges
        .iter()
        .filter(|range| range.outcome != Outcome::Pending)
    {
        let records = usize::try_from(range.last - range.first + 1).unwrap_or(0);
        metrics::outcome(range.outcome, records);
    }
    let now = now_millis();
    let step = batch.puts.len().div_ceil(VISIBLE_SAMPLES).max(1);
    for put in batch.puts.iter().step_by(step) {
        let after = now.saturating_sub(put.position.timestamp);
        metrics::visible(Duration::from_millis(u64::try_from(after).unwrap_or(0)));
    }
}

/// Now, in Kafka's milliseconds.
pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
