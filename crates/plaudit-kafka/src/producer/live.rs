//! The native producer that there is now, and what outlives it.
//!
//! A client that has no broker left to ask is given up for a new one (see
//! [`Tracker::is_stranded`]). What was counted and what readiness knows stay: they are in
//! [`Reports`], to which every producer of one [`ConfirmingProducer`] reports.
//!
//! [`ConfirmingProducer`]: super::ConfirmingProducer

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};

use crate::confirmation::{Confirmation, Delivery, Reason, given_up};
use crate::error::KafkaError;
use crate::health::Tracker;

/// The producer that there is now, and what outlives it.
pub(super) struct Live {
    producer: RwLock<Arc<BaseProducer<Context>>>,
    pub(super) context: Context,
    config: ClientConfig,
}

/// Cheap to clone: what each producer of a [`ConfirmingProducer`] reports to.
#[derive(Clone)]
pub(super) struct Context(Arc<Reports>);

pub(super) struct Reports {
    pub(super) tracker: Tracker,
    /// Records without an end. librdkafka's own count includes its log lines.
    pub(super) open: AtomicUsize,
    /// How full the queue is, in thousandths of the bound that is nearest.
    pub(super) fullness: AtomicUsize,
    pub(super) failures: [AtomicU64; Reason::CODES.len()],
}

/// What librdkafka carries for us with each record.
pub(super) struct Ticket {
    pub(super) confirmation: Arc<Confirmation>,
    pub(super) index: usize,
}

/// A full queue, in thousandths.
pub(super) const FULL: u32 = 1000;

// === impl Live ===

impl Live {
    pub(super) fn new(config: ClientConfig) -> Result<Self, KafkaError> {
        let context = Context(Arc::new(Reports {
            tracker: Tracker::new("producer"),
            open: AtomicUsize::new(0),
            fullness: AtomicUsize::new(0),
            failures: Default::default(),
        }));
        let producer = BaseProducer::from_config_and_context(&config, context.clone());
        let producer = producer.map(Arc::new).map_err(KafkaError::client)?;
        Ok(Self {
            producer: RwLock::new(producer),
            context,
            config,
        })
    }

    pub(super) fn producer(&self) -> Arc<BaseProducer<Context>> {
        let producer = self.producer.read();
        Arc::clone(&producer.unwrap_or_else(PoisonError::into_inner))
    }

    /// A client that has nobody left to ask is given up, and what it has not sent with it.
    pub(super) fn renew_if_stranded(&self) {
        if !self.context.tracker.is_stranded() {
            return;
        }
        self.context.tracker.begin_anew();
        let renewed = BaseProducer::from_config_and_context(&self.config, self.context.clone());
        match renewed {
            Ok(renewed) => {
                let mut producer = self
                    .producer
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                let stranded = std::mem::replace(&mut *producer, Arc::new(renewed));
                // Not under the lock: its end settles what it had.
                drop(producer);
                drop(stranded);
                tracing::warn!("kafka's client had no broker left to ask: made anew");
            }
            Err(error) => tracing::error!(%error, "kafka's client cannot be made anew"),
        }
    }
}

// === impl Context ===

impl Deref for Context {
    type Target = Reports;

    fn deref(&self) -> &Reports {
        &self.0
    }
}

impl Context {
    pub(super) fn count(&self, reason: Reason) {
        if let Some(count) = self.failures.get(reason.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.tracker.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        let part = |of: u64, bound: u64| of.saturating_mul(FULL.into()) / bound.max(1);
        let records = part(statistics.msg_cnt, statistics.msg_max);
        let bytes = part(statistics.msg_size, statistics.msg_size_max);
        let fullness = usize::try_from(records.max(bytes)).unwrap_or(usize::MAX);
        self.fullness.store(fullness, Ordering::Relaxed);
        self.tracker.statistics(&statistics);
    }

    fn error(&self, error: Native, reason: &str) {
        self.tracker.error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let delivery = match result {
            // A broker that knows the batch from before does not always say where it is.
            Ok(message) if message.offset() < 0 => {
                given_up(RDKafkaErrorCode::DuplicateSequenceNumber)
            }
            Ok(message) => Delivery::Confirmed {
                partition: message.partition(),
                offset: message.offset(),
            },
            Err((error, _)) => {
                let code = error.rdkafka_error_code();
                given_up(code.unwrap_or(RDKafkaErrorCode::Unknown))
            }
        };
        if let Delivery::Refused(reason) | Delivery::Failed(reason) = delivery {
            self.count(reason);
        }
        ticket.confirmation.settle(ticket.index, delivery);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
