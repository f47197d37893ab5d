//! LangSmith's answers, chosen by what its clients do with them.
//!
//! Python's client tries ten times over minutes after a 404 to a create, raises after a 409,
//! and loses a batch for good after a 404: a create gets neither. It reads
//! `Retry-After` as an integer only. What it gets in a 2xx it ignores.

use http::StatusCode;
use plaudit_event::{FieldError, ItemCode};
use serde_json::{Value, json};

use crate::json::written;
use crate::{Answer, Delivery, Fates, Parsed, Refused};

/// An error in the usual shape.
pub(super) fn detail(status: StatusCode, message: &str) -> Answer {
    Answer::new(status, written(&json!({"detail": message})))
}

/// The fault of the item at `index` of an array.
pub(super) fn at(index: usize, error: &FieldError) -> FieldError {
    FieldError {
        field: format!("[{index}].{}", error.field).into(),
        ..error.clone()
    }
}

/// 422 for one field. `[1].key` is the key of the second item.
pub(super) fn invalid(error: &FieldError) -> Answer {
    invalid_in("body", error)
}

/// 422 for one field of the body, or of the `path` or the `query`.
pub(super) fn invalid_in(place: &str, error: &FieldError) -> Answer {
    let segment = |text: &str| match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(index) => index
            .parse::<u64>()
            .map_or(json!(text), |index| json!(index)),
        None => json!(text),
    };
    let inside = error.field.split('.').filter(|text| !text.is_empty());
    let loc: Vec<Value> = std::iter::once(json!(place))
        .chain(inside.map(segment))
        .collect();
    let kind = match error.code {
        ItemCode::MissingField => "missing",
        ItemCode::WrongType => "type_error",
        _ => "value_error",
    };
    let body = json!({"detail": [{"loc": loc, "msg": error.message, "type": kind}]});
    Answer::new(StatusCode::UNPROCESSABLE_ENTITY, written(&body))
}

/// The answer of a request whose events are one thing: [`Parsed::note`], once
/// every one of them is durable.
pub(super) fn noted(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    refused(parsed, fates).unwrap_or_else(|| Answer::new(StatusCode::OK, parsed.note.clone()))
}

/// The answer of a batch. What is wrong with one item keeps no other from being
/// kept, and a client that is told would drop them all: only a batch without a
/// good item is refused.
pub(super) fn batch(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    if let Some(answer) = refused(parsed, fates) {
        return answer;
    }
    match parsed.rejected.first() {
        Some((index, error)) if parsed.batch.is_empty() => invalid(&at(*index, error)),
        _ => Answer::new(StatusCode::ACCEPTED, "{}".to_owned()),
    }
}

/// Why the events are to be sent again, with the same ids, or are no use.
fn refused(parsed: &Parsed, fates: &Fates<'_>) -> Option<Answer> {
    let deliveries = || (0..parsed.batch.len()).map(|record| fates.delivery(record));
    if let Some(seconds) = fates.retry_after() {
        let message = "the feedback could not be confirmed";
        let mut answer = detail(StatusCode::SERVICE_UNAVAILABLE, message);
        answer.retry_after = Some(seconds);
        return Some(answer);
    }
    let confirmed = |delivery: &Delivery| matches!(delivery, Delivery::Confirmed(_));
    if parsed.batch.is_empty() || deliveries().any(confirmed) {
        return None;
    }
    let too_large = |delivery: &Delivery| *delivery == Delivery::Refused(Refused::TooLarge);
    Some(if deliveries().any(too_large) {
        let message = "the feedback must be smaller as a whole";
        detail(StatusCode::PAYLOAD_TOO_LARGE, message)
    } else {
        let message = "the feedback cannot be stored";
        detail(StatusCode::UNPROCESSABLE_ENTITY, message)
    })
}
