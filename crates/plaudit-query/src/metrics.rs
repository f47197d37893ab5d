//! Every metric of the query service.

use std::time::Duration;

use metrics::{Gauge, Unit, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::Route;

const REQUESTS_TOTAL: &str = "plaudit_query_requests_total";
const SECONDS: &str = "plaudit_query_seconds";
const WAITING: &str = "plaudit_query_waiting_requests";

const CONNECTIONS: &str = "plaudit_query_connections";
const CERTIFICATE_EXPIRY: &str = "plaudit_query_certificate_expiry_seconds";

/// Says what each metric means; once, at the start.
pub(crate) fn describe() {
    describe_counter!(
        REQUESTS_TOTAL,
        "Requests by route and outcome: `ok` or the error's code. A rise of `unavailable` is \
         ClickHouse away, slow or asked too much."
    );
    describe_histogram!(
        SECONDS,
        Unit::Seconds,
        "From the request's head to the answer's, by route. `receipts` includes the wait."
    );
    describe_gauge!(
        CONNECTIONS,
        "Open connections. At `query.connections.max` more are answered 503."
    );
    describe_gauge!(
        WAITING,
        "Requests that wait for receipts. At `query.receipts.max_waiting` more are refused."
    );
}

/// For the server, which counts them.
pub(crate) fn connections() -> Gauge {
    gauge!(CONNECTIONS)
}

/// For the listener, where it has TLS: without, there is no such metric, since 0 would
/// be an end long past.
pub(crate) fn certificate_expiry() -> Gauge {
    describe_gauge!(
        CERTIFICATE_EXPIRY,
        "When the certificate ends that clients are shown, in seconds since 1970."
    );
    gauge!(CERTIFICATE_EXPIRY)
}

/// One request was answered; `outcome` is `ok` or an error's code.
pub(crate) fn answered(route: Route, outcome: &'static str, took: Duration) {
    metrics::counter!(REQUESTS_TOTAL, "route" => route.name(), "outcome" => outcome).increment(1);
    metrics::histogram!(SECONDS, "route" => route.name()).record(took);
}

/// How many requests wait for receipts.
pub(crate) fn waiting(requests: usize) {
    metrics::gauge!(WAITING).set(u32::try_from(requests).unwrap_or(u32::MAX));
}
