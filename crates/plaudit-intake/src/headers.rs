//! What a request says beside its body, in the forms that all dialects share.

use std::time::Duration;

use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use plaudit_dialects::{Content, Form};
use plaudit_service::{ApiError, ErrorCode};
use serde::Deserialize;

/// What a native client may ask for beside the events' being durable.
#[derive(Debug, Default, Deserialize)]
struct Params {
    wait: Option<String>,
    timeout_ms: Option<String>,
}

/// How long `wait=visible` waits when it does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

/// The longest that it may wait.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The longest `Idempotency-Key`, in bytes.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// How a body is to be read. Without a type it is JSON: that is what every client
/// that forgets it sends.
///
/// # Errors
/// 415 for a type that an endpoint does not take.
pub(crate) fn content(form: &Form, headers: &HeaderMap) -> Result<Content, ApiError> {
    let sent = headers.get(header::CONTENT_TYPE);
    let sent = sent.map(|value| value.to_str().unwrap_or("?"));
    let (media, _parameters) = sent
        .and_then(|sent| sent.split_once(';'))
        .unwrap_or((sent.unwrap_or_default(), ""));
    let media = media.trim();
    let is = |expected: &str| media.eq_ignore_ascii_case(expected);
    let expected = match form {
        Form::Any => return Ok(Content::Json),
        Form::Json if media.is_empty() || is("application/json") => return Ok(Content::Json),
        Form::Json if is("application/x-ndjson") => return Ok(Content::Ndjson),
        Form::Json => "must be application/json or application/x-ndjson",
        Form::Parts(_) if is("multipart/form-data") => return Ok(Content::Json),
        Form::Parts(_) => "must be multipart/form-data",
    };
    let error = ApiError::new(ErrorCode::UnsupportedMediaType, expected);
    Err(error.in_field("Content-Type"))
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match key.to_str() {
        Ok(key) if (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) => Ok(Some(key)),
        _ => Err(ApiError::invalid_parameter(
            "Idempotency-Key",
            "1 to 255 characters of printable ASCII",
        )),
    }
}

/// How long a client wants to wait until its events are visible.
pub(crate) fn patience(uri: &Uri) -> Result<Option<Duration>, ApiError> {
    if uri.query().is_none() {
        return Ok(None);
    }
    let Query(params) = Query::<Params>::try_from_uri(uri)
        .map_err(|_| ApiError::invalid_parameter("wait", "sent once"))?;
    match params.wait.as_deref() {
        None => return Ok(None),
        Some("visible") => {}
        Some(_) => return Err(ApiError::invalid_parameter("wait", "visible")),
    }
    let Some(text) = params.timeout_ms else {
        return Ok(Some(DEFAULT_WAIT));
    };
    text.parse()
        .ok()
        .map(Duration::from_millis)
        .filter(|patience| *patience <= MAX_WAIT)
        .map(Some)
        .ok_or_else(|| ApiError::invalid_parameter("timeout_ms", "0 to 30000"))
}
