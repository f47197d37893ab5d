//! Reads in the words of the vendors' APIs.
//!
//! A vendor's endpoint says what it looks for and how it shows what is found; what
//! is between the two is the same for all. The native lists share paths with some:
//! whose a request is, is told as in the intake.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Json};
use plaudit_dialects::langsmith::PRESIGNED;
use plaudit_dialects::{
    Action, Answer, Call, Content, Fault, Hints, Mounted, Refusal, Search, Stored, Vendor, choose,
    dialect_of, table, vendor,
};
use plaudit_event::{Feedback, Limits, Micros, Registries};
use plaudit_service::{ApiError, ErrorCode, Principal};
use plaudit_store::read::FeedbackRow;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::failed;
use crate::reads::segment;
use crate::service::App;

/// Those who may have sent a read of one path.
pub(crate) type Candidates = Arc<[Mounted]>;

/// What a vendor's answer says where one has no project of its own in it.
static NOTHING_DECLARED: std::sync::LazyLock<Registries> =
    std::sync::LazyLock::new(Registries::default);

/// The paths of all vendors' reads.
pub(crate) fn reads() -> BTreeMap<String, Candidates> {
    let mut reads = BTreeMap::new();
    for ((path, _), candidates) in table() {
        let is_read = |mounted: &Mounted| matches!(mounted.endpoint.action, Action::Read { .. });
        let candidates: Candidates = candidates.into_iter().filter(is_read).collect();
        if !candidates.is_empty() {
            reads.insert(path, candidates);
        }
    }
    reads
}

/// Serves a path that no native read has.
pub(crate) fn handler(candidates: Candidates) -> MethodRouter<App> {
    get(
        async move |State(app): State<App>, params: RawPathParams, request: Request| {
            let path: Vec<_> = params.iter().collect();
            let (parts, _) = request.into_parts();
            match choose(&candidates, &hints(&parts.headers, &parts.uri)) {
                Some(mounted) => read(&app, mounted, &path, &parts).await,
                None => ApiError::not_found().into_response(),
            }
        },
    )
}

/// Serves a vendor's read where a native one has the same path, else goes on.
pub(crate) async fn or_native(
    State((app, candidates)): State<(App, Candidates)>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let recognised = {
        let hints = hints(request.headers(), request.uri());
        let recognises = |mounted: &&Mounted| (mounted.vendor.recognises)(&hints);
        candidates.iter().find(recognises)
    };
    match recognised {
        Some(mounted) => {
            let path: Vec<_> = params.iter().collect();
            let (parts, _) = request.into_parts();
            read(&app, mounted, &path, &parts).await
        }
        None => next.run(request).await,
    }
}

/// `GET /v1/given-out/{id}`: what a token that was given out is good for, for the
/// intake to honour it. Of the feedback that it may have become, nothing is said.
pub(crate) async fn given_out(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id: Uuid = segment("id", id)?
        .parse()
        .map_err(|_| ApiError::invalid_parameter("id", "a UUID"))?;
    let search = Search {
        id: Some(id),
        withdrawn: true,
        ..Search::default()
    };
    let found = app.reader.search(&principal.project, &search, 1).await;
    let found = found.map_err(failed)?.pop();
    let terms = found.as_ref().and_then(|row| terms(&row.feedback()));
    let terms = terms
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "no token has this id").in_field("id"))?;
    Ok(Json(terms).into_response())
}

/// The feedback that a token makes, as far as it was known when it was given out.
fn terms<'a>(feedback: &Feedback<'a>) -> Option<Feedback<'a>> {
    let metadata = feedback.metadata.as_ref()?;
    let metadata: BTreeMap<&str, &RawValue> = serde_json::from_str(metadata.get()).ok()?;
    let presigned = metadata.get(PRESIGNED)?;
    let mut terms = Feedback::new(
        feedback.id,
        feedback.trace_id.clone(),
        feedback.metric.clone(),
    );
    terms.target.clone_from(&feedback.target);
    terms.metadata = plaudit_event::Json::of(&BTreeMap::from([(PRESIGNED, presigned)])).ok();
    Some(terms)
}

fn hints<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Hints<'r> {
    Hints {
        headers,
        query: uri.query().unwrap_or_default(),
        body: b"",
    }
}

async fn read(app: &App, mounted: &Mounted, path: &[(&str, &str)], request: &Parts) -> Response {
    match answer(app, mounted, path, request).await {
        Ok(answer) => answer,
        Err(error) => shaped(mounted.vendor, error, &request.headers),
    }
}

async fn answer(
    app: &App,
    mounted: &Mounted,
    path: &[(&str, &str)],
    request: &Parts,
) -> Result<Response, ApiError> {
    let Action::Read { ask, show } = mounted.endpoint.action else {
        return Err(ApiError::not_found());
    };
    let principal = request.extensions.get::<Principal>();
    let principal = principal.ok_or_else(ApiError::not_found)?;
    let search = match asked(ask, &principal.project, path, request) {
        Ok(search) => search,
        Err(Refusal::Answered(answer)) => return Ok(response(*answer)),
        Err(refusal) => {
            return Err(ApiError::new(
                ErrorCode::InvalidParameter,
                refusal.to_string(),
            ));
        }
    };
    // Less than was asked for would be taken for the end of the list.
    let max = u64::try_from(app.config.max_limit).unwrap_or(u64::MAX);
    if search.limit > max {
        let range = format!("at most {max}");
        return Err(ApiError::invalid_parameter("limit", &range));
    }
    let rows = app.reader.search(&principal.project, &search, max).await;
    let rows = rows.map_err(failed)?;
    let stored: Vec<_> = rows.iter().map(stored).collect();
    Ok(response(show(&search, &stored)))
}

fn asked(
    ask: fn(&Call<'_>) -> Result<Search, Refusal>,
    project: &Arc<str>,
    path: &[(&str, &str)],
    request: &Parts,
) -> Result<Search, Refusal> {
    ask(&Call {
        project,
        received_at: Micros::now(),
        idempotency_key: None,
        path,
        query: request.uri.query().unwrap_or_default(),
        headers: &request.headers,
        content: Content::Json,
        limits: &Limits::default(),
        registries: &NOTHING_DECLARED,
        max_events: 0,
        tokens: None,
        public_url: None,
        mount: "",
    })
}

fn stored(row: &FeedbackRow) -> Stored<'_> {
    let version = row.row_version();
    Stored {
        feedback: row.feedback(),
        received_at: row.received_at,
        // A put that says no time of its own is as old as its receipt.
        modified_at: version.version_time().max(row.received_at),
    }
}

/// An error that is found before a vendor's read, in the vendor's shape.
pub(crate) fn early(error: ApiError, headers: &HeaderMap, uri: &Uri) -> Response {
    let dialect = dialect_of(uri.path(), &hints(headers, uri));
    match vendor(dialect) {
        Some(vendor) => shaped(vendor, error, headers),
        None => error.into_response(),
    }
}

fn shaped(vendor: &Vendor, error: ApiError, headers: &HeaderMap) -> Response {
    let Some(write) = vendor.fault else {
        return error.into_response();
    };
    let body = write(&Fault {
        status: error.status(),
        field: error.field.as_deref(),
        message: &error.message,
        headers,
        route: None,
    });
    error.into_answer(body)
}

fn response(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(answer.content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some((name, value)) = answer.header {
        headers.insert(name, value);
    }
    response
}
