//! One request: from its headers to its answer.
//!
//! What few requests come to is boxed where it is awaited. A future is as large as the
//! largest that it may await, and one that is larger than a kilobyte costs every
//! request a slow allocation and the copying of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Uri, header, request};
use axum::response::Response;
use bytes::Bytes;
use plaudit_dialects::{
    Access, Action, Answer, Call, Delivery, Fates, Form, Hints, Mounted, Parsed, Refusal, Refused,
    Stored, choose,
};
use plaudit_event::{Dialect, Feedback, Micros, Outcome};
use plaudit_service::{ApiError, ErrorCode, Principal, RequestId, Scope};
use tokio::time::Instant;

use crate::admission::Taken;
use crate::metrics::{EventOutcome, RequestOutcome};
use crate::query::no_query_url;
use crate::{Intake, LimitsConfig, Publish, body, faults, headers, parts, routes};

mod beside;

/// Those who may have sent a request to one method and path.
pub(crate) type Candidates = Arc<[Mounted]>;

/// Takes a request and answers it in its dialect. `path` is what the path has in
/// the place of each name.
pub(crate) async fn take<P: Publish>(
    intake: &Intake<P>,
    candidates: &Candidates,
    path: &[(&str, &str)],
    parts: &mut request::Parts,
    body: Body,
) -> Response {
    let id = RequestId::given(&parts.extensions, &parts.headers);
    let mut exchange = Exchange {
        intake,
        candidates,
        path,
        parts,
        id: &id,
        announced: None,
        dialect: Dialect::Native,
    };
    exchange.announced = exchange.choose(b"");
    if let Some(mounted) = exchange.announced.or(candidates.last()) {
        exchange.dialect = mounted.vendor.dialect;
    }
    // Two futures of less than a kilobyte are had sooner than one of more.
    let mut response = match Box::pin(exchange.answer(body)).await {
        Ok(response) => response,
        Err(error) => {
            let (status, code) = (error.status(), error.code);
            intake.metrics.request(exchange.dialect, code.into());
            intake
                .faults
                .note(exchange.dialect, status, code.code(), &id);
            faults::answer(exchange.dialect, error, &exchange.parts.headers, None, &id)
        }
    };
    if exchange.is_public() {
        // A page of any origin may read what became of it, faults of ours included.
        let any = HeaderValue::from_static("*");
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    }
    response
}

/// A request on its way to its answer.
struct Exchange<'r, P> {
    intake: &'r Intake<P>,
    candidates: &'r [Mounted],
    path: &'r [(&'r str, &'r str)],
    parts: &'r mut request::Parts,
    id: &'r RequestId,
    /// Whose it is as far as the headers tell: the body may say more.
    announced: Option<&'r Mounted>,
    dialect: Dialect,
}

impl<'r, P: Publish> Exchange<'r, P> {
    async fn answer(&mut self, body: Body) -> Result<Response, ApiError> {
        let intake = self.intake;
        let _entered = intake.admission.enter()?;
        let unknown = self.is_public().then(|| intake.admission.enter_unknown());
        let _unknown = unknown.transpose()?;
        let principal = self.admit()?;
        if let Some(Mounted { endpoint, .. }) = self.announced
            && matches!(endpoint.action, Action::Read { .. })
        {
            return Box::pin(routes::read(intake, self.parts, self.id)).await;
        }
        let (bytes, _room) = self.read(body).await?;
        let mounted = self.choose(&bytes).ok_or_else(|| self.nobodys())?;
        self.dialect = mounted.vendor.dialect;
        if !suits(&self.parts.method, &mounted.endpoint.action) {
            return Err(ApiError::method_not_allowed());
        }
        require(mounted.endpoint.access, &principal)?;
        let answer = self.carry_out(mounted, &principal, bytes).await?;
        self.count_answer(&answer);
        Ok(response(answer))
    }

