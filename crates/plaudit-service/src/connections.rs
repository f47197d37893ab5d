//! Connections: accepted up to a bound, timed while they say nothing or take
//! nothing, drained at the end.
//!
//! Routes, keys and bodies are the business of whoever gives the router. HTTP/1.1
//! alone: what stands before Plaudit speaks it, and so do all SDKs.
//!
//! Invariant (promise **P5**): whatever clients do, a connection holds no more than
//! [`ConnectionsConfig::header_bytes`] in either direction beside what its request
//! was granted, and there are no more than [`ConnectionsConfig::max`] of them. With TLS
//! it is twice that, and a record (16 KiB) on its way in.

mod config;
mod inbound;
mod socket;
mod tls;

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures_util::TryFutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use metrics::{Counter, Gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

pub use config::ConnectionsConfig;
use inbound::{Inbound, Watched};
use socket::Socket;
use tls::Stream;
pub use tls::{ServerTls, TlsConfig};

use crate::{ApiError, RequestId};

/// Serves a router, or what stands around one, to whoever connects.
pub struct HttpServer<S> {
    http: http1::Builder,
    routes: S,
    bounds: ConnectionsConfig,
    tls: Option<ServerTls>,
    tasks: JoinSet<()>,
    graceful: GracefulShutdown,
    /// Ends handshakes: nobody has asked anything yet.
    draining: CancellationToken,
    /// Whether every answer is the last one of its connection.
    last_answers: Arc<AtomicBool>,
    places: Arc<Semaphore>,
    /// Beyond the places: to be told that there is none.
    doorstep: Arc<Semaphore>,
    max: usize,
    open: Gauge,
    turned_away: Counter,
}

/// Connections that are told at one time that there is no place for them. The
/// others wait until these have been.
const TURNED_AWAY: usize = 256;

/// How long one of these may take to ask, and to take the answer.
const TURNING_AWAY: Duration = Duration::from_secs(1);

/// How long a connection may be used once more while its server stops.
const LAST_REQUESTS: Duration = Duration::from_millis(500);

/// Seconds after which there may be a place.
const RETRY_AFTER: u32 = 1;

/// How long to wait when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl<S> HttpServer<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// A server of `routes`; `open` is kept at the number of connections.
    pub fn new(routes: S, config: &ConnectionsConfig, open: Gauge) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(config.header_timeout)
            .max_buf_size(config.header_bytes);
        let max = config.max.min(Semaphore::MAX_PERMITS);
        open.set(0.0);
        Self {
            http,
            routes,
            bounds: config.clone(),
            tls: None,
            tasks: JoinSet::new(),
            graceful: GracefulShutdown::new(),
            draining: CancellationToken::new(),
            last_answers: Arc::default(),
            places: Arc::new(Semaphore::new(max)),
            doorstep: Arc::new(Semaphore::new(TURNED_AWAY)),
            max,
            open,
            turned_away: Counter::noop(),
        }
    }

    /// The same, with each request counted that finds no place.
    #[must_use]
    pub fn counting_turned_away(self, turned_away: Counter) -> Self {
        Self {
            turned_away,
            ..self
        }
    }

    /// The same with TLS, if there is any.
    #[must_use]
    pub fn with_tls(self, tls: Option<ServerTls>) -> Self {
        Self { tls, ..self }
    }

    /// Accepts for ever, with whatever certificate is the newest. Cancel safe: a
    /// connection that was accepted is served.
    pub async fn accept(&mut self, listener: &TcpListener) {
        match self.tls.clone() {
            None => self.take_all(listener).await,
            Some(tls) => tokio::select! {
                () = self.take_all(listener) => {}
                () = tls.follow() => {}
            },
        }
    }

    async fn take_all(&mut self, listener: &TcpListener) {
        let mut is_failing = false;
        loop {
            self.count();
            // While the doorstep is full too, the next ones wait in the system's queue.
            let is_open = self.places.available_permits() + self.doorstep.available_permits() > 0;
            let accepted = tokio::select! {
                accepted = listener.accept(), if is_open => accepted,
                Some(ended) = self.tasks.join_next() => {
                    settle(ended);
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) => {
                    is_failing = false;
                    self.take(stream);
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "cannot accept connections");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Lets each connection finish its request, and says in the answer that it was
    /// the last one; after `patience` they are cut. One that is between two requests is
    /// not closed at once, when the next one may be on its way.
    pub async fn drain(mut self, patience: Duration) {
        self.draining.cancel();
        self.last_answers.store(true, Ordering::Relaxed);
        let ended = all_ended(&mut self.tasks);
        if timeout(LAST_REQUESTS.min(patience), ended).await.is_err() {
            tracing::debug!("closing connections that were not used");
        }
        if timeout(patience, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(
                connections = self.tasks.len(),
                "cut connections that did not finish"
            );
        }
        self.tasks.abort_all();
        all_ended(&mut self.tasks).await;
        self.open.set(0.0);
    }

    fn take(&mut self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot send small answers at once");
        }
        let inbound = Arc::<Inbound>::default();
        let socket = Socket::new(stream, self.bounds.write_timeout, Arc::clone(&inbound));
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            self.serve(socket, inbound, place);
        } else if let Ok(place) = Arc::clone(&self.doorstep).try_acquire_owned() {
            self.turn_away(socket, place);
        }
    }

    fn serve(&mut self, socket: Socket, inbound: Arc<Inbound>, place: OwnedSemaphorePermit) {
        let routes = self.routes.clone();
        let last_answers = Arc::clone(&self.last_answers);
        let service = service_fn(move |request: Request<Incoming>| {
            let (inbound, last_answers) = (Arc::clone(&inbound), Arc::clone(&last_answers));
            let request = request.map(|body| Body::new(Watched::new(body, &inbound)));
            // Mapped, not awaited in a block, which would hold the future twice.
            routes.clone().oneshot(request).map_ok(move |mut answer| {
                if !inbound.answered() || last_answers.load(Ordering::Relaxed) {
                    close(answer.headers_mut());
                }
                answer
            })
        });
        let (http, watcher) = (self.http.clone(), self.graceful.watcher());
        let opened = self.open(socket);
        self.tasks.spawn(async move {
            if let Some(stream) = opened.await {
                let connection = http.serve_connection(TokioIo::new(stream), service);
                // A client that goes away or sends no HTTP is no business of ours.
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, "connection ended");
                }
            }
            drop(place);
        });
    }

    /// Answers one request, whatever it is, with 503.
    fn turn_away(&mut self, socket: Socket, place: OwnedSemaphorePermit) {
        let (mut http, watcher) = (self.http.clone(), self.graceful.watcher());
        http.keep_alive(false);
        let opened = self.open(socket);
        let turned_away = self.turned_away.clone();
        let refuse = service_fn(move |request: Request<Incoming>| {
            turned_away.increment(1);
            ready(Ok::<_, Infallible>(refuse(&request)))
        });
        self.tasks.spawn(async move {
            let answered = async {
                if let Some(stream) = opened.await {
                    let connection = http.serve_connection(TokioIo::new(stream), refuse);
                    // Whether the client hears it is its own affair.
                    if let Err(error) = watcher.watch(connection).await {
                        tracing::debug!(%error, "connection ended");
                    }
                }
            };
            if timeout(TURNING_AWAY, answered).await.is_err() {
                tracing::debug!("a client that had no place said nothing");
            }
            drop(place);
        });
    }

    /// The connection as requests come on it; `None` when there will be none.
    fn open(&self, socket: Socket) -> impl Future<Output = Option<Stream>> + Send + use<S> {
        let tls = self.tls.clone();
        let tls = tls.map(|tls| (tls, self.bounds.clone(), self.draining.clone()));
        async move {
            match tls {
                None => Some(Either::Left(socket)),
                Some((tls, bounds, draining)) => {
                    let opened = tls.open(socket, &bounds);
                    draining.run_until_cancelled(opened).await.flatten()
                }
            }
        }
    }

    fn count(&self) {
        let open = self.max - self.places.available_permits();
        self.open
            .set(f64::from(u32::try_from(open).unwrap_or(u32::MAX)));
    }
}

fn refuse(request: &Request<Incoming>) -> Response {
    let id = RequestId::of(request.headers());
    let error = ApiError::unavailable("too many connections are open", RETRY_AFTER);
    let mut answer = error.into_native(&id);
    close(answer.headers_mut());
    answer
}

/// Says that the connection ends with this answer. It does so where a body was not
/// read, and a client that did not know would send its next request into nothing.
fn close(answer: &mut HeaderMap) {
    answer.insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// Whether only this one connection failed.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

async fn all_ended(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        settle(ended);
    }
}

fn settle(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a request panicked; its connection was closed");
    }
}

#[cfg(test)]
mod tests;
