//! A member of the sink's consumer group.
//!
//! Driven by one thread, which polls all the time, also while partitions are
//! paused: that is what keeps the membership. Nothing is committed and no start
//! is chosen here: the sink's [`Rebalance`] says where each partition begins, and
//! the sink commits. Prefetched records stay in librdkafka's memory, bounded by
//! `queued.max.messages.kbytes`.
//!
//! Partitions move one by one (the cooperative protocol). A partition that the
//! group gave us is *owned*; it is *fetching* from when it has a start, which may
//! be later ([`StartOffset::Hold`]). All starts are absolute offsets: librdkafka
//! never resets a position on its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as Native;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use crate::admin::Watermarks;
use crate::config::KafkaConfig;
use crate::error::KafkaError;
use crate::health::Health;
use crate::message::Message;
use crate::settings::{Role, client_config};

use assignment::State;
use context::Change;

pub(crate) use context::Context;

mod assignment;
mod context;
mod error;
mod lag;

pub use error::{CommitError, ConsumeError, OutOfRange};
pub use lag::PartitionLag;

/// What the sink does when partitions come and go.
///
/// Called within [`GroupConsumer::poll`], on its thread. A call may block, for
/// less than `max.poll.interval.ms` (5 min): the group waits for it.
pub trait Rebalance {
    /// New partitions. The answer says where to start; those it leaves out are held.
    /// Called when the group's committed offsets are known, which needs its coordinator.
    fn on_assign(
        &mut self,
        consumer: &GroupConsumer,
        assigned: &[Assigned],
    ) -> Vec<(i32, StartOffset)>;

    /// These partitions go to another member once this returns: the last moment to
    /// finish their work and [commit](GroupConsumer::commit_sync) it.
    fn on_revoke(&mut self, consumer: &GroupConsumer, partitions: &[i32]);

    /// These partitions are another member's already (the session ran out):
    /// nothing can be committed, and what was not is read again there.
    fn on_lost(&mut self, partitions: &[i32]);
}

/// A partition that the group gave to this member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Assigned {
    /// Which one.
    pub partition: i32,
    /// The next offset to read, as the group committed it last.
    pub committed: Option<i64>,
}

/// Where to begin reading a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartOffset {
    /// At the group's committed offset; without one, the same as `Hold`.
    Committed,
    /// At this offset.
    At(i64),
    /// At the first record that the log still has.
    Beginning,
    /// Not yet: owned, but not read until [`GroupConsumer::start`].
    Hold,
}

/// Reads the events' topic as a member of the group `kafka.group`.
///
/// Lives on one thread. Dropping it leaves the group without
/// [`Rebalance::on_revoke`]; [`close`](Self::close) calls it first.
pub struct GroupConsumer {
    base: BaseConsumer<Context>,
    topic: String,
    owned: RefCell<BTreeMap<i32, State>>,
    /// Ends of the partitions that are not read, as far as they were asked for.
    asked: RefCell<BTreeMap<i32, Watermarks>>,
    /// When to start assigned partitions that could not be started before.
    retry_at: Cell<Option<Instant>>,
}

/// For one question to the cluster, which the poll thread waits for.
const ASK: Duration = Duration::from_secs(5);

// === impl GroupConsumer ===

