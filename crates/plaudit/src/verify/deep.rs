//! The records themselves, each against what ClickHouse has of it (`--deep`).
//!
//! A put or withdrawal that is stored has a row at its offset, or, where that was
//! merged away, its feedback has a row of at least its version. A change that is
//! stored or pending is in `changes`. What is dead-lettered was held against the
//! dead-letter topic before; what is in flight is not looked at.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use plaudit_event::codec::{self, DecodeError};
use plaudit_event::{Micros, Operation, Outcome, RowVersion};
use plaudit_kafka::{KafkaConfig, Message};
use plaudit_store::{Identity, Store};
use tokio::runtime::Handle;

use super::balance::Balance;
use super::receipts::Receipts;
use crate::topic::{self, Span};

/// What the records proved.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Records that were read.
    pub(super) read: u64,
    /// Stored, with a row of their own.
    pub(super) own_rows: u64,
    /// Stored, and merged into a row of at least their version.
    pub(super) later_rows: u64,
    /// Changes that `changes` has.
    pub(super) changes: u64,
    /// Received so long ago that the retention has taken their rows.
    pub(super) too_old: u64,
    /// Stored by the ledger, and not there.
    pub(super) missing: Vec<(i32, i64)>,
    /// Records of another id than was acknowledged with their receipt.
    pub(super) other_ids: Vec<(i32, i64)>,
}

/// Reads records and looks for what was stored of them. Blocks.
pub(super) struct Deep<'a> {
    pub(super) kafka: &'a KafkaConfig,
    pub(super) store: &'a Store,
    pub(super) receipts: &'a Receipts,
    pub(super) handle: &'a Handle,
    pub(super) bar: &'a ProgressBar,
    /// Nothing received before this has to have a row.
    pub(super) kept_since: Micros,
}

/// Records of one partition that are looked up together.
#[derive(Debug, Default)]
struct Batch {
    puts: Vec<Put>,
    changes: Vec<i64>,
    /// Stored, it is said, and no events.
    no_events: Vec<i64>,
}

#[derive(Debug)]
struct Put {
    offset: i64,
    identity: Identity,
    version: RowVersion,
    received_at: Micros,
}

/// Records that are looked up together.
const BATCH: usize = 20_000;

