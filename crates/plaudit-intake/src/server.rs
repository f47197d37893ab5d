//! The life of an intake: open, ready, drained.
//!
//! What a connection may do is in `plaudit-service`; what a request may, in this
//! crate's other modules.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use plaudit_service::{HttpServer, KeyFileError, Readiness};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::publish::{NotReady, Unflushed};
use crate::{Intake, Publish, router};

/// What an intake with this publisher waits for before it is ready.
pub const fn conditions<P: Publish>() -> [&'static str; 2] {
    [LISTENING, P::CONDITION]
}

const LISTENING: &str = "listening";

/// Why an intake stopped working.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener has no address.
    #[error("read the address of the listener")]
    Listener(#[source] std::io::Error),
    /// The address is not one to be open on.
    #[error(transparent)]
    Open(#[from] KeyFileError),
    /// Nothing can be made durable any more until the process is started anew.
    #[error("the publisher has failed for good")]
    Failed(#[source] NotReady),
    /// Events had no end at shutdown; they may land still.
    #[error("flush the publisher")]
    Flush(#[source] Unflushed),
}

/// How often the publisher is asked for its queue and its readiness.
const LOOK: Duration = Duration::from_millis(500);

/// Serves until `stop`, or until the publisher has failed for good, then drains:
/// readiness turns false, the listener closes, requests under way are answered, and the
/// publisher is flushed.
///
/// # Errors
/// [`ServeError`]; after `Flush`, what was not confirmed was not acknowledged
/// either.
pub async fn run<P: Publish>(
    listener: TcpListener,
    intake: Arc<Intake<P>>,
    readiness: Readiness,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    intake.keyring.check_listener(address)?;
    tracing::info!(%address, "intake listening");
    look(&intake, &readiness);
    readiness.clear(LISTENING);

    let connections = &intake.config.connections;
    let open = intake.metrics.connections();
    let mut server = HttpServer::new(router(Arc::clone(&intake)), connections, open)
        .counting_turned_away(intake.metrics.turned_away())
        .with_tls(intake.tls.clone());
    let failed = tokio::select! {
        biased;
        () = stop => None,
        () = server.accept(&listener) => None,
        () = watch(&intake, &readiness) => None,
        reason = intake.publish.failed_for_good() => Some(reason),
    };

    // Before the listener closes, so that nobody is sent here to find it closed.
    readiness.block(LISTENING, "stopping");
    drop(listener);
    // What was acknowledged is told now, whatever the client wanted to wait for.
    intake.stopping.cancel();
    let patience = intake.config.limits.body_timeout + intake.config.http_timeout;
    server.drain(patience).await;
    // No handler runs now: nothing can be added behind it.
    let flushed = intake.publish.flush(intake.config.http_timeout).await;
    measure(&intake);
    flushed.map_err(ServeError::Flush)?;
    failed.map_or(Ok(()), |reason| Err(ServeError::Failed(reason)))
}

/// Keeps readiness and metrics at what the publisher says. Ends never.
async fn watch<P: Publish>(intake: &Intake<P>, readiness: &Readiness) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        look(intake, readiness);
    }
}

fn look<P: Publish>(intake: &Intake<P>, readiness: &Readiness) {
    match intake.publish.readiness() {
        Ok(()) => readiness.clear(P::CONDITION),
        Err(reason) => readiness.block(P::CONDITION, reason.to_string()),
    }
    measure(intake);
}

fn measure<P: Publish>(intake: &Intake<P>) {
    intake.metrics.publisher(&intake.publish);
    intake.metrics.under_way(&intake.admission);
}
