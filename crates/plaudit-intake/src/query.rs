//! Reads, passed on to the query service, so that a client needs one address and
//! the intake no SQL.
//!
//! The query service authenticates: the key goes with the request.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use plaudit_event::{Feedback, Outcome, Receipt};
use plaudit_service::{ApiError, ErrorCode, RequestId, chain};
use plaudit_tls::Trust;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::IntakeError;

/// The query service, by its address.
#[derive(Debug)]
pub(crate) struct QueryService {
    client: reqwest::Client,
    /// Without a slash at the end.
    base: String,
}

/// What `POST /v1/receipts` of the query service is asked.
#[derive(Serialize)]
struct Question {
    receipts: Vec<String>,
    timeout_ms: u128,
}

/// What it says: one entry for each receipt, in order.
#[derive(Deserialize)]
struct Reply {
    items: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    state: String,
}

/// How long the query service may take to be connected to.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a read may take, with its body.
const READ: Duration = Duration::from_secs(60);

/// How much longer than it was told to the query service may wait.
const WAIT_GRACE: Duration = Duration::from_secs(2);

/// How often a token is looked for, and the pause between two looks: together longer
/// than it takes what was acknowledged to become visible.
const TOKEN_LOOKS: usize = 12;
const TOKEN_LOOK: Duration = Duration::from_millis(400);

/// Seconds after which it may be back.
const RETRY_AFTER: u32 = 2;

/// Headers that the query service needs of a request.
const REQUEST_HEADERS: [HeaderName; 6] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    // By this one a list is known to be Patronus's.
    HeaderName::from_static("x-stainless-retry-count"),
    HeaderName::from_static("x-stainless-lang"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-portkey-api-key"),
];

/// Headers that the client needs of its answer.
const RESPONSE_HEADERS: [HeaderName; 5] = [
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    header::LINK,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
];

const X_REQUEST_ID: &str = "x-request-id";

/// What is said where a query service is needed and none is configured.
pub(crate) fn no_query_url() -> ApiError {
    ApiError::new(
        ErrorCode::NoQueryUrl,
        "reads need the query service: set intake.query_url",
    )
}

fn away() -> ApiError {
    ApiError::unavailable("the query service does not answer", RETRY_AFTER)
}

/// The same, and in the log why; without the address, which may hold a password.
fn unanswered(error: reqwest::Error) -> ApiError {
    let error = chain(&error.without_url());
    tracing::debug!(error, "the query service does not answer");
    away()
}

impl QueryService {
    /// `ca_file` is whom an `https` service is believed by, if not this machine's
    /// authorities.
    pub(crate) fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, IntakeError> {
        let trust = Trust::towards(url, "intake.query_ca_file", ca_file)?;
        let client = trust
            .http_client()
            .connect_timeout(CONNECT)
            // A redirect is the client's to follow.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(IntakeError::Query)?;
        Ok(Self {
            client,
            base: url.trim_end_matches('/').to_owned(),
        })
    }

    /// Passes a read on, and its answer back as it comes.
    ///
    /// # Errors
    /// 503 when the query service does not answer; 400 when it would be asked for
    /// something else, since a segment of dots is not one in a URL.
    pub(crate) async fn pass_on(
        &self,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
        id: &RequestId,
    ) -> Result<Response, ApiError> {
        if uri.path().split('/').any(is_dots) {
            return Err(ApiError::invalid_parameter(
                "path",
                "no segment of dots alone",
            ));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let answer = self
            .client
            .request(method, format!("{}{path}", self.base))
            .headers(kept(headers, &REQUEST_HEADERS))
            .header(X_REQUEST_ID, id.as_str())
            .timeout(READ)
            .send()
            .await
            .map_err(unanswered)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = kept(answer.headers(), &RESPONSE_HEADERS);
        *response.body_mut() = Body::from_stream(answer.bytes_stream());
        Ok(response)
    }

    /// What readers see of each event, waiting up to `timeout` until all of them
    /// are visible.
    ///
    /// The events are durable already, so nothing here fails: of what could not
    /// be found out in time, all is pending.
    pub(crate) async fn states(
        &self,
        headers: &HeaderMap,
        receipts: &[&Receipt],
        timeout: Duration,
    ) -> Vec<Outcome> {
        let reply = self
            .ask(headers, receipts, timeout)
            .await
            .unwrap_or_else(|error| {
                let error = chain(&error.without_url());
                tracing::debug!(error, "cannot ask the query service for receipts");
                Reply { items: Vec::new() }
            });
        let states = reply.items.iter().map(|item| {
            Outcome::ALL
                .into_iter()
                .find(|outcome| outcome.state() == item.state)
                .unwrap_or(Outcome::Pending)
        });
        states
            .chain(std::iter::repeat(Outcome::Pending))
            .take(receipts.len())
            .collect()
    }

    /// What a token that was given out is good for, by its id. It was stored when it
    /// was given out, so one that is not found is looked for a little longer.
    ///
    /// # Errors
    /// 503 when the query service does not answer, or refuses to.
    pub(crate) async fn given_out(
        &self,
        headers: &HeaderMap,
        id: Uuid,
    ) -> Result<Option<Feedback<'static>>, ApiError> {
        for look in 0..TOKEN_LOOKS {
            if look > 0 {
                tokio::time::sleep(TOKEN_LOOK).await;
            }
            let asked = self.client.get(format!("{}/v1/given-out/{id}", self.base));
            let asked = asked.headers(kept(headers, &REQUEST_HEADERS)).timeout(READ);
            let answer = asked.send().await.map_err(unanswered)?;
            match answer.status() {
                StatusCode::OK => {
                    let body = answer.bytes().await.map_err(|_| away())?;
                    let feedback: Feedback<'_> =
                        serde_json::from_slice(&body).map_err(|_| away())?;
                    return Ok(Some(feedback.into_owned()));
                }
                StatusCode::NOT_FOUND => {}
                _ => return Err(away()),
            }
        }
        Ok(None)
    }

    async fn ask(
        &self,
        headers: &HeaderMap,
        receipts: &[&Receipt],
        timeout: Duration,
    ) -> Result<Reply, reqwest::Error> {
        let question = Question {
            receipts: receipts.iter().map(ToString::to_string).collect(),
            timeout_ms: timeout.as_millis(),
        };
        self.client
            .post(format!("{}/v1/receipts", self.base))
            .headers(kept(headers, &REQUEST_HEADERS))
            .json(&question)
            .timeout(timeout + WAIT_GRACE)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await
    }
}

/// Whether a URL takes a segment of a path for the directory itself or the one above.
fn is_dots(segment: &str) -> bool {
    matches!(
        segment.to_ascii_lowercase().as_str(),
        "." | ".." | "%2e" | "%2e%2e" | ".%2e" | "%2e."
    )
}

fn kept(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    names
        .iter()
        .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())))
        .collect()
}
