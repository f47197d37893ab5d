//! Rows into `feedback`, and what cannot go in set aside (PROTOCOL: step 2; **P6**).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use plaudit_event::Outcome;
use plaudit_store::{Payload, Table};
use tokio::time::Instant;

use crate::batch::{Batch, Put};
use crate::config::OnExhausted;
use crate::dead_letter::DeadLetter;
use crate::isolate::Refused;
use crate::metrics::{self, reason};
use crate::outcomes::Outcomes;
use crate::read_back::Stored;
use crate::retry::{GaveUp, Why};
use crate::steps::{Steps, Stop};

impl Steps {
    /// Inserts the batch's rows. Those that ClickHouse does not take become dead
    /// letters, the rest is stored.
    pub(crate) async fn insert_rows(
        &self,
        batch: &Batch,
        stored: &Stored,
        outcomes: &mut Outcomes,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<(), Stop> {
        let started = Instant::now();
        let (puts, copies) = first_copies(batch, stored, outcomes);
        let refused = self
            .insert_or_isolate(
                "insert rows",
                &puts,
                self.config.on_exhausted,
                |part| self.payload_of(batch, part),
                |payload| metrics::inserted(payload.wire_bytes(), started.elapsed()),
            )
            .await?;
        for refused in refused {
            self.set_aside(batch, &refused, outcomes, dead).await?;
        }
        self.set_copies_aside(batch, copies, outcomes, dead).await
    }

    /// A copy of what could not be stored is no duplicate of anything stored. It may
    /// be stored itself, by a sink that was killed before it had an outcome.
    async fn set_copies_aside(
        &self,
        batch: &Batch,
        copies: Vec<(&Put, &Put)>,
        outcomes: &mut Outcomes,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<(), Stop> {
        let mut orphans: BTreeMap<&'static str, Vec<&Put>> = BTreeMap::new();
        for (copy, first) in copies {
            if let Some((Outcome::DeadLettered, reason)) = outcomes.of(first.position) {
                orphans.entry(reason).or_default().push(copy);
                outcomes.set(copy.position, Outcome::Stored, "");
            }
        }
        for (reason, orphans) in orphans {
            for put in self.absent_of(batch, &orphans).await? {
                bury(batch, put, reason, 0, outcomes, dead);
            }
        }
        Ok(())
    }

    /// Makes dead letters of what was refused and is read back as absent.
    async fn set_aside(
        &self,
        batch: &Batch,
        refused: &Refused<'_, &Put>,
        outcomes: &mut Outcomes,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<(), Stop> {
        let GaveUp {
            why,
            error,
            attempts,
            ..
        } = &refused.gave_up;
        let absent = self.absent_of(batch, refused.items).await?;
        let reason = match why {
            Why::Poison => reason::POISON,
            Why::Exhausted | Why::TooMuch | Why::Fatal => reason::EXHAUSTED,
        };
        if let Some(first) = absent.first() {
            tracing::error!(
                records = absent.len(),
                kafka.partition = first.position.partition,
                kafka.offset = first.position.offset,
                reason,
                attempts,
                %error,
                "clickhouse does not take rows: dead letters"
            );
        }
        for put in absent {
            bury(batch, put, reason, *attempts, outcomes, dead);
        }
        Ok(())
    }

    /// Reads back which of these have no rows. An error answer can leave a row
    /// stored: that one is seen, and is made whole.
    async fn absent_of<'b>(&self, batch: &Batch, puts: &[&'b Put]) -> Result<Vec<&'b Put>, Stop> {
        let places: Vec<_> = puts
            .iter()
            .map(|put| (put.position.partition, put.position.offset))
            .collect();
        let stored = self.stored_at(&places).await?;
        let (present, absent): (Vec<&Put>, Vec<&Put>) =
            puts.iter().partition(|put| stored.contains(put.position));
        self.complete(batch, present).await?;
        Ok(absent)
    }

