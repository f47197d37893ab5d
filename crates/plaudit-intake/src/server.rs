//! Connections: accepted up to a bound, timed while they say nothing, drained at
//! the end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use plaudit_service::{KeyFileError, Readiness};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::publish::Unflushed;
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
    /// Events had no end at shutdown; they may land still.
    #[error("flush the publisher")]
    Flush(#[source] Unflushed),
}

/// How often the publisher is asked for its queue and its readiness.
const LOOK: Duration = Duration::from_millis(500);

/// How long to wait when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then drains: readiness turns false, the listener closes,
/// requests under way are answered, and the publisher is flushed.
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

    let mut connections = Connections::new(&intake);
    tokio::select! {
        biased;
        () = stop => {}
        () = connections.accept(&listener) => {}
        () = watch(&intake, &readiness) => {}
    }

    // Before the listener closes, so that nobody is sent here to find it closed.
    readiness.block(LISTENING, "stopping");
    drop(listener);
    let patience = intake.config.limits.body_timeout + intake.config.http_timeout;
    connections.drain(patience).await;
    // No handler runs now: nothing can be added behind it.
    let flushed = intake.publish.flush(intake.config.http_timeout).await;
    intake
        .metrics
        .publisher(intake.publish.queue_len(), intake.publish.failures());
    flushed.map_err(ServeError::Flush)
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
    intake
        .metrics
        .publisher(intake.publish.queue_len(), intake.publish.failures());
}

/// The open connections.
struct Connections {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    tasks: JoinSet<()>,
    graceful: GracefulShutdown,
    places: Arc<Semaphore>,
}

impl Connections {
    fn new<P: Publish>(intake: &Arc<Intake<P>>) -> Self {
        let limits = &intake.config.limits;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .pipeline_flush(true);
        Self {
            http,
            service: TowerToHyperService::new(router(Arc::clone(intake))),
            tasks: JoinSet::new(),
            graceful: GracefulShutdown::new(),
            places: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
        }
    }

    /// Accepts for ever. Cancel safe: a connection that was accepted is served.
    async fn accept(&mut self, listener: &TcpListener) {
        loop {
            let place = tokio::select! {
                place = Arc::clone(&self.places).acquire_owned() => place,
                Some(ended) = self.tasks.join_next() => {
                    settle(ended);
                    continue;
                }
            };
            // The semaphore is never closed.
            let Ok(place) = place else { return };
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream, place),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
            while let Some(ended) = self.tasks.try_join_next() {
                settle(ended);
            }
        }
    }

    fn serve(&mut self, stream: TcpStream, place: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot send small answers at once");
        }
        let connection = self
            .http
            .serve_connection(TokioIo::new(stream), self.service.clone());
        let connection = self.graceful.watch(connection);
        self.tasks.spawn(async move {
            // A client that goes away or sends no HTTP is no business of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }

    /// Lets each connection finish its request; after `patience` they are cut.
    async fn drain(mut self, patience: Duration) {
        if timeout(patience, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(
                connections = self.tasks.len(),
                "cut connections that did not finish"
            );
        }
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            settle(ended);
        }
    }
}

fn settle(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a request panicked; its connection was closed");
    }
}
