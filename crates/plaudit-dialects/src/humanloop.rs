//! Humanloop: `POST /feedback` of its versions 1 to 4, one feedback or an array.
//!
//! Recorded with its Python clients 0.1.8 to 0.7.35 and its JavaScript client
//! 3.0.0. A version is a spelling: `group`, `label` or `text`, and `log_id` of the
//! first became `type`, `value` and `data_id`. Any spelling is taken on any path.
//!
//! A user has one rating, one correction and one comment of a datapoint: said
//! again it is a new version, `unset` withdraws it. Of every other type a user has
//! one feedback a value.
//!
//! An array is taken whole or not at all, and answered with an array. Fields that
//! the API does not document are kept in `metadata`, save one: clients put their
//! users' keys for model providers into `provider_api_keys`. It is skipped here,
//! before anything is kept, and is in no event and no answer (**P7**).
//!
//! Whether the datapoint exists is not checked.

use http::{Method, StatusCode};
use plaudit_event::{Dialect, FieldError};
use serde_json::value::RawValue;

use crate::fastapi::{self, Place};
use crate::raw::{self, Kind};
use crate::sniff::{has_any_key, is_made_by};
use crate::vendor::text;
use crate::{
    Access, Action, Answer, Batch, Call, Endpoint, Fates, Form, Hints, Parsed, Refusal, Vendor,
};

mod item;
mod rating;
#[cfg(test)]
mod tests;

use item::Item;

/// Humanloop's API.
pub const VENDOR: Vendor = Vendor {
    dialect: Dialect::Humanloop,
    mounts: &["/humanloop", ""],
    endpoints: &[
        taking("/v1/feedback"),
        taking("/v2/feedback"),
        taking("/v3/feedback"),
        taking("/v4/feedback"),
        // The host of a client may have no version.
        taking("/feedback"),
    ],
    recognises,
    fault: Some(fastapi::fault),
};

const fn taking(path: &'static str) -> Endpoint {
    Endpoint {
        method: Method::POST,
        path,
        access: Access::Write,
        action: Action::Take {
            body: Form::Json,
            parse,
            answer,
        },
    }
}

/// Its later clients name their generator. A `type` is Humanloop's where no other
/// API's name for the metric is.
fn recognises(hints: &Hints<'_>) -> bool {
    let has = |keys: &[&str]| has_any_key(hints.body, keys);
    is_made_by(hints.headers, "Konfig/")
        || has(&["group"])
        || has(&["type"]) && !has(&["metric_name", "key", "metric"])
}

/// Reads a body: one feedback, or an array of them. The answer is written here
/// and kept in the note, since it shows each as it was sent.
fn parse<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body).map_err(fastapi::refusal)?;
    let sent: &RawValue =
        serde_json::from_str(text).map_err(|error| fastapi::refusal(Refusal::syntax(&error)))?;
    let mut batch = call.batch(text.len());
    let note = match raw::kind(sent) {
        Kind::Array => {
            let items = raw::elements(sent).unwrap_or_default();
            if items.len() > call.max_events {
                return Err(Refusal::TooMany {
                    max: call.max_events,
                });
            }
            let mut shown = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                let taken = take(call, &mut batch, index, item);
                shown.push(
                    taken.map_err(|error| fastapi::unprocessable(Place::Item(index), &[error]))?,
                );
            }
            format!("[{}]", shown.join(","))
        }
        _ => take(call, &mut batch, 0, sent)
            .map_err(|error| fastapi::unprocessable(Place::Body, &[error]))?,
    };
    Ok(Parsed {
        note,
        ..Parsed::whole(batch)
    })
}

/// Takes the item at `index`, and gives what the answer shows of it.
fn take<'a>(
    call: &Call<'a>,
    batch: &mut Batch,
    index: usize,
    sent: &'a RawValue,
) -> Result<String, FieldError> {
    let item = Item::read(sent)?;
    let names = item.names();
    let (rating, shown) = item.into_rating()?;
    let limits = call.limits;
    let id = rating.id(
        call.project,
        limits.max_json_bytes.max(limits.max_text_bytes),
    );
    let operation = rating.into_operation(id);
    call.check(&operation)
        .map_err(|error| names.as_sent(error))?;
    batch.push(&call.event(Dialect::Humanloop, call.time_of(index), operation));
    Ok(shown.with_id(id))
}

/// Writes the answer.
fn answer(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    fastapi::shortfall(parsed, fates)
        .unwrap_or_else(|| Answer::new(StatusCode::OK, parsed.note.clone()))
}
