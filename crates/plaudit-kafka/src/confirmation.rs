//! One object per request that waits for all of its records.
//!
//! The request's task and the producer's poll thread share a [`Confirmation`]: a
//! slot per record and a count of the open ones. No channel and no lock per
//! record; the last slot wakes the task once.
//!
//! Invariant: a slot is written at most once, and the count reaches zero exactly
//! when every record that was handed over has its slot written.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::Notify;

/// What became of one record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// Every in-sync replica has it (**P1**).
    Confirmed {
        /// Its partition.
        partition: i32,
        /// Its offset in the partition.
        offset: i64,
    },
    /// It is certainly not in the topic: sending it again cannot make a second copy.
    Refused(Reason),
    /// It was given up, but an attempt may have been written.
    Failed(Reason),
    /// The wait ended first: it may be written still.
    Unconfirmed,
}

impl Delivery {
    /// Whether the record is in the topic, or may come to be.
    #[must_use]
    pub fn may_be_written(self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// Why a record was not confirmed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The producer's queue is full: answer 503 and let the client come back.
    QueueFull,
    /// Larger than the producer or the topic allows.
    TooLarge,
    /// Not confirmed within `message.timeout.ms`: Kafka is away or slow.
    TimedOut,
    /// The topic does not exist, or not with this partition.
    UnknownTopic,
    /// The cluster does not let this client write to the topic.
    Unauthorized,
    /// Fewer replicas in sync than `min.insync.replicas`.
    NotEnoughReplicas,
    /// The producer was closed before the record was sent.
    Closed,
    /// The producer has failed for good; see [`crate::Health::fatal`].
    Fatal,
    /// Anything else, by the code of the Kafka protocol (negative: librdkafka's own).
    Broker(i32),
}

impl Reason {
    /// Every code, in the order of [`crate::ConfirmingProducer::failures`].
    pub const CODES: [&str; 9] = [
        "queue_full",
        "too_large",
        "timed_out",
        "unknown_topic",
        "unauthorized",
        "not_enough_replicas",
        "closed",
        "fatal",
        "broker",
    ];

    /// The word for it in metrics and answers; the set is closed.
    #[must_use]
    pub fn code(self) -> &'static str {
        Self::CODES.get(self.index()).copied().unwrap_or("broker")
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::QueueFull => 0,
            Self::TooLarge => 1,
            Self::TimedOut => 2,
            Self::UnknownTopic => 3,
            Self::Unauthorized => 4,
            Self::NotEnoughReplicas => 5,
            Self::Closed => 6,
            Self::Fatal => 7,
            Self::Broker(_) => 8,
        }
    }

    pub(crate) fn from_code(code: RDKafkaErrorCode) -> Self {
        use RDKafkaErrorCode as Code;
        match code {
            Code::QueueFull => Self::QueueFull,
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => Self::TooLarge,
            Code::MessageTimedOut => Self::TimedOut,
            Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::InvalidTopic => Self::UnknownTopic,
            Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => Self::Unauthorized,
            Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => Self::NotEnoughReplicas,
            Code::PurgeQueue | Code::PurgeInflight => Self::Closed,
            Code::Fatal => Self::Fatal,
            other => Self::Broker(other as i32),
        }
    }
}

/// The fate of a record that librdkafka had accepted and then gave up.
///
/// Certain only where no attempt can have been written: the topic or partition
/// was never found, or every attempt is refused for the record's size. The rest
/// may have had an earlier attempt whose answer was lost.
pub(crate) fn given_up(code: RDKafkaErrorCode) -> Delivery {
    use RDKafkaErrorCode as Code;
    let reason = Reason::from_code(code);
    match code {
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::MessageSizeTooLarge => Delivery::Refused(reason),
        _ => Delivery::Failed(reason),
    }
}

/// The records of one request, and what became of them so far.
#[derive(Debug)]
pub(crate) struct Confirmation {
    slots: Box<[OnceLock<Delivery>]>,
    open: AtomicUsize,
    done: Notify,
}

impl Confirmation {
    pub(crate) fn new(records: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: (0..records).map(|_| OnceLock::new()).collect(),
            open: AtomicUsize::new(records),
            done: Notify::new(),
        })
    }

    pub(crate) fn settle(&self, index: usize, delivery: Delivery) {
        if self
            .slots
            .get(index)
            .is_some_and(|slot| slot.set(delivery).is_ok())
        {
            self.close(1);
        }
    }

    /// Takes slots that no record will fill out of the count.
    pub(crate) fn close(&self, slots: usize) {
        // Release: the waiter, which acquires, sees what was written to the slots.
        if slots > 0 && self.open.fetch_sub(slots, Ordering::AcqRel) == slots {
            self.done.notify_one();
        }
    }

    fn is_done(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }
}

