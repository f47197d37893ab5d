//! What was said: feedback, traces, metrics.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use plaudit_service::{ApiError, ErrorCode, Principal};
use plaudit_store::read::{Page, Position};
use uuid::Uuid;

use crate::cursor;
use crate::error::failed;
use crate::params::{Interval, Paging, Params};
use crate::service::App;
use crate::view::{
    FeedbackView, MetricCountView, MetricsView, PageView, SummaryView, TraceMetricView, TraceView,
};

type RawParams = Result<Query<Vec<(String, String)>>, QueryRejection>;
type Segment = Result<Path<String>, PathRejection>;

/// `GET /v1/feedback`
pub(crate) async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    params: RawParams,
) -> Result<Response, ApiError> {
    let mut params = parameters(params)?;
    let filter = params.filter()?;
    let Paging { limit, after } = params.paging(&app.config, app.config.default_limit)?;
    params.finish()?;
    let page = app.reader.list(&principal.project, &filter, after, limit);
    let page = page.await.map_err(failed)?;
    Ok(Json(page_view(&page)).into_response())
}

/// `GET /v1/feedback/{id}`
pub(crate) async fn feedback(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    id: Segment,
    params: RawParams,
) -> Result<Response, ApiError> {
    parameters(params)?.finish()?;
    let id: Uuid = segment("id", id)?
        .parse()
        .map_err(|_| ApiError::invalid_parameter("id", "a UUID"))?;
    let row = app
        .reader
        .feedback(&principal.project, id)
        .await
        .map_err(failed)?;
    let row = row.ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound, "no feedback has this id").in_field("id")
    })?;
    Ok(Json(FeedbackView::from(&row)).into_response())
}

/// `GET /v1/traces/{trace_id}/feedback`
///
/// A trace is known by its feedback alone, so one without any is empty, not
/// missing.
pub(crate) async fn trace(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    trace_id: Segment,
    params: RawParams,
) -> Result<Response, ApiError> {
    let mut params = parameters(params)?;
    let Paging { limit, after } = params.paging(&app.config, app.config.max_limit)?;
    params.finish()?;
    let trace_id = segment("trace_id", trace_id)?;
    let read = app
        .reader
        .trace(&principal.project, &trace_id, after, limit);
    let (page, metrics) = read.await.map_err(failed)?;
    let view = TraceView {
        trace_id: &trace_id,
        page: page_view(&page),
        metrics: metrics.iter().map(TraceMetricView::from).collect(),
    };
    Ok(Json(view).into_response())
}

/// `GET /v1/metrics`
pub(crate) async fn metrics(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    params: RawParams,
) -> Result<Response, ApiError> {
    parameters(params)?.finish()?;
    let counts = app
        .reader
        .metrics(&principal.project)
        .await
        .map_err(failed)?;
    let view = MetricsView {
        metrics: counts.metrics.iter().map(MetricCountView::from).collect(),
        truncated: counts.truncated,
    };
    Ok(Json(view).into_response())
}

/// `GET /v1/metrics/{metric}`
pub(crate) async fn metric(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    metric: Segment,
    params: RawParams,
) -> Result<Response, ApiError> {
    let mut params = parameters(params)?;
    let by = params.by_tag()?;
    let Interval { from, to } = params.interval()?;
    params.finish()?;
    let metric = segment("metric", metric)?;
    let summary = app
        .reader
        .summary(&principal.project, &metric, by.as_deref(), from, to);
    let summary = summary.await.map_err(failed)?;
    Ok(Json(SummaryView::new(&metric, by.as_deref(), &summary)).into_response())
}

fn page_view(page: &Page) -> PageView<'_> {
    let next: Option<&Position> = page.next.as_ref();
    PageView {
        items: page.items.iter().map(FeedbackView::from).collect(),
        next_cursor: next.map(cursor::encode),
    }
}

fn parameters(params: RawParams) -> Result<Params, ApiError> {
    match params {
        Ok(Query(pairs)) => Ok(Params::new(pairs)),
        Err(_) => Err(ApiError::new(
            ErrorCode::InvalidParameter,
            "the query string cannot be read",
        )),
    }
}

/// A part of the path, unescaped.
pub(crate) fn segment(name: &'static str, segment: Segment) -> Result<String, ApiError> {
    match segment {
        Ok(Path(text)) => Ok(text),
        Err(_) => Err(ApiError::invalid_parameter(name, "escaped UTF-8")),
    }
}