    /// Whose the request is, as far as it can be told from this much of it.
    fn choose(&self, body: &[u8]) -> Option<&'r Mounted> {
        let hints = Hints {
            headers: &self.parts.headers,
            query: self.parts.uri.query().unwrap_or_default(),
            body,
        };
        choose(self.candidates, &hints)
    }

    /// Finds out who asks, before anything of the body is read.
    fn admit(&self) -> Result<Principal, ApiError> {
        if self.is_public() {
            // No key, and so no key's rate: strangers would use it up for each other.
            return Ok(Principal {
                project: "".into(),
                key_id: "public".into(),
                scopes: [].into_iter().collect(),
            });
        }
        let principal = self.intake.keyring.authenticate(&self.parts.headers)?;
        // Where several share a path, all of them ask for the same.
        if let Some(mounted) = self.candidates.last() {
            require(mounted.endpoint.access, &principal)?;
        }
        self.intake.admission.count(&principal.key_id)?;
        Ok(principal)
    }

    /// Reads the body, or what is kept of it.
    async fn read(&self, body: Body) -> Result<(Bytes, Taken), ApiError> {
        let headers = &self.parts.headers;
        let limits = &self.intake.config.limits;
        let room = self.intake.admission.room();
        if matches!(
            self.parts.method,
            Method::GET | Method::HEAD | Method::OPTIONS
        ) {
            return Ok((Bytes::new(), room));
        }
        if self.is_public() {
            // A stranger gets as little of the room as one feedback needs.
            let limits = Box::new(LimitsConfig {
                body_bytes: limits.body_bytes.min(PUBLIC_BODY_BYTES),
                decompressed_bytes: limits.decompressed_bytes.min(PUBLIC_BODY_BYTES),
                ..limits.clone()
            });
            return Box::pin(body::read(headers, body, room, &limits)).await;
        }
        let forms = self.candidates.iter().map(form);
        if let Some(Form::Parts(keep)) = forms.clone().next() {
            headers::content(&Form::Parts(keep), headers)?;
            let admission = &self.intake.admission;
            return Box::pin(parts::read(headers, body, keep, admission, limits)).await;
        }
        if forms.clone().all(|form| matches!(form, Form::Json)) {
            headers::content(&Form::Json, headers)?;
        }
        body::read(headers, body, room, limits).await
    }

    async fn carry_out(
        &mut self,
        mounted: &Mounted,
        principal: &Principal,
        bytes: Bytes,
    ) -> Result<Answer, ApiError> {
        let wait = self.wait()?;
        let prepared = match mounted.endpoint.action {
            Action::Redeem { ask, .. } => {
                let looked_up = Box::pin(self.look_up(mounted, principal, ask));
                let (principal, found) = looked_up.await?;
                self.with_call(mounted, &principal, |call| {
                    prepare(mounted, call, &bytes, found.as_ref())
                })?
            }
            _ => self.with_call(mounted, principal, |call| {
                prepare(mounted, call, &bytes, None)
            })?,
        };
        // What was read is in the batch now, and its room stays taken for that.
        drop(bytes);
        if wait.is_none() {
            self.let_go();
        }
        let (parsed, write) = match prepared {
            Ok(Prepared::Events(parsed, write)) => (parsed, write),
            Ok(Prepared::Answer(answer)) => return Ok(answer),
            Err(Refusal::Answered(answer)) => return Ok(*answer),
            Err(refusal) => return Err(self.refuse(&refusal)),
        };
        for (_, error) in &parsed.rejected {
            self.intake.metrics.rejected(self.dialect, error.code);
        }
        let deliveries = if parsed.declarations.is_empty() {
            self.publish(&parsed).await?
        } else {
            // Side by side: each may take as long as an answer may.
            let both = async { tokio::join!(self.declare(&parsed), self.publish(&parsed)) };
            let (declared, deliveries) = Box::pin(both).await;
            declared?;
            deliveries?
        };
        let states = match wait {
            Some(patience) => Box::pin(self.states(&deliveries, patience)).await?,
            None => Vec::new(),
        };
        let fates = Fates {
            deliveries: &deliveries,
            states: &states,
            request_id: self.id.as_str(),
        };
        Ok(write(&parsed, &fates))
    }

    /// Lets go of what was read from the socket. The connection looks whether the
    /// client is still there while the events are on their way, and takes a second buffer
    /// for that as long as anything is kept of the first.
    fn let_go(&mut self) {
        self.parts.headers.clear();
        self.parts.uri = Uri::default();
    }

    /// Runs one of a dialect's functions on the request.
    fn with_call<T>(
        &self,
        mounted: &Mounted,
        principal: &Principal,
        run: impl FnOnce(&Call<'_>) -> T,
    ) -> Result<T, ApiError> {
        let (intake, headers) = (self.intake, &self.parts.headers);
        let registries = intake.registry.current();
        Ok(run(&Call {
            project: &principal.project,
            received_at: Micros::now(),
            idempotency_key: headers::idempotency_key(headers)?,
            path: self.path,
            query: self.parts.uri.query().unwrap_or_default(),
            headers,
            content: headers::content(&form(mounted), headers)?,
            limits: &intake.config.limits.event,
            registries: &registries,
            max_events: intake.config.limits.events_per_request,
            tokens: intake.tokens.as_ref(),
            public_url: intake.config.public_url.as_deref(),
            mount: mounted.mount,
        }))
    }

    /// The request is at the root, and could be anybody's.
    fn nobodys(&self) -> ApiError {
        let prefixes: Vec<_> = self
            .candidates
            .iter()
            .map(|mounted| mounted.vendor.prefix())
            .filter(|prefix| !prefix.is_empty())
            .collect();
        let message = format!(
            "cannot tell whose request this is: put {} before the path",
            prefixes.join(" or ")
        );
        ApiError::new(ErrorCode::InvalidParameter, message)
    }

    /// Whether nobody who asks for this has a key.
    fn is_public(&self) -> bool {
        let is_public = |mounted: &Mounted| mounted.endpoint.access == Access::Public;
        self.candidates.iter().all(is_public)
    }

    /// Publishes all events and waits for them together.
    async fn publish(&self, parsed: &Parsed) -> Result<Vec<Delivery>, ApiError> {
        if parsed.batch.is_empty() {
            return Ok(Vec::new());
        }
        let start = Instant::now();
        // Cheap: the bytes are shared, so that the publisher may keep them.
        let batch = Arc::clone(&parsed.batch);
        let patience = self.intake.config.http_timeout;
        let deliveries = self.intake.publish.publish(batch, patience).await;
        self.count_deliveries(&deliveries, start);
        match busy(&deliveries) {
            // What is wrong with the other items is to be said all the same, and what
            // a person sees is the dialect's to write.
            Some(error) if parsed.rejected.is_empty() && !self.is_public() => Err(error),
            _ => Ok(deliveries),
        }
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
        let asked = query.states(&self.parts.headers, &receipts, patience);
        // What is durable is said before the end, even if not that it is visible.
        let stopping = self.intake.stopping.cancelled();
        let found = tokio::select! {
            found = asked => found,
            () = stopping => Vec::new(),
        };
        let mut found = found.into_iter();
        let states = deliveries.iter().map(|delivery| {
            receipt(delivery)
                .and_then(|_| found.next())
                .unwrap_or(Outcome::Pending)
        });
        Ok(states.collect())
    }

    /// How long the client wants to wait until its events are visible.
    fn wait(&self) -> Result<Option<Duration>, ApiError> {
        if self.dialect != Dialect::Native {
            return Ok(None);
        }
        let patience = headers::patience(&self.parts.uri)?;
        if patience.is_some() {
            self.intake.query.as_ref().ok_or_else(no_query_url)?;
        }
        Ok(patience)
    }

    fn refuse(&self, refusal: &Refusal) -> ApiError {
        let code = match refusal {
            Refusal::Syntax { .. } | Refusal::NotText | Refusal::Empty | Refusal::Answered(_) => {
                ErrorCode::InvalidJson
            }
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
            207 => RequestOutcome::Partial,
            200..=399 => RequestOutcome::Accepted,
            400..=499 => RequestOutcome::Rejected,
            _ => RequestOutcome::Unconfirmed,
        };
        self.intake.metrics.request(self.dialect, outcome);
        self.intake
            .faults
            .note(self.dialect, answer.status, "unconfirmed", self.id);
    }
}

