//! TensorZero: `POST /feedback` with one feedback, `GET /status`, `GET /health`.
//!
//! Checked in the gateway's order and refused with its status and its words
//! (2026.6.0, recorded). They differ where a message of the gateway repeats what was
//! sent: an answer here names metrics, tags and ids, and no value (**P7**).
//!
//! Not checked is what only the gateway has records of: whether the inference or
//! the episode exists, what its function may say, the form of the gateway's keys.
//! So feedback may come first. A demonstration that is an array of objects with a
//! `type` is taken for a chat function's and held to the form of content blocks;
//! any other array, and any object, for the output of a JSON function.
//!
//! A metric that nobody declared has the type of its value, unless undeclared ones
//! are refused. `comment` and `demonstration` are never looked up.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use plaudit_event::{
    Dialect, Feedback, FieldError, Limits, Operation, Source, Tags, Target, Text, identity,
};
use serde_json::json;
use uuid::Uuid;

use crate::json::written;
use crate::sniff::{has_any_key, is_made_by};
use crate::{
    Access, Action, Answer, Call, Endpoint, Fates, Fault, Form, Hints, Parsed, Refusal, Vendor,
};

mod demonstration;
mod import;
mod metric;
mod params;
#[cfg(test)]
mod tests;

pub use import::{ImportError, import_metrics};

use metric::Asked;
use params::Params;

/// TensorZero's API.
pub const VENDOR: Vendor = Vendor {
    dialect: Dialect::Tensorzero,
    mounts: &["/tensorzero", ""],
    endpoints: &[
        Endpoint {
            method: Method::POST,
            path: "/feedback",
            access: Access::Write,
            action: Action::Take {
                // The gateway reads JSON whatever the content type is.
                body: Form::Any,
                parse,
                answer,
            },
        },
        // An older client asks when it is made, and goes on without an answer.
        saying("/status", |_, _| Ok(status())),
        saying("/health", |_, _| Ok(health())),
    ],
    recognises,
    fault: Some(fault),
};

const fn saying(
    path: &'static str,
    say: for<'a> fn(&Call<'a>, &'a [u8]) -> Result<Answer, Refusal>,
) -> Endpoint {
    Endpoint {
        method: Method::GET,
        path,
        access: Access::Public,
        action: Action::Say(say),
    }
}

/// The release of the gateway whose API this is.
const VERSION: &str = "2026.6.0";

/// Tags that the gateway gives itself, or that its tools give.
const INTERNAL_TAG: &str = "tensorzero::internal";
const HUMAN_TAG: &str = "tensorzero::human_feedback";

/// Tags that say who gave the feedback; the first one counts.
const RATER_TAGS: [&str; 2] = ["author", "user_id"];

/// Its clients name themselves, of late; before that, and without one, only its
/// fields have these names.
fn recognises(hints: &Hints<'_>) -> bool {
    is_made_by(hints.headers, "TensorZero/")
        || has_any_key(hints.body, &["metric_name", "inference_id", "episode_id"])
}

/// What the gateway refuses, in its words.
#[derive(Debug, Eq, PartialEq)]
struct Denied {
    status: StatusCode,
    message: String,
}

// === impl Denied ===

impl Denied {
    fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Answer::new(denied.status, error(&denied.message)).into()
    }
}

impl From<FieldError> for Denied {
    /// What the gateway has no words for, by the names of its fields.
    fn from(error: FieldError) -> Self {
        let field = match &*error.field {
            "metric" => "metric_name",
            "comment" | "correction" => "value",
            field => field,
        };
        Self::bad_request(format!("{field}: {}", error.message))
    }
}

/// Reads `POST /feedback`.
fn parse<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let params = Params::read(body)?;
    let mut batch = call.batch(body.len());
    if params.dryrun {
        // All of the checks, and an id that nothing will have.
        let tried = feedback(call, identity::new(), params)?;
        return Ok(Parsed {
            note: tried.id.to_string(),
            ..Parsed::whole(batch)
        });
    }
    let named = call.name_put(0, None, None);
    let operation = Operation::Put(feedback(call, named.id, params)?);
    batch.push(&call.event(Dialect::Tensorzero, named.version_time, operation));
    Ok(Parsed::whole(batch))
}

