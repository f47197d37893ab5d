//! One request for feedback: from its headers to its answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderValue, Uri, header, request};
use axum::response::Response;
use plaudit_dialects::{
    Answer, Call, Content, Delivery, Endpoint, Fates, Parsed, Refusal, Refused, Vendor,
};
use plaudit_event::{Dialect, Micros, Outcome};
use plaudit_service::{ApiError, ErrorCode, Principal, RequestId, Scope};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use crate::metrics::{EventOutcome, RequestOutcome};
use crate::query::no_query_url;
use crate::{Intake, Publish, body, faults};

/// Those who may have sent a request to one method and path.
pub(crate) type Candidates = Arc<[(&'static Vendor, &'static Endpoint)]>;

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

/// Takes a request and answers it in its dialect.
pub(crate) async fn take<P: Publish>(
    intake: &Intake<P>,
    candidates: &Candidates,
    path_id: Option<&str>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let id = RequestId::given(&parts.extensions, &parts.headers);
    let mut exchange = Exchange {
        intake,
        parts: &parts,
        id: &id,
        // As far as it can be told from the headers: the body may say more.
        dialect: choose(candidates, &parts.headers, b"").0.dialect,
    };
    match exchange.answer(candidates, path_id, body).await {
        Ok(answer) => {
            exchange.count_answer(&answer);
            response(answer)
        }
        Err(error) => {
            intake.metrics.request(exchange.dialect, error.code.into());
            intake
                .faults
                .note(exchange.dialect, error.status(), error.code.code(), &id);
            faults::answer(exchange.dialect, error, &id)
        }
    }
}

/// Whose a request is: the first that recognises it, where there is a choice.
fn choose(
    candidates: &Candidates,
    headers: &HeaderMap,
    body: &[u8],
) -> (&'static Vendor, &'static Endpoint) {
    let recognised = candidates
        .iter()
        .find(|(vendor, _)| (vendor.recognises)(headers, body));
    let (vendor, endpoint) = recognised
        .or(candidates.last())
        .expect("a route has an endpoint");
    (vendor, endpoint)
}

/// A request on its way to its answer.
struct Exchange<'r, P> {
    intake: &'r Intake<P>,
    parts: &'r request::Parts,
    id: &'r RequestId,
    dialect: Dialect,
}

