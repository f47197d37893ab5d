//! LangSmith's presigned tokens: a URL that makes one feedback of one run by one
//! key, for a browser without an API key.
//!
//! The URL has a signed token in its query and needs nothing else. But the Python
//! client takes the last segment of the path alone, a UUID, and posts to that with
//! its API key: for it, giving a token out also puts a feedback that is withdrawn
//! from the start. It holds what the token is about, readers do not see it, and
//! the first use says it anew.

use std::time::Duration;

use http::StatusCode;
use plaudit_event::{
    Dialect, Edit, Event, Feedback, FieldError, ItemCode, Json, Micros, Operation, Target,
    TargetKind, Text,
};
use serde::de::MapAccess;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::answer::{at, detail, invalid};
use super::item::{Id, Time};
use super::put::check;
use super::{PRESIGNED, config};
use crate::sent::{Elements, Fault, Fields, FromSent, Sent, content};
use crate::token::{self, MAX_LIFETIME};
use crate::vendor::text;
use crate::{Call, Parsed, Refusal, Token, TokenKey};

/// How long a token is good that does not say.
const LIFETIME: Duration = Duration::from_secs(3 * 3600);

/// What is asked for: the fields of one token.
#[derive(Default)]
struct Grant<'a> {
    fault: Option<FieldError>,
    id: Option<Uuid>,
    run_id: Option<Id<'a>>,
    key: Option<Text<'a>>,
    config: Option<&'a RawValue>,
    expires_in: Option<Lifetime>,
    expires_at: Option<Time>,
}

struct Lifetime(Duration);

/// `POST /feedback/tokens`: one, or an array of them.
pub(super) fn mint<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body)?;
    let key = call.tokens.ok_or_else(no_tokens)?;
    let array = text.trim_ascii_start().starts_with('[');
    let syntax = |error| Refusal::syntax(&error);
    let items = match array {
        true => {
            serde_json::from_str::<Elements<'a>>(text)
                .map_err(syntax)?
                .0
        }
        false => vec![serde_json::from_str(text).map_err(syntax)?],
    };
    if items.len() > call.max_events {
        let max = call.max_events;
        return Err(Refusal::TooMany { max });
    }
    let mut batch = call.batch(text.len());
    let (mut declarations, mut shown) = (Vec::new(), Vec::new());
    for (index, raw) in items.into_iter().enumerate() {
        let refuse = |error| match array {
            true => invalid(&at(index, &error)),
            false => invalid(&error),
        };
        let grant = Grant::read(raw).map_err(refuse)?;
        let config = grant.config;
        let token = grant.into_token(call, index).map_err(refuse)?;
        batch.push(&remembered(call, &token).map_err(refuse)?);
        config::add(&mut declarations, || {
            config::declare_once(call, &token.metric, config?)
        });
        shown.push(presigned(call, key, &token));
    }
    Ok(Parsed {
        declarations,
        note: match array {
            true => format!("[{}]", shown.join(",")),
            false => shown.concat(),
        },
        ..Parsed::whole(batch)
    })
}

/// What a use by the token's id alone will find: earlier than any use, so that it
/// takes back nothing.
fn remembered<'a>(call: &Call<'a>, token: &Token<'a>) -> Result<Event<'a>, FieldError> {
    let mut feedback = Feedback::new(token.id, token.trace_id.clone(), token.metric.clone());
    feedback.target.clone_from(&token.target);
    feedback.metadata = Json::of(&json!({PRESIGNED: terms(token.expires_at)})).ok();
    check(call, &feedback).map_err(|error| match &*error.field {
        "key" => FieldError {
            field: "feedback_key".into(),
            ..error
        },
        _ => error,
    })?;
    let operation = Operation::Withdraw(feedback);
    Ok(call.event(Dialect::Langsmith, Micros(0), operation))
}

/// What is to be known of a token when it is used by its id.
pub(super) fn terms(expires_at: Micros) -> serde_json::Value {
    json!({"expires_at": expires_at.to_string()})
}

/// A token as the API shows it.
fn presigned(call: &Call<'_>, key: &TokenKey, token: &Token<'_>) -> String {
    let (origin, id) = (call.origin(), token.id);
    let signed = key.sign(token);
    json!({
        "id": id,
        "url": format!("{origin}/feedback/tokens/{id}?token={signed}"),
        "expires_at": token.expires_at.to_string(),
        "feedback_key": token.metric,
    })
    .to_string()
}

pub(super) fn no_tokens() -> Refusal {
    let message = "no tokens are given out here: intake has no secret to sign them with";
    detail(StatusCode::NOT_IMPLEMENTED, message).into()
}

// === what fields are read as ===

// === impl Grant ===

impl<'a> Grant<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, FieldError> {
        let sent = serde_json::from_str(raw.get()).ok();
        match sent.and_then(|Sent(sent)| sent.ok()) {
            Some(Edit::Set(grant)) => Ok(grant),
            _ => Err(FieldError::wrong_type("", Self::EXPECTED)),
        }
    }

    fn into_token(mut self, call: &Call<'a>, index: usize) -> Result<Token<'a>, FieldError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let run = self.run_id.ok_or_else(|| FieldError::missing("run_id"))?.0;
        let key = self.key.ok_or_else(|| FieldError::missing("feedback_key"));
        let lifetime = self.expires_in.map_or(LIFETIME, |lifetime| lifetime.0);
        let expires_at = match self.expires_at {
            Some(Time(time)) => time,
            None => token::after(call.received_at, lifetime),
        };
        if expires_at <= call.received_at {
            let message = "must be in the future";
            return Err(FieldError::new(ItemCode::OutOfRange, "expires_at", message));
        }
        Ok(Token {
            id: call.name_put(index, self.id, None).id,
            project: Text::from(&**call.project),
            dialect: Dialect::Langsmith,
            trace_id: run.clone(),
            target: Some(Target {
                kind: TargetKind::Run,
                id: run,
            }),
            metric: key?,
            rater: None,
            expires_at,
        })
    }
}

impl<'de> FromSent<'de> for Grant<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut grant = Grant::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "id" => grant.id = content(fields.read("id")?),
                "run_id" => grant.run_id = content(fields.read("run_id")?),
                "feedback_key" => grant.key = content(fields.read("feedback_key")?),
                "feedback_config" => grant.config = fields.raw()?,
                "expires_in" => grant.expires_in = content(fields.read("expires_in")?),
                "expires_at" => grant.expires_at = content(fields.read("expires_at")?),
                _ => drop(fields.raw()?),
            }
        }
        grant.fault = fields.fault;
        Ok(Ok(grant))
    }
}

impl<'de> FromSent<'de> for Lifetime {
    const EXPECTED: &'static str = "an object with days, hours and minutes";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut seconds = 0.0;
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            let (field, unit) = match name.as_str() {
                "days" => ("expires_in.days", 86_400.0),
                "hours" => ("expires_in.hours", 3600.0),
                "minutes" => ("expires_in.minutes", 60.0),
                _ => {
                    fields.raw()?;
                    continue;
                }
            };
            seconds += content(fields.number(field)?).unwrap_or(0.0) * unit;
        }
        let lifetime = Duration::try_from_secs_f64(seconds).ok();
        Ok(match (fields.fault, lifetime) {
            (Some(error), _) => Err(Fault::Inside(error)),
            (None, Some(lifetime)) if lifetime <= MAX_LIFETIME => Ok(Self(lifetime)),
            (None, _) => Err(Fault::Inside(FieldError::new(
                ItemCode::OutOfRange,
                "expires_in",
                "must be at most 100 years",
            ))),
        })
    }
}
