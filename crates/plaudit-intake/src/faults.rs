//! How a request that failed as a whole is answered, and when that is logged.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use plaudit_dialects::{Fault, vendor};
use plaudit_event::Dialect;
use plaudit_service::{ApiError, RequestId};
use tokio::time::Instant;

/// Logs failures of ours, at most one line a second: a cluster that is away fails
/// every request.
#[derive(Debug)]
pub(crate) struct FaultLog {
    start: Instant,
    /// The second, from 1, of the last line.
    last: AtomicU64,
    untold: AtomicU64,
}

/// The answer in the shape of its dialect; `route` is what nobody serves.
pub(crate) fn answer(
    dialect: Dialect,
    error: ApiError,
    headers: &HeaderMap,
    route: Option<(&Method, &str)>,
    id: &RequestId,
) -> Response {
    let Some(fault) = vendor(dialect).and_then(|vendor| vendor.fault) else {
        return error.into_native(id);
    };
    let body = fault(&Fault {
        status: error.status(),
        field: error.field.as_deref(),
        message: &error.message,
        headers,
        route,
    });
    error.into_answer(body)
}

impl Default for FaultLog {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        }
    }
}

impl FaultLog {
    /// Logs an answer whose status says that we failed.
    pub(crate) fn note(&self, dialect: Dialect, status: StatusCode, code: &str, id: &RequestId) {
        if !status.is_server_error() || status == StatusCode::NOT_IMPLEMENTED {
            return;
        }
        let now = self.start.elapsed().as_secs() + 1;
        if self.last.swap(now, Ordering::Relaxed) == now {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let untold = self.untold.swap(0, Ordering::Relaxed);
        tracing::warn!(
            dialect = dialect.name(),
            status = status.as_u16(),
            code,
            request_id = id.as_str(),
            untold,
            "request failed"
        );
    }
}
