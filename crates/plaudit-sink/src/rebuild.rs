//! A range of a partition, stored anew from the topic (`plaudit rebuild`).
//!
//! Records go through the steps of every batch. Before that, their ledger and rows
//! are taken out, a batch at a time and only when its records are in memory: what is
//! taken out is never what could not be put back. A crash leaves at most a batch
//! without outcomes; the same rebuild, run again, stores it.
//!
//! Nothing is committed. No sink may run meanwhile, since of two that store a range
//! one would take out what the other has just put in.

use std::sync::Arc;

use plaudit_event::codec;
use plaudit_kafka::{Admin, ConfirmingProducer, KafkaConfig, KafkaError, Message};
use plaudit_service::Readiness;
use plaudit_store::{LedgerRange, MigrateError, Store};

use crate::batch::{Batch, Incoming, Newer, Position};
use crate::config::SinkConfig;
use crate::dead_letter::DeadLetters;
use crate::origin::Origin;
use crate::outcomes::Outcomes;
use crate::pending::Pending;
use crate::retry::Retry;
use crate::steps::{Steps, Stop};

/// Offsets of one partition: from `first` up to, without, `end`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RebuildRange {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The offset after the last.
    pub end: i64,
}

/// Why a range cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// Kafka does not answer, or refuses.
    #[error("cannot use Kafka")]
    Kafka(#[from] KafkaError),
    /// The schema is not this binary's.
    #[error("cannot use the schema")]
    Schema(#[source] MigrateError),
    /// A sink runs: stop them all first.
    #[error("group `{group}` has {members} members: stop every sink first")]
    SinksRun {
        /// The group.
        group: String,
        /// How many there are.
        members: usize,
    },
    /// The log does not hold the range whole: nothing was taken out.
    #[error(
        "the log of partition {} holds offsets {low} to {high} (without the last), not all of {} to {}",
        .range.partition, .range.first, .range.end
    )]
    NotWhole {
        /// What was asked for.
        range: RebuildRange,
        /// The first offset of the log.
        low: i64,
        /// The offset after its last.
        high: i64,
    },
    /// The topic has no such partition.
    #[error("the topic has no partition {0}")]
    NoPartition(i32),
    /// A record was written by a newer Plaudit: use that one.
    #[error("the record at offset {offset} is of version {version}, newer than this binary knows")]
    Newer {
        /// Its offset.
        offset: i64,
        /// Its version.
        version: u16,
    },
    /// A step must not go on.
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// A rebuild under way.
#[derive(Debug)]
pub struct Rebuild {
    steps: Steps,
    batch: Batch,
    group: String,
}

impl Rebuild {
    /// Checks that the range can be rebuilt; takes nothing out yet.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn open(
        config: SinkConfig,
        kafka: &KafkaConfig,
        store: Store,
        range: RebuildRange,
    ) -> Result<Self, RebuildError> {
        store.check_schema().await.map_err(RebuildError::Schema)?;
        let admin = Admin::new(kafka)?;
        let logs = admin.watermarks(&kafka.topic, Origin::ASK).await?;
        let log = logs.iter().find(|log| log.partition == range.partition);
        let log = log.ok_or(RebuildError::NoPartition(range.partition))?;
        if range.first < log.low || range.end > log.high {
            let (low, high) = (log.low, log.high);
            return Err(RebuildError::NotWhole { range, low, high });
        }
        nobody_runs(&admin, &kafka.group).await?;
        let topic: Arc<str> = kafka.topic.as_str().into();
        let steps = Steps {
            store,
            retry: Retry::new(config.retry.clone(), Readiness::default()),
            dead_letters: DeadLetters::Topic {
                producer: ConfirmingProducer::for_dead_letters(kafka)?,
                original: topic.clone(),
                topic: kafka.dead_topic(),
                readiness: Readiness::default(),
            },
            config,
            topic,
            // The sinks look after what waits, once they run again.
            pending: Pending::default(),
            origin: Origin::Topic(admin),
        };
        Ok(Self {
            steps,
            group: kafka.group.clone(),
            batch: Batch::default(),
        })
    }

    /// Takes the next record of the range; `true` says that enough are taken to be
    /// [stored](Self::store).
    ///
    /// # Errors
    /// [`RebuildError::Newer`].
    pub fn push(&mut self, message: &Message<'_>) -> Result<bool, RebuildError> {
        let record = Incoming {
            position: Position {
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message.timestamp_ms().unwrap_or(0),
            },
            key: message.key().unwrap_or_default(),
            payload: message.payload().unwrap_or_default(),
        };
        let header = || codec::version_in(|name| message.header(name));
        self.batch
            .push(&self.steps.topic, record, header)
            .map_err(|Newer(version)| RebuildError::Newer {
                offset: message.offset(),
                version,
            })?;
        let limits = &self.steps.config.batch;
        Ok(self.batch.len() >= limits.max_rows || self.batch.bytes() >= limits.max_bytes)
    }

    /// Takes out what there is of the records that were taken, and stores them anew.
    /// Returns what became of them.
    ///
    /// # Errors
    /// [`Stop`]: also when the tables speak of other records than the topic.
    pub async fn store(&mut self) -> Result<Vec<LedgerRange>, RebuildError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if let Origin::Topic(admin) = &self.steps.origin {
            nobody_runs(admin, &self.group).await?;
        }
        let steps = &self.steps;
        // That the topic is the one that was stored, while there is something to tell by.
        steps.read_back(&batch, &mut Outcomes::default()).await?;
        for (partition, first, last) in batch.ranges() {
            steps
                .insist("take out what was stored", || {
                    steps.store.forget(&steps.topic, partition, first, last)
                })
                .await?;
        }
        let outcomes = steps.carry_out(&batch, false).await?;
        Ok(outcomes.ranges(&batch.spans))
    }
}

/// A sink that began meanwhile would read back what is being taken out.
async fn nobody_runs(admin: &Admin, group: &str) -> Result<(), RebuildError> {
    let members = admin.group_members(Origin::ASK).await?;
    if members > 0 {
        let group = group.to_owned();
        return Err(RebuildError::SinksRun { group, members });
    }
    Ok(())
}
