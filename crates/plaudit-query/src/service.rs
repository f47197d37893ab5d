//! The server: what stands before every route, and its life.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use plaudit_service::{
    ApiError, HttpServer, KeyFileError, Keyring, Readiness, Scope, chain, request_id,
};
use plaudit_store::Store;
use plaudit_store::read::Reader;
use plaudit_tls::TlsError;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::watch::LedgerWatch;
use crate::{Access, QueryConfig, Route, error, metrics, vendors, watch};

/// What the service is made of.
#[derive(Debug)]
pub struct Deps {
    /// Bounds and times.
    pub config: QueryConfig,
    /// What is read.
    pub store: Store,
    /// Who may read it.
    pub keyring: Arc<Keyring>,
    /// Told whether ClickHouse can be asked, as [`CLICKHOUSE`](Deps::CLICKHOUSE).
    pub readiness: Readiness,
}

/// Why the service stopped, or did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener has no address.
    #[error("cannot serve the query API")]
    Serve(#[source] std::io::Error),
    /// It would be open to the network.
    #[error("cannot listen there")]
    Open(#[source] KeyFileError),
    /// Its certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) config: Arc<QueryConfig>,
    pub(crate) reader: Reader,
    pub(crate) ledger: LedgerWatch,
    keyring: Arc<Keyring>,
    pub(crate) reads: Arc<Semaphore>,
    /// Requests that may wait for receipts.
    waits: Arc<Semaphore>,
}

/// The largest request body, in bytes: receipts.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Between two looks at whether ClickHouse can be asked.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

impl Deps {
    /// The readiness condition that the service keeps up to date.
    pub const CLICKHOUSE: &'static str = "clickhouse";
}

/// Serves the API until `stop`, then drains: readiness goes first, requests
/// that wait for receipts are answered with what is known, the others finish.
///
/// # Errors
/// [`ServeError`] when the listener has no address, is not loopback in open mode, or has
/// a certificate that cannot be used.
pub async fn run(
    listener: TcpListener,
    deps: Deps,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Serve)?;
    deps.keyring
        .check_listener(address)
        .map_err(ServeError::Open)?;
    metrics::describe();
    let tls = deps
        .config
        .tls
        .load("query.tls", metrics::certificate_expiry)?;

    let reader = Reader::new(deps.store, deps.config.timeout);
    let (ledger, watcher) = watch::new(reader.clone(), &deps.config.receipts);
    let app = App {
        reads: Arc::new(Semaphore::new(deps.config.max_concurrent)),
        waits: Arc::new(Semaphore::new(deps.config.receipts.max_waiting)),
        config: Arc::new(deps.config),
        reader: reader.clone(),
        ledger,
        keyring: deps.keyring,
    };
    let readiness = deps.readiness;
    let patience = app.config.timeout;
    let connections = app.config.connections.clone();
    let mut server =
        HttpServer::new(router(app), &connections, metrics::connections()).with_tls(tls);
    tracing::info!(%address, "serving the query API");
    let serving = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = server.accept(&listener) => {}
        }
        // Before the listener closes, so that nobody is sent here to find it closed.
        readiness.block("running", "stopping");
        drop(listener);
        server.drain(patience).await;
    };
    tokio::join!(
        serving,
        watcher.run(stop.clone()),
        probe(&reader, &readiness, &stop),
    );
    Ok(())
}

pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    let mut vendors = vendors::reads();
    for route in Route::ALL {
        let mut handler = route.handler();
        if route.method() == "get"
            && let Some(candidates) = vendors.remove(route.path())
        {
            let first = from_fn_with_state((app.clone(), candidates), vendors::or_native);
            handler = handler.layer(first);
        }
        let gate = from_fn_with_state((app.clone(), route), gate);
        router = router.route(route.path(), handler.layer(gate));
    }
    for (path, candidates) in vendors {
        let gate = from_fn_with_state((app.clone(), Route::List), gate);
        router = router.route(&path, vendors::handler(candidates).layer(gate));
    }
    router
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(request_id::<Next>))
        .with_state(app)
}

/// Before and after every handler: key, bounds, time, metrics.
async fn gate(State((app, route)): State<(App, Route)>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let (response, outcome) = match admit(&app, route, request, next).await {
        Ok(response) => {
            let error = response.extensions().get::<ApiError>();
            let outcome = error.map_or("ok", |error| error.code.code());
            (response, outcome)
        }
        Err(error) => {
            let outcome = error.code.code();
            (vendors::early(error, &headers, &uri), outcome)
        }
    };
    metrics::answered(route, outcome, start.elapsed());
    response
}

async fn admit(
    app: &App,
    route: Route,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if route.access() != Access::Public {
        let principal = app.keyring.authenticate(request.headers())?;
        if route.access() == Access::Read {
            principal.require(Scope::Read)?;
        }
        request.extensions_mut().insert(principal);
    }
    if route.waits() {
        let _place = place(&app.waits)?;
        // As long as it may wait, and with it the time for its body and its reads.
        let patience = app.config.receipts.max_wait + app.config.timeout;
        let answer = tokio::time::timeout(patience, next.run(request)).await;
        return answer.map_err(|_| error::too_slow());
    }
    let _place = place(&app.reads)?;
    let answer = tokio::time::timeout(app.config.timeout, next.run(request)).await;
    answer.map_err(|_| error::too_slow())
}

/// One of a bounded number of places, at once or not at all.
fn place(places: &Semaphore) -> Result<SemaphorePermit<'_>, ApiError> {
    places.try_acquire().map_err(|full| match full {
        TryAcquireError::NoPermits | TryAcquireError::Closed => error::busy(),
    })
}

/// Keeps readiness true to whether ClickHouse can be asked.
async fn probe(reader: &Reader, readiness: &Readiness, stop: &CancellationToken) {
    let mut was_ready = None;
    let mut tick = tokio::time::interval(PROBE_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let checked = tokio::select! {
            () = stop.cancelled() => return,
            checked = reader.check() => checked,
        };
        let reason = checked.err().map(|error| chain(&error));
        if was_ready != Some(reason.is_none()) {
            was_ready = Some(reason.is_none());
            match &reason {
                None => tracing::info!("ClickHouse answers and has the schema"),
                Some(reason) => tracing::warn!(reason, "ClickHouse cannot be asked"),
            }
        }
        readiness.set(
            Deps::CLICKHOUSE,
            reason.is_none(),
            reason.as_deref().unwrap_or_default(),
        );
    }
}