impl GroupConsumer {
    /// Joins the group and subscribes to `kafka.topic`.
    ///
    /// # Errors
    /// When a setting is refused. A broker that is away is no error.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let client = client_config(config, Role::Consumer)?;
        let base =
            BaseConsumer::from_config_and_context(&client, Context::new("consumer", &config.topic))
                .map_err(KafkaError::client)?;
        base.subscribe(&[&config.topic])
            .map_err(|error| KafkaError::request("subscribe to the topic", &error))?;
        Ok(Self {
            base,
            topic: config.topic.clone(),
            owned: RefCell::default(),
            asked: RefCell::default(),
            retry_at: Cell::new(None),
        })
    }

    /// Returns the next record, waiting for at most `timeout`.
    ///
    /// Must be called again within `max.poll.interval.ms`. `None` means only that
    /// there is nothing now. After an error that is not
    /// [fatal](ConsumeError::is_fatal), poll on.
    ///
    /// # Errors
    /// See [`ConsumeError`]; none of them skips a record.
    pub fn poll(
        &self,
        timeout: Duration,
        rebalance: &mut dyn Rebalance,
    ) -> Option<Result<Message<'_>, ConsumeError>> {
        self.retry_start(rebalance);
        if self.base.context().tracker().is_stranded() {
            return Some(Err(ConsumeError::stranded()));
        }
        match self.base.poll(timeout) {
            Some(Ok(message)) => return Some(Ok(Message::new(message))),
            Some(Err(error)) => return self.consume_error(&error).map(Err),
            None => {}
        }
        // A rebalance makes the poll return early, with nothing.
        match self.base.context().take_change()? {
            Change::Assign(partitions) => self.assign(&partitions, rebalance),
            Change::Revoke(partitions) => self.revoke(&partitions, rebalance),
        }
        None
    }

    /// Starts an owned partition, or starts it again somewhere else, not paused.
    ///
    /// For one that was held, and for one that is out of range. Records already
    /// polled stay polled.
    ///
    /// # Errors
    /// When the partition is not owned, or the beginning or the committed offset
    /// is asked for and not to be had now.
    pub fn start(&self, partition: i32, start: StartOffset) -> Result<(), KafkaError> {
        const REQUEST: &str = "start a partition";
        let state = self.owned.borrow().get(&partition).copied();
        let refused = |reason: &str| KafkaError::Refused {
            request: REQUEST,
            reason: reason.to_owned(),
        };
        let state = state.ok_or_else(|| refused("the partition is not ours"))?;
        let committed = match start {
            StartOffset::Committed => self
                .committed(&[partition], ASK)?
                .pop()
                .and_then(|(_, at)| at),
            _ => None,
        };
        let at = self
            .resolve(partition, start, committed)?
            .ok_or_else(|| refused("no offset to start at"))?;
        if matches!(state, State::Fetching { .. }) {
            self.stop_fetching(&[partition]);
        }
        self.fetch(&[(partition, at)])
            .map_err(|error| KafkaError::request(REQUEST, &error))
    }

    /// Stops delivering records of these partitions; polling goes on.
    ///
    /// # Errors
    /// When librdkafka refuses; nothing is known of why it would.
    pub fn pause(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.set_paused(partitions, true)
    }

    /// Delivers records of these partitions again, from where they were paused.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn resume(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.set_paused(partitions, false)
    }

    /// Commits, for each partition, the next offset to read, and waits for the answer.
    ///
    /// Usually a millisecond or two; while the coordinator is away up to the
    /// session timeout (10 s).
    ///
    /// # Errors
    /// When the partitions have gone to another member, or Kafka is away.
    pub fn commit_sync(&self, next_offsets: &[(i32, i64)]) -> Result<(), CommitError> {
        self.commit(next_offsets, CommitMode::Sync)
    }

    /// Commits without waiting. A failure is logged, and
    /// [`has_failed_commit`](Self::has_failed_commit) tells of it.
    ///
    /// # Errors
    /// When the request cannot even be queued.
    pub fn commit_async(&self, next_offsets: &[(i32, i64)]) -> Result<(), CommitError> {
        self.commit(next_offsets, CommitMode::Async)
    }

    /// Whether a commit without waiting has failed since this was asked last.
    pub fn has_failed_commit(&self) -> bool {
        self.base.context().take_failed_commit()
    }

    /// The group's committed offset of each partition.
    ///
    /// # Errors
    /// When the group's coordinator does not answer within `timeout`.
    pub fn committed(
        &self,
        partitions: &[i32],
        timeout: Duration,
    ) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
        committed_offsets(&self.base, &self.topic, partitions, timeout)
    }

    /// First and next offset of a partition's log, asked of its leader now.
    ///
    /// # Errors
    /// When the leader does not answer within `timeout`.
    pub fn watermarks(&self, partition: i32, timeout: Duration) -> Result<Watermarks, KafkaError> {
        self.base
            .fetch_watermarks(&self.topic, partition, timeout)
            .map(|(low, high)| Watermarks {
                partition,
                low,
                high,
            })
            .map_err(|error| KafkaError::request("ask for a partition's offsets", &error))
    }

    /// The next offset that [`poll`](Self::poll) returns, per partition that is read.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<i32, i64> {
        let mut positions: BTreeMap<i32, i64> = self
            .owned
            .borrow()
            .iter()
            .filter_map(|(partition, state)| match state {
                State::Fetching { start, .. } => Some((*partition, *start)),
                _ => None,
            })
            .collect();
        // librdkafka knows a position once a record was returned.
        if let Ok(known) = self.base.position() {
            for element in known.elements() {
                if let Offset::Offset(offset) = element.offset() {
                    positions.insert(element.partition(), offset);
                }
            }
        }
        positions
    }

    /// The partitions whose next offset their log does not have, asked of their
    /// leaders now.
    ///
    /// # Errors
    /// At the first leader that does not answer.
    pub fn out_of_range(&self) -> Result<Vec<OutOfRange>, KafkaError> {
        let mut gone = Vec::new();
        for (partition, position) in self.positions() {
            let Watermarks { low, high, .. } = self.watermarks(partition, ASK)?;
            if !(low..=high).contains(&position) {
                gone.push(OutOfRange {
                    partition,
                    position,
                    low,
                    high,
                });
            }
        }
        Ok(gone)
    }

    /// The partitions that the group gave to this member, read or held.
    #[must_use]
    pub fn owned(&self) -> Vec<i32> {
        self.owned.borrow().keys().copied().collect()
    }

    /// What the consumer last knew about the cluster. Served by [`poll`](Self::poll).
    #[must_use]
    pub fn health(&self) -> Health {
        self.base.context().tracker().health()
    }

    /// Follows [`health`](Self::health), on any thread.
    #[must_use]
    pub fn watch_health(&self) -> tokio::sync::watch::Receiver<Health> {
        self.base.context().tracker().watch()
    }

    /// Gives all partitions back, after [`Rebalance::on_revoke`], and leaves the group.
    pub fn close(self, rebalance: &mut dyn Rebalance) {
        let owned = self.owned();
        if !owned.is_empty() {
            self.revoke(&owned, rebalance);
        }
        // Dropping it leaves the group.
    }

    fn consume_error(&self, error: &Native) -> Option<ConsumeError> {
        Some(match ConsumeError::from_native(error)? {
            // librdkafka does not say which partition.
            ConsumeError::OffsetOutOfRange { .. } => ConsumeError::OffsetOutOfRange {
                partitions: self.out_of_range().unwrap_or_default(),
            },
            other => other,
        })
    }

    fn commit(&self, next_offsets: &[(i32, i64)], mode: CommitMode) -> Result<(), CommitError> {
        if next_offsets.is_empty() {
            return Ok(());
        }
        let list = with_offsets(&self.topic, next_offsets).map_err(|e| CommitError::read(&e))?;
        self.base
            .commit(&list, mode)
            .map_err(|error| CommitError::read(&error))
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        // Leaving the group polls once more, where no `Rebalance` is at hand.
        self.base.context().set_closing();
    }
}

impl std::fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("topic", &self.topic)
            .field("owned", &self.owned)
            .finish_non_exhaustive()
    }
}

/// Asks for the group's committed offsets with any client of the group.
pub(crate) fn committed_offsets<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> Result<Vec<(i32, Option<i64>)>, KafkaError> {
    const REQUEST: &str = "ask for the group's committed offsets";
    let refused = |error: &Native| KafkaError::request(REQUEST, error);
    let asked = unstarted(topic, partitions);
    let answer = client
        .committed_offsets(asked, timeout)
        .map_err(|error| refused(&error))?;
    let elements = answer.elements();
    elements
        .iter()
        .map(|element| {
            element.error().map_err(|error| refused(&error))?;
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            Ok((element.partition(), offset))
        })
        .collect()
}

pub(crate) fn with_offsets(
    topic: &str,
    offsets: &[(i32, i64)],
) -> Result<TopicPartitionList, Native> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

fn unstarted(topic: &str, partitions: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    list
}