/// The records of one `send_all`, on their way.
///
/// Dropping it does not take anything back: the records are sent all the same.
#[must_use = "records are confirmed only once this has been waited for"]
#[derive(Debug)]
pub struct Pending {
    confirmation: Arc<Confirmation>,
    records: usize,
    accepted: usize,
}

impl Pending {
    pub(crate) fn new(confirmation: Arc<Confirmation>, records: usize, accepted: usize) -> Self {
        Self {
            confirmation,
            records,
            accepted,
        }
    }

    /// Records that were taken into the queue; the others are refused already.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted
    }

    /// Whether nothing at all was sent, so that the request can be repeated as it is.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.accepted == 0
    }

    /// Waits until every record has its end, at most `deadline`.
    ///
    /// The deliveries are in the order of the records. Those still open at the
    /// deadline are [`Delivery::Unconfirmed`]; with a `deadline` longer than
    /// `message.timeout.ms` (7 s) there are none, unless librdkafka's thread hangs.
    ///
    /// Cancel safe in that nothing is lost but the answer.
    pub async fn wait(self, deadline: Duration) -> Vec<Delivery> {
        if !self.confirmation.is_done() {
            // Timed out or not, the slots say it all.
            let _expired = tokio::time::timeout(deadline, self.confirmation.done.notified()).await;
        }
        self.confirmation
            .slots
            .iter()
            .take(self.records)
            .map(|slot| slot.get().copied().unwrap_or(Delivery::Unconfirmed))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn confirmed(offset: i64) -> Delivery {
        Delivery::Confirmed {
            partition: 1,
            offset,
        }
    }

    // Not with a paused clock: it would run on while the other thread works.
    #[tokio::test]
    async fn deliveries_come_back_in_the_order_of_the_records() {
        let confirmation = Confirmation::new(3);
        let pending = Pending::new(Arc::clone(&confirmation), 3, 2);
        confirmation.settle(2, confirmed(7));
        confirmation.settle(1, Delivery::Refused(Reason::TooLarge));
        let poll = std::thread::spawn(move || confirmation.settle(0, confirmed(6)));
        let deliveries = pending.wait(HOUR).await;
        poll.join().unwrap();
        assert_eq!(
            deliveries,
            [
                confirmed(6),
                Delivery::Refused(Reason::TooLarge),
                confirmed(7)
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_open_at_the_deadline_is_unconfirmed_and_may_be_written() {
        let confirmation = Confirmation::new(2);
        confirmation.settle(1, confirmed(0));
        let deliveries = Pending::new(Arc::clone(&confirmation), 2, 2)
            .wait(HOUR)
            .await;
        assert_eq!(deliveries, [Delivery::Unconfirmed, confirmed(0)]);
        assert!(deliveries.iter().all(|delivery| delivery.may_be_written()));
        // The record's end comes too late for anyone, and harms nobody.
        confirmation.settle(0, confirmed(9));
    }

    #[tokio::test(start_paused = true)]
    async fn slots_without_a_record_are_not_waited_for() {
        let confirmation = Confirmation::new(3);
        confirmation.settle(0, confirmed(0));
        confirmation.close(2);
        let deliveries = Pending::new(confirmation, 1, 1).wait(HOUR).await;
        assert_eq!(deliveries, [confirmed(0)]);
        let none = Pending::new(Confirmation::new(0), 0, 0);
        assert!(none.is_refused());
        assert_eq!(none.wait(HOUR).await, []);
    }

    #[test]
    fn a_second_end_of_a_record_is_ignored() {
        let confirmation = Confirmation::new(2);
        confirmation.settle(0, confirmed(0));
        confirmation.settle(0, Delivery::Failed(Reason::TimedOut));
        confirmation.settle(5, confirmed(0));
        assert!(!confirmation.is_done());
        confirmation.settle(1, confirmed(1));
        assert!(confirmation.is_done());
    }

    #[test]
    fn only_what_was_never_written_is_refused() {
        use RDKafkaErrorCode as Code;
        for code in [
            Code::UnknownTopic,
            Code::UnknownPartition,
            Code::MessageSizeTooLarge,
        ] {
            assert!(!given_up(code).may_be_written(), "{code:?}");
        }
        for code in [
            Code::MessageTimedOut,
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::NotEnoughReplicasAfterAppend,
            Code::NotEnoughReplicas,
            Code::Fatal,
            Code::NetworkException,
        ] {
            assert!(given_up(code).may_be_written(), "{code:?}");
        }
    }

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let reasons = [
            Reason::QueueFull,
            Reason::TooLarge,
            Reason::TimedOut,
            Reason::UnknownTopic,
            Reason::Unauthorized,
            Reason::NotEnoughReplicas,
            Reason::Closed,
            Reason::Fatal,
            Reason::Broker(-1),
        ];
        assert_eq!(reasons.map(Reason::code), Reason::CODES);
    }
}
