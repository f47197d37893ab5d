//! The errors of servers that are built with FastAPI: Patronus and Humanloop.
//!
//! What is wrong with the request is a 422 with a list of places and faults;
//! anything else is one sentence. A place is a name and a position, never content.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, StatusCode};
use plaudit_event::{FieldError, ItemCode};
use serde_json::{Value, json};

use crate::json::written;
use crate::{Answer, Fates, Fault, Parsed, Refusal};

/// Where in a request a fault is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In the body.
    Body,
    /// In an item of the array that the body is.
    Item(usize),
    /// In the query string.
    Query,
    /// In the path.
    Path,
}

/// The refusal of a request with these faults.
pub(crate) fn unprocessable(place: Place, errors: &[FieldError]) -> Refusal {
    let detail: Vec<Value> = errors.iter().map(|error| entry(place, error)).collect();
    let body = json!({ "detail": detail });
    Answer::new(StatusCode::UNPROCESSABLE_ENTITY, written(&body)).into()
}

/// The same refusal as FastAPI puts it.
pub(crate) fn refusal(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Item(error) => unprocessable(Place::Body, &[error]),
        Refusal::Syntax { line, column } => {
            let detail = json!({
                "loc": ["body", line, column],
                "msg": "invalid JSON",
                "type": "value_error.jsondecode",
            });
            let body = json!({ "detail": [detail] });
            Answer::new(StatusCode::UNPROCESSABLE_ENTITY, written(&body)).into()
        }
        Refusal::Empty => unprocessable(Place::Body, &[FieldError::missing("")]),
        other @ (Refusal::NotText | Refusal::TooMany { .. } | Refusal::Answered(_)) => other,
    }
}

/// The body of an error that concerns the whole request.
pub(crate) fn fault(fault: &Fault<'_>) -> String {
    sentence(&fault.text())
}

/// The answer when not every event is durable; `None` when they are.
pub(crate) fn shortfall(parsed: &Parsed, fates: &Fates<'_>) -> Option<Answer> {
    let shortfall = fates.shortfall(parsed.batch.len())?;
    Some(shortfall.answer(fates, StatusCode::UNPROCESSABLE_ENTITY, sentence))
}

/// Keeps a client that is made by Stainless from sending the request again at once.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The same for what has a new id each time: when it may have been written, a retry
/// would be a second feedback.
pub(crate) fn shortfall_of_new(parsed: &Parsed, fates: &Fates<'_>) -> Option<Answer> {
    let mut answer = shortfall(parsed, fates)?;
    if !fates.none_written(parsed.batch.len()) {
        answer.header = Some((SHOULD_RETRY, HeaderValue::from_static("false")));
    }
    Some(answer)
}

fn sentence(message: &str) -> String {
    written(&json!({ "detail": message }))
}

fn entry(place: Place, error: &FieldError) -> Value {
    let mut loc: Vec<Value> = match place {
        Place::Body => vec!["body".into()],
        Place::Item(index) => vec!["body".into(), index.into()],
        Place::Query => vec!["query".into()],
        Place::Path => vec!["path".into()],
    };
    let names = error.field.split('.').filter(|name| !name.is_empty());
    loc.extend(names.map(Value::from));
    let (message, kind): (Cow<'_, str>, _) = match error.code {
        ItemCode::MissingField => ("field required".into(), "value_error.missing"),
        ItemCode::WrongType => (Cow::Borrowed(&*error.message), "type_error"),
        _ => (Cow::Borrowed(&*error.message), "value_error"),
    };
    json!({"loc": loc, "msg": message, "type": kind})
}
