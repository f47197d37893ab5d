//! The one shape of an error that concerns a whole request.
//!
//! A handler returns [`ApiError`]; it does not know the request's id, so the
//! response carries the error as it is, and [`request_id`], the outermost layer
//! of every router, writes the body:
//!
//! ```json
//! {"error":{"code":"body_too_large","message":"…","field":null,"request_id":"…"}}
//! ```
//!
//! What is wrong with one item of a batch is not here: that is an answer, not an
//! error (`plaudit-dialects`). Messages name fields and limits, never what the
//! client sent (promise **P7**).

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use serde::Serialize;
use tower::{Service, ServiceExt as _};
use uuid::Uuid;

/// What is wrong with a request, for machines. The names are public.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorCode {
    /// The body is not JSON, or cannot be decompressed.
    InvalidJson,
    /// A query parameter or a header that has a form has another one.
    InvalidParameter,
    /// No key, or none that is known.
    Unauthorized,
    /// The key lacks the scope.
    Forbidden,
    /// No such path, or no such thing.
    NotFound,
    /// The path is there, for another method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body is too large, before or after decompression.
    BodyTooLarge,
    /// More events than one request may have.
    TooManyEvents,
    /// A content type or encoding that is not read here.
    UnsupportedMediaType,
    /// The key's rate is used up.
    RateLimited,
    /// It needs the query service, and `intake.query_url` is not set.
    NoQueryUrl,
    /// The service cannot do its work now.
    Unavailable,
}

/// A request that failed as a whole.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}: {message}", code.code())]
pub struct ApiError {
    /// What is wrong, for machines.
    pub code: ErrorCode,
    /// What is wrong, for people.
    pub message: Cow<'static, str>,
    /// The field or parameter at fault.
    pub field: Option<Cow<'static, str>>,
    /// Seconds after which the same request may succeed.
    pub retry_after: Option<u32>,
}

/// Names one request in answers and logs.
///
/// The client's own `x-request-id` where it has one that is fit for a log, else
/// new. Cloning shares it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RequestId(Arc<str>);

/// The header that carries a [`RequestId`], in both directions.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest `x-request-id` that is taken over, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

#[derive(Serialize)]
struct Envelope<'a> {
    error: Described<'a>,
}

#[derive(Serialize)]
struct Described<'a> {
    code: &'static str,
    message: &'a str,
    field: Option<&'a str>,
    request_id: &'a str,
}

// === impl ErrorCode ===

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::InvalidJson,
        Self::InvalidParameter,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::TooManyEvents,
        Self::UnsupportedMediaType,
        Self::RateLimited,
        Self::NoQueryUrl,
        Self::Unavailable,
    ];

    /// The public name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidParameter => "invalid_parameter",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::TooManyEvents => "too_many_events",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RateLimited => "rate_limited",
            Self::NoQueryUrl => "no_query_url",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson | Self::InvalidParameter => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge | Self::TooManyEvents => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::NoQueryUrl => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

// === impl ApiError ===

impl ApiError {
    /// An error without a field.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            retry_after: None,
        }
    }

    /// A parameter that has another form than `expected`, such as `an integer`.
    pub fn invalid_parameter(field: impl Into<Cow<'static, str>>, expected: &str) -> Self {
        Self::new(ErrorCode::InvalidParameter, format!("must be {expected}")).in_field(field)
    }

    /// A service that cannot do its work; `retry_after` is in seconds.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: u32) -> Self {
        Self::new(ErrorCode::Unavailable, message).retry_after(retry_after)
    }

    /// No such path, or no such thing.
    pub fn not_found() -> Self {
        Self::new(ErrorCode::NotFound, "there is nothing here")
    }

    /// The path is there, for another method.
    pub fn method_not_allowed() -> Self {
        Self::new(
            ErrorCode::MethodNotAllowed,
            "this path does not take that method",
        )
    }

    /// The same, in a field.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same, worth another attempt after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The body in the native shape.
    pub fn body(&self, request_id: &RequestId) -> String {
        let envelope = Envelope {
            error: Described {
                code: self.code.code(),
                message: &self.message,
                field: self.field.as_deref(),
                request_id: request_id.as_str(),
            },
        };
        serde_json::to_string(&envelope).expect("strings are JSON")
    }

    /// The whole answer in the native shape.
    pub fn into_native(self, request_id: &RequestId) -> Response {
        let body = self.body(request_id);
        self.into_answer(body)
    }

    /// The answer with a body that the caller wrote, in JSON: status and headers
    /// are the error's in every dialect.
    pub fn into_answer(self, body: String) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code == ErrorCode::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// Status and the error itself as an extension: [`request_id`] writes the
    /// body, since only it knows the id.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

// === impl RequestId ===

impl RequestId {
    /// The client's id, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok())
            .filter(|id| is_sane(id))
            .map_or_else(Self::generate, |id| Self(id.into()))
    }

    /// The id that [`request_id`] gave to a request; without that layer, as
    /// [`of`](Self::of).
    pub fn given(extensions: &Extensions, headers: &HeaderMap) -> Self {
        let given = extensions.get::<Self>().cloned();
        given.unwrap_or_else(|| Self::of(headers))
    }

    /// A new id.
    pub fn generate() -> Self {
        let mut buffer = Uuid::encode_buffer();
        Self(Arc::from(
            &*Uuid::now_v7().simple().encode_lower(&mut buffer),
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fit for a log line and a header: nothing that could end either.
fn is_sane(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
}

/// What stands around a router: gives the request its [`RequestId`] (an extension
/// that handlers may read), returns it as a header, and writes the body of an
/// [`ApiError`].
///
/// As a layer it is [`from_fn`](axum::middleware::from_fn)`(request_id::<Next>)`;
/// called with a router, it costs no future on the heap.
// No `async fn`, whose future would hold the request twice and be copied for each.
pub fn request_id<S>(mut request: Request, inner: S) -> impl Future<Output = Response>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    inner.oneshot(request).map(move |answered| {
        let Ok(mut response) = answered;
        if let Some(error) = response.extensions_mut().remove::<ApiError>() {
            response = error.into_native(&id);
        }
        let value = HeaderValue::from_str(id.as_str()).expect("a request id is plain ASCII");
        response.headers_mut().insert(REQUEST_ID, value);
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).unwrap())])
    }

    #[test]
    fn a_request_keeps_its_id_unless_it_could_spoil_a_log() {
        assert_eq!(RequestId::of(&headers("a-1.b_2:3")).as_str(), "a-1.b_2:3");
        for id in ["", "a b", "a\tb", "{\"a\":1}", &"x".repeat(129)] {
            assert_ne!(RequestId::of(&headers(id)).as_str(), id);
        }
        assert_eq!(RequestId::of(&HeaderMap::new()).as_str().len(), 32);
    }

    #[test]
    fn an_error_has_the_documented_shape() {
        let id = RequestId("r1".into());
        let error = ApiError::new(ErrorCode::BodyTooLarge, "at most 1 byte");
        assert_eq!(
            error.body(&id),
            r#"{"error":{"code":"body_too_large","message":"at most 1 byte","field":null,"request_id":"r1"}}"#
        );
        let error = ApiError::invalid_parameter("limit", "an integer");
        assert_eq!(
            error.body(&id),
            r#"{"error":{"code":"invalid_parameter","message":"must be an integer","field":"limit","request_id":"r1"}}"#
        );
    }

    #[test]
    fn p5_an_answer_says_when_to_come_back() {
        let answer = ApiError::unavailable("full", 1).into_native(&RequestId("r1".into()));
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    }
}