impl<P: Publish> Exchange<'_, P> {
    async fn answer(
        &mut self,
        candidates: &Candidates,
        path_id: Option<&str>,
        body: Body,
    ) -> Result<Answer, ApiError> {
        let (intake, headers) = (self.intake, &self.parts.headers);
        let _entered = intake.admission.enter()?;
        let principal = intake.keyring.authenticate(headers)?;
        principal.require(Scope::Write)?;
        intake.admission.count(&principal.key_id)?;
        let content = content(headers)?;
        let idempotency_key = idempotency_key(headers)?;
        let room = intake.admission.room();
        let limits = &intake.config.limits;
        let (bytes, _room) = body::read(headers, body, room, limits).await?;
        let (vendor, endpoint) = choose(candidates, headers, &bytes);
        self.dialect = vendor.dialect;
        let wait = self.wait(&principal)?;
        let parsed = {
            let registry = intake.registry.current();
            let call = Call {
                project: &principal.project,
                received_at: now(),
                idempotency_key,
                path_id,
                content,
                limits: &limits.event,
                registry: &registry,
                max_events: limits.events_per_request,
            };
            (endpoint.parse)(&call, &bytes).map_err(|refusal| self.refuse(refusal))?
        };
        // What was read is in the batch now, and its room stays taken for that.
        drop(bytes);
        for (_, error) in &parsed.rejected {
            intake.metrics.rejected(self.dialect, error.code);
        }
        let deliveries = self.publish(&parsed).await?;
        let states = match wait {
            Some(patience) => self.states(&deliveries, patience).await?,
            None => Vec::new(),
        };
        let fates = Fates {
            deliveries: &deliveries,
            states: &states,
            request_id: self.id.as_str(),
        };
        Ok((endpoint.answer)(&parsed, &fates))
    }

    /// Publishes all events and waits for them together.
    async fn publish(&self, parsed: &Parsed) -> Result<Vec<Delivery>, ApiError> {
        if parsed.batch.is_empty() {
            return Ok(Vec::new());
        }
        let start = Instant::now();
        // Cheap: the bytes are shared, so that the publisher may keep them.
        let published = self.intake.publish.publish(Arc::clone(&parsed.batch));
        let deliveries = timeout(self.intake.config.http_timeout, published)
            .await
            .unwrap_or_else(|_| vec![Delivery::Unconfirmed; parsed.batch.len()]);
        self.count_deliveries(&deliveries, start);
        busy(&deliveries).map_or(Ok(deliveries), Err)
    }

    /// What readers see of each event of the batch, once all are visible or
    /// `patience` is at its end.
    async fn states(
        &self,
        deliveries: &[Delivery],
        patience: Duration,
    ) -> Result<Vec<Outcome>, ApiError> {
        let query = self.intake.query.as_ref().ok_or_else(no_query_url)?;
        let receipts: Vec<_> = deliveries.iter().filter_map(receipt).collect();
        if receipts.is_empty() {
            return Ok(Vec::new());
        }
        let found = query.states(&self.parts.headers, &receipts, patience).await;
        let mut found = found.into_iter();
        let states = deliveries.iter().map(|delivery| {
            receipt(delivery)
                .and_then(|_| found.next())
                .unwrap_or(Outcome::Pending)
        });
        Ok(states.collect())
    }

    /// How long the client wants to wait until its events are visible. To see is
    /// to read: it takes that scope.
    fn wait(&self, principal: &Principal) -> Result<Option<Duration>, ApiError> {
        if self.dialect != Dialect::Native {
            return Ok(None);
        }
        let patience = patience(&self.parts.uri)?;
        if patience.is_some() {
            principal.require(Scope::Read)?;
            self.intake.query.as_ref().ok_or_else(no_query_url)?;
        }
        Ok(patience)
    }

    fn refuse(&self, refusal: Refusal) -> ApiError {
        let code = match &refusal {
            Refusal::Syntax { .. } | Refusal::NotText | Refusal::Empty => ErrorCode::InvalidJson,
            Refusal::TooMany { .. } => ErrorCode::TooManyEvents,
            Refusal::Item(error) => {
                self.intake.metrics.rejected(self.dialect, error.code);
                ErrorCode::InvalidParameter
            }
        };
        ApiError::new(code, refusal.to_string())
    }

    fn count_deliveries(&self, deliveries: &[Delivery], start: Instant) {
        let metrics = &self.intake.metrics;
        let count = |kind: fn(&Delivery) -> bool| deliveries.iter().filter(|d| kind(d)).count();
        let accepted = count(|delivery| matches!(delivery, Delivery::Confirmed(_)));
        if accepted == deliveries.len() {
            metrics.ack(start.elapsed().as_secs_f64());
        }
        let unconfirmed = count(|delivery| *delivery == Delivery::Unconfirmed);
        let refused = deliveries.len() - accepted - unconfirmed;
        metrics.events(self.dialect, EventOutcome::Accepted, accepted);
        metrics.events(self.dialect, EventOutcome::Unconfirmed, unconfirmed);
        metrics.events(self.dialect, EventOutcome::Refused, refused);
    }

    fn count_answer(&self, answer: &Answer) {
        let outcome = match answer.status.as_u16() {
            200 => RequestOutcome::Accepted,
            207 => RequestOutcome::Partial,
            400 => RequestOutcome::Rejected,
            _ => RequestOutcome::Unconfirmed,
        };
        self.intake.metrics.request(self.dialect, outcome);
        self.intake
            .faults
            .note(self.dialect, answer.status, "unconfirmed", self.id);
    }
}

fn receipt(delivery: &Delivery) -> Option<&plaudit_event::Receipt> {
    match delivery {
        Delivery::Confirmed(receipt) => Some(receipt),
        Delivery::Unconfirmed | Delivery::Refused(_) => None,
    }
}

/// The error of a request of which nothing was written for want of room: as a
/// whole it can be sent again.
fn busy(deliveries: &[Delivery]) -> Option<ApiError> {
    let mut longest = 0;
    for delivery in deliveries {
        match delivery {
            Delivery::Refused(Refused::Busy { retry_after }) => {
                longest = longest.max(*retry_after);
            }
            _ => return None,
        }
    }
    let message = "there is no room for these events now";
    Some(ApiError::unavailable(message, longest))
}

/// How the body is to be read. Without a type it is JSON: that is what every
/// client that forgets it sends.
fn content(headers: &HeaderMap) -> Result<Content, ApiError> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Content::Json);
    };
    let content_type = content_type.to_str().unwrap_or("?");
    let (media, _parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    match media.trim().to_ascii_lowercase().as_str() {
        "" | "application/json" => Ok(Content::Json),
        "application/x-ndjson" => Ok(Content::Ndjson),
        _ => Err(ApiError::new(
            ErrorCode::UnsupportedMediaType,
            "must be application/json or application/x-ndjson",
        )
        .in_field("Content-Type")),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
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

fn patience(uri: &Uri) -> Result<Option<Duration>, ApiError> {
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

/// The intake's clock.
fn now() -> Micros {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn response(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(seconds) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some((name, value)) = answer.header {
        headers.insert(name, value);
    }
    response
}