/// The feedback that a request gives, when nothing is wrong with it.
fn feedback<'a>(call: &Call<'a>, id: Uuid, params: Params<'a>) -> Result<Feedback<'a>, Denied> {
    check_tags(&params)?;
    let asked = Asked::of(call.registry(), &params)?;
    let (kind, target) = asked.target(&params)?;
    let target = target.to_string();
    let mut feedback = Feedback::new(id, target.clone(), params.metric_name);
    feedback.target = Some(Target {
        kind,
        id: target.into(),
    });
    asked.say(params.value, &mut feedback)?;
    feedback.tags = params.tags;
    if params.internal {
        feedback.tags.insert(INTERNAL_TAG, "true");
    }
    feedback.rater = rater(&feedback.tags, call.limits);
    if feedback.tags.get(HUMAN_TAG).is_some() {
        feedback.source = Some(Source {
            kind: "human".into(),
            info: None,
            run_id: None,
        });
    }
    call.limits.check(&feedback)?;
    Ok(feedback)
}

/// Tags of the gateway's own are for its tools, and one of them needs another.
fn check_tags(params: &Params<'_>) -> Result<(), Denied> {
    let reserved = |key: &&str| key.starts_with("tensorzero::");
    let mut keys = params.tags.iter().map(|(key, _)| key);
    if let Some(key) = keys.find(reserved).filter(|_| !params.internal) {
        return Err(Denied::bad_request(format!(
            "Tag name cannot start with 'tensorzero::': {}",
            params::shown(key)
        )));
    }
    let tagged = |key| params.tags.get(key).is_some();
    if tagged("tensorzero::datapoint_id")
        && tagged(HUMAN_TAG)
        && !tagged("tensorzero::evaluator_inference_id")
    {
        return Err(Denied::bad_request(
            "tensorzero::evaluator_inference_id is required when tensorzero::datapoint_id and \
             tensorzero::human_feedback are provided",
        ));
    }
    Ok(())
}

/// Who gave the feedback, where a tag says so that fits.
fn rater(tags: &Tags<'_>, limits: &Limits) -> Option<Text<'static>> {
    let rater = RATER_TAGS.into_iter().find_map(|tag| tags.get(tag))?;
    let fits = (1..=limits.max_id_bytes).contains(&rater.len());
    fits.then(|| rater.to_owned().into())
}

/// Writes the answer. Of a dry run the note has the id, and there is no event.
fn answer(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    if let Some(shortfall) = fates.shortfall(parsed.batch.len()) {
        return shortfall.answer(fates, StatusCode::BAD_REQUEST, error);
    }
    let body = match parsed.batch.ids().next() {
        Some(id) => json!({ "feedback_id": id }),
        None => json!({ "feedback_id": parsed.note }),
    };
    Answer::new(StatusCode::OK, written(&body))
}

fn status() -> Answer {
    // The hash is the gateway's way to tell its configurations apart.
    let body = json!({"status": "ok", "version": VERSION, "config_hash": "plaudit"});
    Answer::new(StatusCode::OK, written(&body))
}

/// Says that requests are answered; whether feedback can be kept is `/readyz`'s.
fn health() -> Answer {
    Answer::new(StatusCode::OK, written(&json!({"gateway": "ok"})))
}

/// The body of an error that concerns the whole request.
fn fault(fault: &Fault<'_>) -> String {
    if fault.status == StatusCode::UNAUTHORIZED {
        return error(&format!(
            "TensorZero authentication error: Error performing authentication: {}",
            unauthorized(fault.headers)
        ));
    }
    match fault.route {
        Some((method, path)) => error(&format!("Route not found: {method} {path}")),
        None => error(&fault.text()),
    }
}

fn unauthorized(headers: &HeaderMap) -> &'static str {
    match headers.get(AUTHORIZATION) {
        None => "Authorization header is required",
        Some(value) if !value.as_bytes().starts_with(b"Bearer ") => {
            "Authorization header must start with 'Bearer '"
        }
        Some(_) => "Provided API key does not exist in the database",
    }
}

fn error(message: &str) -> String {
    written(&json!({ "error": message }))
}