impl Deep<'_> {
    /// Since when rows have to be there, for a table that keeps them so long. What is
    /// about to go may have gone.
    pub(super) fn kept_since(retention: Option<Duration>) -> Micros {
        const MARGIN: Duration = Duration::from_secs(60);
        retention.map_or(Micros(0), |kept| {
            let kept = i64::try_from(kept.saturating_sub(MARGIN).as_micros()).unwrap_or(i64::MAX);
            Micros(Micros::now().0.saturating_sub(kept))
        })
    }

    /// Looks at the records of one partition, from `low` on, where its log begins.
    pub(super) fn look(
        &self,
        balance: &Balance,
        low: i64,
        proof: &mut Proof,
    ) -> anyhow::Result<()> {
        let span = Span {
            first: balance.span.first.max(low),
            ..balance.span
        };
        let mut batch = Batch::default();
        topic::read(self.kafka, &self.kafka.topic, &[span], |message| {
            self.bar.inc(1);
            proof.read += 1;
            self.take(balance, message, &mut batch, proof);
            if batch.len() >= BATCH {
                self.look_up(span.partition, std::mem::take(&mut batch), proof)?;
            }
            Ok(())
        })?;
        self.look_up(span.partition, batch, proof)
    }

    fn take(&self, balance: &Balance, message: &Message<'_>, batch: &mut Batch, proof: &mut Proof) {
        let (partition, offset) = (message.partition(), message.offset());
        let header = || codec::version_in(|name| message.header(name));
        let event = codec::decode(message.payload().unwrap_or_default(), header);
        let acknowledged = self.receipts.id_at(partition, offset);
        let id = event.as_ref().ok().map(plaudit_event::Event::id);
        if acknowledged.is_some() && acknowledged != id {
            proof.other_ids.push((partition, offset));
        }
        use Outcome::{Duplicate, Pending, Stored};
        let Some(Stored | Duplicate | Pending) = balance.outcome_of(offset) else {
            return;
        };
        match event {
            Ok(event) => match &event.operation {
                Operation::Put(feedback) | Operation::Withdraw(feedback) => batch.puts.push(Put {
                    offset,
                    identity: Identity {
                        project: event.project.to_string(),
                        trace_id: feedback.trace_id.to_string(),
                        id: feedback.id,
                    },
                    version: event.row_version(),
                    received_at: event.received_at,
                }),
                Operation::Patch { .. } | Operation::Retract { .. } => batch.changes.push(offset),
            },
            // A newer Plaudit has stored it, and knows where.
            Err(DecodeError::Newer(_)) => {}
            Err(_) => batch.no_events.push(offset),
        }
    }

    fn look_up(&self, partition: i32, batch: Batch, proof: &mut Proof) -> anyhow::Result<()> {
        let lost = batch.no_events.iter().map(|offset| (partition, *offset));
        proof.missing.extend(lost);
        self.look_up_changes(partition, &batch.changes, proof)?;
        let merged = self.look_up_rows(partition, batch.puts, proof)?;
        self.look_up_later(partition, &merged, proof)
    }

    fn look_up_changes(
        &self,
        partition: i32,
        changes: &[i64],
        proof: &mut Proof,
    ) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
            return Ok(());
        };
        let topic = &self.kafka.topic;
        let asked = self
            .store
            .offsets_with_changes(topic, partition, *first, last + 1);
        let known: HashSet<i64> = self
            .handle
            .block_on(asked)
            .context("read changes")?
            .into_iter()
            .collect();
        for offset in changes {
            if known.contains(offset) {
                proof.changes += 1;
            } else {
                proof.missing.push((partition, *offset));
            }
        }
        Ok(())
    }

    /// Leaves those that have no row of their own.
    fn look_up_rows(
        &self,
        partition: i32,
        puts: Vec<Put>,
        proof: &mut Proof,
    ) -> anyhow::Result<Vec<Put>> {
        let (Some(first), Some(last)) = (puts.first(), puts.last()) else {
            return Ok(puts);
        };
        let asked = self
            .store
            .rows_at(&self.kafka.topic, partition, first.offset, last.offset + 1);
        let rows = self.handle.block_on(asked).context("read rows")?;
        let rows: HashMap<_, _> = rows
            .into_iter()
            .map(|row| ((row.offset, row.id), row.version))
            .collect();
        let all = puts.len();
        let has_none = |put: &Put| {
            let row = rows.get(&(put.offset, put.identity.id));
            row.is_none_or(|version| *version < put.version)
        };
        let merged: Vec<Put> = puts.into_iter().filter(has_none).collect();
        proof.own_rows += count(all - merged.len());
        Ok(merged)
    }

    fn look_up_later(&self, partition: i32, puts: &[Put], proof: &mut Proof) -> anyhow::Result<()> {
        let identities: HashSet<&Identity> = puts.iter().map(|put| &put.identity).collect();
        let identities: Vec<Identity> = identities.into_iter().cloned().collect();
        let asked = self.store.versions_of(&identities);
        let versions = self.handle.block_on(asked).context("read rows")?;
        let versions: HashMap<Identity, RowVersion> = versions.into_iter().collect();
        for put in puts {
            let highest = versions.get(&put.identity);
            if highest.is_some_and(|version| *version >= put.version) {
                proof.later_rows += 1;
            } else if put.received_at < self.kept_since {
                proof.too_old += 1;
            } else {
                proof.missing.push((partition, put.offset));
            }
        }
        Ok(())
    }
}

impl Batch {
    fn len(&self) -> usize {
        self.puts.len() + self.changes.len() + self.no_events.len()
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
