//! What librdkafka calls on the poll thread of a consumer, a member of a group or not.
//!
//! A rebalance is only noted here: librdkafka waits until it is answered, and
//! [`GroupConsumer::poll`](super::GroupConsumer::poll) answers it as soon as it has
//! the sink's handler at hand. So the handler may borrow the sink's state, and a
//! record cannot come between the note and the answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as Native;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Statistics, TopicPartitionList};

use super::lag::{PartitionLag, lag_of};
use crate::health::Tracker;

/// A change of the partitions that we own, which librdkafka waits for us to answer.
pub(super) enum Change {
    Assign(Vec<i32>),
    Revoke(Vec<i32>),
}

pub(crate) struct Context {
    topic: String,
    tracker: Tracker,
    waiting: Mutex<Option<Change>>,
    closing: AtomicBool,
    /// A commit that nobody waited for has failed, and nobody has asked yet.
    has_failed_commit: AtomicBool,
    lag: Mutex<BTreeMap<i32, PartitionLag>>,
}

/// What librdkafka files its word under that a commit has failed for which nobody waits.
/// `commit_callback` is not called for such a commit: rdkafka sets no callback of
/// librdkafka's. The level of the log is ours, so this is always heard.
const COMMIT_FAILED: &str = "COMMITFAIL";

impl Context {
    /// `client` is its kind, as a log field.
    pub(crate) fn new(client: &'static str, topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            tracker: Tracker::new(client),
            waiting: Mutex::default(),
            closing: AtomicBool::new(false),
            has_failed_commit: AtomicBool::new(false),
            lag: Mutex::default(),
        }
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    pub(super) fn take_change(&self) -> Option<Change> {
        lock(&self.waiting).take()
    }

    pub(super) fn lag(&self) -> BTreeMap<i32, PartitionLag> {
        lock(&self.lag).clone()
    }

    pub(super) fn take_failed_commit(&self) -> bool {
        self.has_failed_commit.swap(false, Ordering::Relaxed)
    }

    /// From here on, changes are answered without asking anyone.
    pub(super) fn set_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == COMMIT_FAILED {
            self.has_failed_commit.store(true, Ordering::Relaxed);
        }
        self.tracker.log(level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        self.tracker.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.tracker.statistics(&statistics);
        *lock(&self.lag) = lag_of(&statistics, &self.topic);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            // While a client closes, librdkafka takes this for every change.
            if let Err(error) = consumer.unassign() {
                tracing::warn!(%error, "could not give the partitions back");
            }
            return;
        }
        let partitions = list.elements().iter().map(|e| e.partition()).collect();
        let change = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assign(partitions),
            _ => Change::Revoke(partitions),
        };
        *lock(&self.waiting) = Some(change);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every value here is replaced whole: a panic elsewhere cannot have torn it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
