//! Portkey: `POST /feedback` with one item or several, `PUT /feedback/{id}`.
//!
//! As its clients send it (`portkey-ai` for Python 2.3.4 and for JavaScript
//! 3.1.0, recorded): the JavaScript client turns an array into an object with the
//! keys `"0"`, `"1"`, … and leaves `traceID` in it as it was, and an update may
//! have its id in the body only.
//!
//! Its answers know no items: a request is taken whole or not at all. Fields that
//! the API does not document are kept in `metadata`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use plaudit_event::{Dialect, Edit, Feedback, FieldError, ItemCode, Operation, Patch, Value};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::call::follow_value;
use crate::json::written;
use crate::sent::Elements;
use crate::vendor::text;
use crate::{Access, Action, Answer, Batch, Call, Endpoint, Fates, Form, Parsed, Refusal, Vendor};

mod item;
mod metadata;
#[cfg(test)]
mod tests;

use item::Item;
use metadata::Metadata;

/// Portkey's API.
pub const VENDOR: Vendor = Vendor {
    dialect: Dialect::Portkey,
    mounts: &["/portkey", ""],
    endpoints: &[
        // The base URL of a client ends with `/v1`, or should.
        creating("/v1/feedback"),
        creating("/feedback"),
        updating("/v1/feedback/{id}"),
        updating("/feedback/{id}"),
    ],
    recognises: |hints| is_portkey(hints.headers),
    fault: Some(|error| fault(&error.text())),
};

const fn creating(path: &'static str) -> Endpoint {
    Endpoint {
        method: Method::POST,
        path,
        access: Access::Write,
        action: Action::Take {
            body: Form::Json,
            parse: create,
            answer: |parsed, fates| answer(parsed, fates, "Feedback successfully saved"),
        },
    }
}

const fn updating(path: &'static str) -> Endpoint {
    Endpoint {
        method: Method::PUT,
        path,
        access: Access::Write,
        action: Action::Take {
            body: Form::Json,
            parse: update,
            answer: |parsed, fates| answer(parsed, fates, "Feedback successfully updated"),
        },
    }
}

/// What every value is about: the API has one metric, without a name.
const METRIC: &str = "feedback";

/// A value's bounds, inclusive.
const VALUES: std::ops::RangeInclusive<i64> = -10..=10;

/// Keeps the clients from sending the request again at once.
const SUPPRESSES_RETRY: HeaderName = HeaderName::from_static("x-portkey-request-id");

fn is_portkey(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with("x-portkey-"))
}

/// Reads `POST /feedback`.
fn create<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body)?;
    let mut batch = call.batch(text.len());
    if text.trim_ascii_start().starts_with('[') {
        let items: Elements<'_> = parse(text)?;
        return create_all(call, batch, &items.0);
    }
    let item: Item<'a> = parse(text)?;
    if let Some(items) = item.as_list() {
        return create_all(call, batch, &items);
    }
    put(call, &mut batch, 0, item)?;
    Ok(Parsed::whole(batch))
}

fn create_all<'a>(
    call: &Call<'a>,
    mut batch: Batch,
    items: &[&'a RawValue],
) -> Result<Parsed, Refusal> {
    if items.len() > call.max_events {
        return Err(Refusal::TooMany {
            max: call.max_events,
        });
    }
    for (index, item) in items.iter().enumerate() {
        let item = parse(item.get())?;
        put(call, &mut batch, index, item).map_err(|error| FieldError {
            field: format!("[{index}].{}", error.field).into(),
            ..error
        })?;
    }
    Ok(Parsed::whole(batch))
}