/// What a request comes to once it is read.
enum Prepared {
    /// Events, and how to answer when each has its fate.
    Events(Parsed, fn(&Parsed, &Fates<'_>) -> Answer),
    /// An answer.
    Answer(Answer),
}

/// The largest body that needs no key, in bytes.
const PUBLIC_BODY_BYTES: usize = 64 << 10;

fn prepare(
    mounted: &Mounted,
    call: &Call<'_>,
    bytes: &[u8],
    found: Option<&Feedback<'_>>,
) -> Result<Prepared, Refusal> {
    match mounted.endpoint.action {
        Action::Take { parse, answer, .. } => {
            parse(call, bytes).map(|parsed| Prepared::Events(parsed, answer))
        }
        Action::Redeem { parse, answer, .. } => {
            let found = found.map(|feedback| Stored {
                feedback: feedback.clone(),
                received_at: call.received_at,
                modified_at: call.received_at,
            });
            let parsed = parse(call, bytes, found.as_ref());
            parsed.map(|parsed| Prepared::Events(parsed, answer))
        }
        Action::Say(say) => say(call, bytes).map(Prepared::Answer),
        // The query service's, and passed on before this.
        Action::Read { .. } => Err(Refusal::Empty),
    }
}

/// Whether a request of this method may be answered so. A `HEAD` asks what a `GET`
/// would say, and makes nothing.
fn suits(method: &Method, action: &Action) -> bool {
    *method != Method::HEAD || matches!(action, Action::Say(_) | Action::Read { .. })
}

fn form(mounted: &Mounted) -> Form {
    match mounted.endpoint.action {
        Action::Take { body, .. } | Action::Redeem { body, .. } => body,
        Action::Say(_) | Action::Read { .. } => Form::Any,
    }
}

fn require(access: Access, principal: &Principal) -> Result<(), ApiError> {
    let scope = match access {
        Access::Write => Scope::Write,
        Access::Read => Scope::Read,
        Access::Admin => Scope::Admin,
        Access::Public => return Ok(()),
    };
    Ok(principal.require(scope)?)
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

fn response(answer: Answer) -> Response {
    let is_empty = answer.body.is_empty();
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    if !is_empty {
        let content_type = HeaderValue::from_static(answer.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    if let Some(seconds) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    for (name, value) in answer.fixed_headers {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    if let Some((name, value)) = answer.header {
        headers.insert(name, value);
    }
    response
}
