//! Which path is whose.
//!
//! Every endpoint of every vendor is mounted under the vendor's prefix, where a
//! request can only be its, and at the root as the vendor documents it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Method, StatusCode, Uri, request};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use futures_util::FutureExt as _;
use plaudit_dialects::{Hints, dialect_of, table};
use plaudit_service::{ApiError, RequestId, request_id};
use tower::{Service, service_fn};

use crate::feedback::{Candidates, take};
use crate::query::no_query_url;
use crate::{Intake, Publish, faults};

/// What everybody may read.
const PUBLIC_READ: &str = "/openapi.json";

/// Reads that are the query service's.
const READS: [&str; 7] = [
    PUBLIC_READ,
    "/v1/feedback",
    "/v1/feedback/{id}",
    "/v1/metrics",
    "/v1/metrics/{metric}",
    "/v1/receipts/{receipt}",
    "/v1/traces/{trace_id}/feedback",
];

/// The whole API of an intake, without its listener.
pub fn router<P: Publish>(
    intake: Arc<Intake<P>>,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    let mut router = Router::new();
    for ((path, method), candidates) in table() {
        // A native read: whose it is, is for the query service to tell.
        if method != "GET" || !READS.contains(&path.as_str()) {
            router = router.route(&path, taking(method, candidates.into()));
        }
    }
    for path in READS {
        router = router.route(path, get(pass_on::<P>));
    }
    let routes = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(intake);
    // Around the router, which matches a path before its layers could put it right,
    // and boxes the future of each.
    service_fn(move |request| request_id(with_plain_path(request), routes.clone()).map(Ok))
}

fn taking<P: Publish>(method: &str, candidates: Candidates) -> MethodRouter<Arc<Intake<P>>> {
    let method = Method::from_bytes(method.as_bytes())
        .ok()
        .and_then(|method| MethodFilter::try_from(method).ok())
        .expect("an endpoint has one of the methods of HTTP");
    // Taken apart before the future begins, which would keep room for the whole.
    let handler =
        move |State(intake): State<Arc<Intake<P>>>, params: RawPathParams, request: Request| {
            let candidates = Arc::clone(&candidates);
            let (mut parts, body) = request.into_parts();
            async move {
                let path: Vec<_> = params.iter().collect();
                take(&intake, &candidates, &path, &mut parts, body).await
            }
        };
    on(method, handler)
}

async fn pass_on<P: Publish>(State(intake): State<Arc<Intake<P>>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let id = RequestId::given(&parts.extensions, &parts.headers);
    let answer = Box::pin(read_natively(&intake, &parts, &id)).await;
    answer.unwrap_or_else(|error| {
        let dialect = dialect_of(parts.uri.path(), &hints(&parts.uri, &parts.headers));
        let (status, code) = (error.status(), error.code.code());
        intake.faults.note(dialect, status, code, &id);
        faults::answer(dialect, error, &parts.headers, None, &id)
    })
}

/// A read that has no dialect's endpoint before it.
async fn read_natively<P: Publish>(
    intake: &Intake<P>,
    parts: &request::Parts,
    id: &RequestId,
) -> Result<Response, ApiError> {
    let _entered = intake.admission.enter()?;
    if parts.uri.path() != PUBLIC_READ {
        // What the key may read, the query service says: here it is only counted.
        let principal = intake.keyring.authenticate(&parts.headers)?;
        intake.admission.count(&principal.key_id)?;
    }
    read(intake, parts, id).await
}

fn hints<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Hints<'r> {
    Hints {
        headers,
        query: uri.query().unwrap_or_default(),
        body: b"",
    }
}

/// Asks the query service.
pub(crate) async fn read<P>(
    intake: &Intake<P>,
    parts: &request::Parts,
    id: &RequestId,
) -> Result<Response, ApiError> {
    let query = intake.query.as_ref().ok_or_else(no_query_url)?;
    let (method, uri) = (parts.method.clone(), &parts.uri);
    query.pass_on(method, uri, &parts.headers, id).await
}

async fn not_found(request: Request) -> Response {
    unserved(&request, ApiError::not_found())
}

async fn method_not_allowed(request: Request) -> Response {
    unserved(&request, ApiError::method_not_allowed())
}

fn unserved(request: &Request, error: ApiError) -> Response {
    let headers = request.headers();
    let path = request.uri().path();
    let dialect = dialect_of(path, &hints(request.uri(), headers));
    let id = RequestId::given(request.extensions(), headers);
    let route = (error.status() == StatusCode::NOT_FOUND).then_some((request.method(), path));
    faults::answer(dialect, error, headers, route, &id)
}

/// Takes doubled and trailing slashes out of the path: clients whose base URL ends
/// with a slash send them.
fn with_plain_path<B>(mut request: http::Request<B>) -> http::Request<B> {
    let path = request.uri().path();
    let plain = !path.contains("//") && (path == "/" || !path.ends_with('/'));
    if !plain {
        let segments: Vec<_> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        let mut text = format!("/{}", segments.join("/"));
        if let Some(query) = request.uri().query() {
            text.push('?');
            text.push_str(query);
        }
        // Parts of a path and a query that were one make one again.
        if let Ok(path_and_query) = PathAndQuery::try_from(text) {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(path_and_query);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_that_say_nothing_are_taken_out() {
        for (sent, plain) in [
            ("/v1/feedback", "/v1/feedback"),
            ("/v1//feedback", "/v1/feedback"),
            ("/v1/feedback/?a=//b/", "/v1/feedback?a=//b/"),
            ("//portkey//v1/feedback//", "/portkey/v1/feedback"),
            ("/", "/"),
            ("//", "/"),
        ] {
            let uri = format!("http://h{sent}");
            let request = http::Request::get(uri).body(()).unwrap();
            let uri = with_plain_path(request).uri().to_string();
            assert_eq!(uri, format!("http://h{plain}"), "{sent}");
        }
    }
}
