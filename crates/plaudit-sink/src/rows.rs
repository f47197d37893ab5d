//! Rows into `feedback`, and what cannot go in set aside (PROTOCOL: step 2; **P6**).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use plaudit_event::Outcome;
use plaudit_store::{Payload, Table};
use tokio::time::Instant;

use crate::batch::{Batch, Put};
use crate::config::OnExhausted;
use crate::dead_letter::DeadLetter;
use crate::metrics::{self, reason};
use crate::outcomes::Outcomes;
use crate::retry::{GaveUp, Why};
use crate::steps::{Steps, Stop};

impl Steps {
    /// Inserts the batch's rows, the same bytes at every attempt.
    ///
    /// Poison is found by halving: the rows that ClickHouse cannot take become
    /// dead letters, the rest is stored.
    pub(crate) async fn insert_rows(
        &self,
        batch: &Batch,
        outcomes: &mut Outcomes,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<(), Stop> {
        let started = Instant::now();
        let (puts, copies) = first_copies(batch, outcomes);
        let mut parts = vec![puts.as_slice()];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let payload = self.payload_of(batch, part);
            let inserted = self
                .retry
                .ask("insert rows", || self.store.insert(&payload))
                .await;
            match inserted {
                Ok(()) => metrics::inserted(payload.wire_bytes(), started.elapsed()),
                Err(gave_up) => match gave_up.why {
                    Why::Fatal => {
                        return Err(Stop::Store {
                            request: "insert rows",
                            source: gave_up.error,
                        });
                    }
                    Why::Poison => match part {
                        [put] => {
                            tracing::error!(
                                kafka.partition = put.position.partition,
                                kafka.offset = put.position.offset,
                                error = %gave_up.error,
                                "clickhouse cannot take a row: dead letter"
                            );
                            bury(batch, put, reason::POISON, gave_up.attempts, outcomes, dead);
                        }
                        _ => {
                            let (left, right) = part.split_at(part.len() / 2);
                            parts.extend([right, left]);
                        }
                    },
                    Why::Exhausted => {
                        self.exhausted(batch, part, &payload, &gave_up, outcomes, dead)
                            .await?;
                    }
                },
            }
        }
        // A copy of what could not be stored is no duplicate of anything stored.
        for (copy, first) in copies {
            if let Some((Outcome::DeadLettered, reason)) = outcomes.of(first.position) {
                bury(batch, copy, reason, 0, outcomes, dead);
            }
        }
        Ok(())
    }

    /// The attempts are used up. A record is dead-lettered only if no attempt can
    /// still land: the unanswered ones are ended, and its offset is read back as
    /// absent, since an error answer can leave a row stored.
    async fn exhausted(
        &self,
        batch: &Batch,
        part: &[&Put],
        payload: &Payload,
        gave_up: &GaveUp,
        outcomes: &mut Outcomes,
        dead: &mut Vec<DeadLetter>,
    ) -> Result<(), Stop> {
        if self.config.on_exhausted == OnExhausted::Hold {
            return self
                .insist("insert rows", || self.store.insert(payload))
                .await;
        }
        if gave_up.unanswered {
            self.insist("end unanswered inserts", || self.store.kill(payload))
                .await?;
        }
        let ranges = batch.ranges();
        let stored = self
            .insist("read stored offsets", || {
                self.store.stored_offsets(&self.topic, &ranges)
            })
            .await?;
        let stored: HashSet<_> = stored
            .iter()
            .map(|row| (row.partition, row.offset))
            .collect();
        let absent: Vec<&Put> = part
            .iter()
            .filter(|put| !stored.contains(&(put.position.partition, put.position.offset)))
            .copied()
            .collect();
        tracing::error!(
            records = absent.len(),
            attempts = gave_up.attempts,
            error = %gave_up.error,
            "clickhouse refused rows at every attempt: dead letters"
        );
        for put in absent {
            bury(
                batch,
                put,
                reason::EXHAUSTED,
                gave_up.attempts,
                outcomes,
                dead,
            );
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
/// the further copies, each with its first.
fn first_copies<'b>(
    batch: &'b Batch,
    outcomes: &mut Outcomes,
) -> (Vec<&'b Put>, Vec<(&'b Put, &'b Put)>) {
    let mut seen: HashMap<&[u8], &Put> = HashMap::with_capacity(batch.puts.len());
    let mut copies = Vec::new();
    let mut puts = Vec::with_capacity(batch.puts.len());
    for put in &batch.puts {
        if outcomes.is_skipped(put.position) {
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

    #[test]
    fn p3_a_version_is_inserted_once_a_batch() {
        let mut batch = Batch::default();
        for (offset, id, version) in [(0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 2, 1)] {
            push(&mut batch, 0, offset, &record(id, version, Operation::Put)).unwrap();
        }
        let mut outcomes = Outcomes::default();
        outcomes.skip(batch.puts[3].position);
        let (puts, copies) = first_copies(&batch, &mut outcomes);
        assert_eq!(copies.len(), 1);
        assert_eq!(
            puts.iter()
                .map(|put| put.position.offset)
                .collect::<Vec<_>>(),
            [0, 2]
        );
        assert_eq!(
            outcomes.of(batch.puts[1].position),
            Some((Outcome::Duplicate, ""))
        );
    }
}
