//! `POST /v1/tokens`: the right to say one thing, for a browser or a link in a
//! mail, without a key.
//!
//! Nothing is kept: the token is signed, and its feedback's id is in it.

use std::time::Duration;

use http::StatusCode;
use plaudit_event::{
    Dialect, Edit, Feedback, FieldError, ItemCode, Micros, Operation, Target, Text,
};
use serde::de::MapAccess;
use serde_json::json;
use uuid::Uuid;

use super::item::{own_id, required};
use super::redeem::error;
use crate::json::written;
use crate::sent::{Fault, Fields, FromSent, Sent};
use crate::token::{self, MAX_LIFETIME};
use crate::vendor::text;
use crate::{Answer, Call, Refusal, Token};

/// How long a token is good that does not say: a day.
const LIFETIME: Duration = Duration::from_secs(86_400);

/// What is asked for.
#[derive(Default)]
struct Grant<'a> {
    fault: Option<FieldError>,
    id: Edit<Uuid>,
    trace_id: Edit<Text<'a>>,
    target: Edit<Target<'a>>,
    metric: Edit<Text<'a>>,
    rater: Edit<Text<'a>>,
    one_per_rater: Edit<bool>,
    expires_in: Edit<f64>,
    expires_at: Edit<Micros>,
}

/// Gives out a token.
pub(super) fn mint<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Answer, Refusal> {
    let text = text(body)?;
    let key = call.tokens.ok_or_else(no_tokens)?;
    let sent: Sent<Grant<'a>> =
        serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
    let Ok(Edit::Set(grant)) = sent.0 else {
        return Err(FieldError::wrong_type("body", Grant::EXPECTED).into());
    };
    let token = grant.into_token(call)?;
    let signed = key.sign(&token);
    let body = json!({
        "id": token.id,
        "token": signed,
        "url": format!("{}/v1/tokens/{signed}", call.origin()),
        "expires_at": token.expires_at.to_string(),
    });
    Ok(Answer::new(StatusCode::OK, written(&body)))
}

/// Why none is given out and none is known.
pub(super) fn no_tokens() -> Refusal {
    let message = "no tokens are given out here: intake has no secret to sign them with";
    error(
        StatusCode::NOT_IMPLEMENTED,
        "no_token_secret",
        None,
        message,
    )
    .into()
}

impl<'a> Grant<'a> {
    fn into_token(mut self, call: &Call<'a>) -> Result<Token<'a>, FieldError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let trace_id = required(self.trace_id, "trace_id")?;
        let metric = required(self.metric, "metric")?;
        let rater = self.rater.as_set().filter(|rater| !rater.is_empty());
        let own = own_id(
            call,
            self.id,
            &self.one_per_rater,
            (&trace_id, &metric),
            rater,
        )?;
        let expires_at = expiry(call.received_at, &self.expires_in, &self.expires_at)?;
        // What a use will be held to: the token is refused rather than its use.
        let mut feedback = Feedback::new(call.name_put(0, own, None).id, trace_id, metric);
        feedback.rater = rater.cloned();
        self.target.apply(&mut feedback.target);
        let operation = Operation::Withdraw(feedback.clone());
        call.check(&operation)?;
        Ok(Token {
            id: feedback.id,
            project: (&**call.project).into(),
            dialect: Dialect::Native,
            trace_id: feedback.trace_id,
            target: feedback.target,
            metric: feedback.metric,
            rater: feedback.rater,
            expires_at,
        })
    }
}

fn expiry(now: Micros, seconds: &Edit<f64>, at: &Edit<Micros>) -> Result<Micros, FieldError> {
    let out_of_range = |field, message| FieldError::new(ItemCode::OutOfRange, field, message);
    match (seconds, at) {
        (Edit::Set(_), Edit::Set(_)) => {
            let message = "cannot be beside expires_in";
            Err(out_of_range("expires_at", message))
        }
        (Edit::Set(seconds), _) => Duration::try_from_secs_f64(*seconds)
            .ok()
            .filter(|lifetime| !lifetime.is_zero() && *lifetime <= MAX_LIFETIME)
            .map(|lifetime| token::after(now, lifetime))
            .ok_or_else(|| {
                let message = "must be more than 0 seconds and at most 100 years of them";
                out_of_range("expires_in", message)
            }),
        (_, Edit::Set(at)) if *at <= now => {
            Err(out_of_range("expires_at", "must be in the future"))
        }
        (_, Edit::Set(at)) => Ok(*at),
        _ => Ok(token::after(now, LIFETIME)),
    }
}

impl<'de> FromSent<'de> for Grant<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut grant = Grant::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "id" => grant.id = fields.read("id")?,
                "trace_id" => grant.trace_id = fields.read("trace_id")?,
                "target" => grant.target = fields.read("target")?,
                "metric" => grant.metric = fields.read("metric")?,
                "rater" => grant.rater = fields.read("rater")?,
                "one_per_rater" => grant.one_per_rater = fields.read("one_per_rater")?,
                "expires_in" => grant.expires_in = fields.number("expires_in")?,
                "expires_at" => grant.expires_at = fields.read("expires_at")?,
                name => fields.unknown("", name)?,
            }
        }
        grant.fault = fields.fault;
        Ok(Ok(grant))
    }
}