    /// Inserts again rows that an error answer left in the table, perhaps without
    /// their entries in the other orders.
    ///
    /// They are seen, so they cannot be dead letters; without their entries they
    /// are not stored either. So this goes on until ClickHouse takes them whole.
    async fn complete(&self, batch: &Batch, present: Vec<&Put>) -> Result<(), Stop> {
        const REQUEST: &str = "complete stored rows";

        let mut left = present;
        while !left.is_empty() {
            let refused = self
                .insert_or_isolate(
                    REQUEST,
                    &left,
                    OnExhausted::Hold,
                    |part| self.payload_of(batch, part),
                    |_| (),
                )
                .await?;
            if let Some(first) = refused.first() {
                self.retry.hold(REQUEST, &first.gave_up.error).await;
            }
            left = refused
                .iter()
                .flat_map(|refused| refused.items)
                .copied()
                .collect();
        }
        Ok(())
    }

    fn payload_of(&self, batch: &Batch, part: &[&Put]) -> Payload {
        if part.len() == batch.puts.len() {
            return self
                .store
                .payload(Table::Feedback, part.len(), batch.all_rows());
        }
        let rows: Vec<u8> = part
            .iter()
            .flat_map(|put| batch.row(put))
            .copied()
            .collect();
        self.store.payload(Table::Feedback, part.len(), &rows)
    }
}

/// The puts to insert: those that the ledger does not have, each version once; and
/// the further copies, each with its first, which may be stored from before.
fn first_copies<'b>(
    batch: &'b Batch,
    stored: &Stored,
    outcomes: &mut Outcomes,
) -> (Vec<&'b Put>, Vec<(&'b Put, &'b Put)>) {
    let mut seen: HashMap<&[u8], &Put> = HashMap::with_capacity(batch.puts.len());
    let mut copies = Vec::new();
    let mut puts = Vec::with_capacity(batch.puts.len());
    for put in &batch.puts {
        if outcomes.is_skipped(put.position) {
            if stored.contains(put.position) {
                seen.entry(batch.identity(put)).or_insert(put);
            }
            continue;
        }
        match seen.entry(batch.identity(put)) {
            Entry::Vacant(first) => {
                first.insert(put);
                puts.push(put);
            }
            Entry::Occupied(first) => {
                outcomes.set(put.position, Outcome::Duplicate, "");
                copies.push((put, *first.get()));
            }
        }
    }
    (puts, copies)
}

fn bury(
    batch: &Batch,
    put: &Put,
    reason: &'static str,
    attempts: usize,
    outcomes: &mut Outcomes,
    dead: &mut Vec<DeadLetter>,
) {
    let (key, payload) = batch.original(put);
    outcomes.set(put.position, Outcome::DeadLettered, reason);
    dead.push(DeadLetter {
        position: put.position,
        key: key.to_vec(),
        payload: payload.to_vec(),
        reason,
        attempts,
    });
}

#[cfg(test)]
mod tests {
    use plaudit_event::Operation;

    use super::*;
    use crate::batch::tests::{push, record};

    fn offsets(puts: &[&Put]) -> Vec<i64> {
        puts.iter().map(|put| put.position.offset).collect()
    }

    #[test]
    fn p3_a_version_is_inserted_once_a_batch() {
        let mut batch = Batch::default();
        for (offset, id, version) in [(0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 2, 1)] {
            push(&mut batch, 0, offset, &record(id, version, Operation::Put)).unwrap();
        }
        let mut outcomes = Outcomes::default();
        outcomes.skip(batch.puts[3].position);
        let (puts, copies) = first_copies(&batch, &Stored::default(), &mut outcomes);
        assert_eq!(copies.len(), 1);
        assert_eq!(offsets(&puts), [0, 2]);
        assert_eq!(
            outcomes.of(batch.puts[1].position),
            Some((Outcome::Duplicate, ""))
        );
    }

    #[test]
    fn p2_a_copy_of_what_was_stored_before_is_a_duplicate_and_one_of_a_dead_letter_is_not() {
        let mut batch = Batch::default();
        for (offset, id) in [(0, 1), (1, 2), (2, 1), (3, 2)] {
            push(&mut batch, 0, offset, &record(id, 1, Operation::Put)).unwrap();
        }
        let mut outcomes = Outcomes::default();
        outcomes.skip(batch.puts[0].position);
        outcomes.skip(batch.puts[1].position);
        let stored = Stored::from_iter([(0, 0, batch.puts[0].id)]);
        let (puts, _) = first_copies(&batch, &stored, &mut outcomes);
        assert_eq!(offsets(&puts), [3]);
        assert_eq!(
            outcomes.of(batch.puts[2].position),
            Some((Outcome::Duplicate, ""))
        );
    }
}