fn put<'a>(
    call: &Call<'a>,
    batch: &mut Batch,
    index: usize,
    item: Item<'a>,
) -> Result<(), FieldError> {
    let item = item.checked()?;
    let trace_id = item
        .trace_id
        .ok_or_else(|| FieldError::missing("trace_id"))?;
    let value = value(item.value)?;
    let metadata = Metadata::read(item.metadata, &item.extra, call.limits)?;
    let named = call.name_put(index, None, None);
    let mut feedback = Feedback::new(named.id, trace_id, METRIC).with_value(value);
    if let Some(weight) = item.weight {
        feedback.weight = weight;
    }
    if let Some(metadata) = metadata {
        feedback.rater = metadata.rater(call.limits);
        feedback.tags = metadata.tags;
        feedback.metadata = Some(metadata.json);
    }
    let operation = Operation::Put(feedback);
    call.check(&operation)?;
    batch.push(&call.event(Dialect::Portkey, named.version_time, operation));
    Ok(())
}

/// Reads `PUT /feedback/{id}`.
fn update<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body)?;
    let mut batch = call.batch(text.len());
    let item = parse::<Item<'a>>(text)?.checked()?;
    // Clients that lost the id write `undefined` or `NOT_GIVEN` into the path.
    let id = [call.path("id"), item.feedback_id.as_deref()]
        .into_iter()
        .flatten()
        .find_map(|id| Uuid::try_parse(id).ok())
        .ok_or_else(|| FieldError::wrong_type("feedback_id", "a UUID, in the path or the body"))?;
    let value = value(item.value)?;
    if let Some(metric) = call.registry().get(METRIC) {
        metric.check(&value)?;
    }
    let mut patch = Patch {
        value: Edit::Set(value),
        weight: item.weight.map_or(Edit::Keep, Edit::Set),
        ..Patch::default()
    };
    follow_value(&mut patch);
    if let Some(metadata) = Metadata::read(item.metadata, &item.extra, call.limits)? {
        // What was read from the metadata changes with it.
        patch.rater = Edit::from(metadata.rater(call.limits));
        patch.tags = Edit::Set(metadata.tags);
        patch.metadata = Edit::Set(metadata.json);
    }
    let operation = Operation::Patch { id, patch };
    call.check(&operation)?;
    batch.push(&call.event(Dialect::Portkey, call.time_of(0), operation));
    Ok(Parsed::whole(batch))
}

fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))
}

/// An integer; `5.0`, which Python sends for a float, is one.
fn value(sent: Option<f64>) -> Result<Value<'static>, FieldError> {
    let number = sent.ok_or_else(|| FieldError::missing("value"))?;
    let (low, high) = VALUES.into_inner();
    let found = (low..=high).find(|value| {
        #[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
        let value = *value as f64;
        value.total_cmp(&number).is_eq() || (value == 0.0 && number == 0.0)
    });
    match found.and_then(|value| Value::of(&value)) {
        Some(value) => Ok(value),
        None if number.fract() == 0.0 || number.is_infinite() => Err(FieldError::new(
            ItemCode::OutOfRange,
            "value",
            "must be -10 to 10",
        )),
        None => Err(FieldError::wrong_type("value", "an integer")),
    }
}

/// Writes the answer. There is one status for all events, so a batch of which a
/// part is durable is a failure, one that must not be repeated blindly.
fn answer(parsed: &Parsed, fates: &Fates<'_>, message: &str) -> Answer {
    let events = parsed.batch.len();
    let Some(shortfall) = fates.shortfall(events) else {
        let ids: Vec<Uuid> = parsed.batch.ids().collect();
        let body = json!({"status": "success", "message": message, "feedback_ids": ids});
        return Answer::new(StatusCode::OK, written(&body));
    };
    let mut answer = shortfall.answer(fates, StatusCode::BAD_REQUEST, fault);
    if !fates.none_written(events) {
        // The clients have no id of their own, so a retry would be a second feedback.
        answer.header = HeaderValue::from_str(fates.request_id)
            .ok()
            .map(|id| (SUPPRESSES_RETRY, id));
    }
    answer
}

/// The body of an error: Python's client reads `error.message`, JavaScript's the
/// `message` beside it.
fn fault(message: &str) -> String {
    written(&json!({"status": "failure", "message": message, "error": {"message": message}}))
}
