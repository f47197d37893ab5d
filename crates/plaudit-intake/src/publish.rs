//! Where events go: the one thing that differs between a cluster and one process.
//!
//! Two implementations run in production: [`KafkaPublish`](crate::KafkaPublish),
//! and the group commit of `plaudit standalone`. Neither's types are here.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use plaudit_dialects::{Batch, Delivery};
use plaudit_event::Declaration;

/// Makes events durable.
pub trait Publish: Send + Sync + 'static {
    /// What has to be there before the service is ready, as `/readyz` names it.
    const CONDITION: &'static str;

    /// Whether what is declared comes back to every intake, this one too, in the order
    /// in which it is durable: see [`follow`](crate::follow).
    const COMES_BACK: bool;

    /// Publishes all events of a request and waits for each one's end, in the
    /// order of the batch.
    ///
    /// It never waits for room: what does not fit is refused at once
    /// (**P5**). It ends within `deadline`, and says `Unconfirmed` of what is still
    /// open then. When it is dropped instead, events that were taken may land all
    /// the same.
    fn publish(
        &self,
        batch: Arc<Batch>,
        deadline: Duration,
    ) -> impl Future<Output = Vec<Delivery>> + Send;

    /// Makes what a project declares durable, so that every intake comes to know it,
    /// also after a restart.
    ///
    /// # Errors
    /// [`NotReady`], and it may be durable or not: declaring again is no harm.
    fn declare(
        &self,
        project: &str,
        declarations: &[Declaration],
    ) -> impl Future<Output = Result<(), NotReady>> + Send;

    /// Whether events can be expected to be made durable now.
    ///
    /// # Errors
    /// [`NotReady`] says what is missing. Publishing may be tried all the same.
    fn readiness(&self) -> Result<(), NotReady>;

    /// Ends with the reason when nothing can be made durable any more until the process
    /// is started anew.
    fn failed_for_good(&self) -> impl Future<Output = NotReady> + Send {
        std::future::pending()
    }

    /// Events that were taken and have no end yet.
    fn queue_len(&self) -> usize;

    /// How full the queue of these is, from 0 to 1.
    fn queue_fullness(&self) -> f64 {
        0.0
    }

    /// Every kind of failure by closed code, with how often it happened since the
    /// start.
    fn failures(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Waits until every event that was taken has its end. For shutdown, when
    /// nothing is published any more.
    ///
    /// # Errors
    /// [`Unflushed`] when `deadline` passes first; those events may land still.
    fn flush(&self, deadline: Duration) -> impl Future<Output = Result<(), Unflushed>> + Send;
}

/// What keeps events from being made durable, such as `kafka is not reachable`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct NotReady(pub Cow<'static, str>);

/// Events had no end when the deadline passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{events} events are not confirmed")]
pub struct Unflushed {
    /// How many.
    pub events: usize,
}
