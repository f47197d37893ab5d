//! Plaudit's own API: `POST /v1/feedback` with an object, an array or NDJSON,
//! signed tokens (`/v1/tokens`) and metrics (`/v1/metrics`).
//!
//! Every item has its own answer; one that is bad does not keep the others from
//! being stored. A body that is no JSON is refused as a whole, and so is NDJSON
//! of which one line is none: nothing of it was sent on then.
//!
//! A field that an item has twice counts as it was sent last. `null` is the same
//! as absent, save in a patch, where it clears; so is an empty comment, rater or
//! other optional text of a put, since the tables hold absent text as ''.
//!
//! A preference between two answers is two items with the same `group_id`, one for
//! each answer's trace: what they have in common is the group, and nothing else is
//! special about them.

use std::fmt;

use http::Method;
use plaudit_event::{Dialect, Edit, FieldError};
use serde::de::{self, Deserialize as _, Deserializer as _, SeqAccess, Visitor};

use crate::sent::{FromSent as _, Sent};
use crate::vendor::text;
use crate::{
    Access, Action, Batch, Call, Content, Endpoint, Form, Parsed, Refusal, Vendor, public,
};

mod answer;
mod item;
mod metrics;
mod redeem;
#[cfg(test)]
mod tests;
mod token;

use item::Item;

/// The native API.
pub const VENDOR: Vendor = Vendor {
    dialect: Dialect::Native,
    mounts: &[""],
    endpoints: &[
        endpoint(Method::POST, "/v1/feedback", Access::Write, FEEDBACK),
        endpoint(
            Method::POST,
            "/v1/tokens",
            Access::Write,
            Action::Say(token::mint),
        ),
        endpoint(Method::POST, TOKEN_PATH, Access::Public, REDEEM),
        endpoint(
            Method::GET,
            TOKEN_PATH,
            Access::Public,
            Action::Say(redeem::ask),
        ),
        endpoint(Method::OPTIONS, TOKEN_PATH, Access::Public, PREFLIGHT),
        endpoint(Method::PUT, METRIC_PATH, Access::Admin, DECLARE),
        endpoint(
            Method::DELETE,
            METRIC_PATH,
            Access::Admin,
            DECLARE_NO_LONGER,
        ),
    ],
    recognises: |_| true,
    fault: None,
};

const TOKEN_PATH: &str = "/v1/tokens/{id}";
const METRIC_PATH: &str = "/v1/metrics/{metric}";

const FEEDBACK: Action = Action::Take {
    body: Form::Json,
    parse,
    answer: answer::answer,
};
const REDEEM: Action = Action::Take {
    body: Form::Any,
    parse: redeem::parse,
    answer: redeem::answer,
};
const PREFLIGHT: Action = Action::Say(|_, _| Ok(public::preflight()));
const DECLARE: Action = Action::Take {
    body: Form::Json,
    parse: metrics::put,
    answer: metrics::answer,
};
const DECLARE_NO_LONGER: Action = Action::Take {
    body: Form::Any,
    parse: metrics::delete,
    answer: metrics::answer,
};

const fn endpoint(method: Method, path: &'static str, access: Access, action: Action) -> Endpoint {
    Endpoint {
        method,
        path,
        access,
        action,
    }
}

/// Reads a body: one item, an array of them, or one a line.
///
/// # Errors
/// [`Refusal`] when the body as a whole cannot be taken.
pub fn parse<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body)?;
    let mut reader = Reader {
        call,
        batch: call.batch(text.len()),
        rejected: Vec::new(),
        items: 0,
    };
    match call.content {
        Content::Json => {
            let array = text.trim_ascii_start().starts_with('[');
            reader.read(text, array, 1)?;
        }
        Content::Ndjson => {
            for (line, text) in (1..).zip(text.split('\n')) {
                if !text.trim_ascii().is_empty() {
                    reader.read(text, false, line)?;
                }
            }
        }
    }
    Ok(Parsed {
        rejected: reader.rejected,
        ..Parsed::whole(reader.batch)
    })
}

/// Takes items one by one, and encodes each as soon as it is read.
struct Reader<'c, 'a> {
    call: &'c Call<'a>,
    batch: Batch,
    rejected: Vec<(usize, FieldError)>,
    items: usize,
}

// === impl Reader ===

impl<'a> Reader<'_, 'a> {
    /// Reads one JSON text: an item or an array of items.
    fn read(&mut self, text: &'a str, array: bool, line: usize) -> Result<(), Refusal> {
        let mut json = serde_json::Deserializer::from_str(text);
        let read = if array {
            json.deserialize_seq(&mut *self)
        } else {
            Sent::deserialize(&mut json).and_then(|sent| self.take(sent))
        };
        match read.and_then(|()| json.end()) {
            Ok(()) => Ok(()),
            Err(_) if self.items > self.call.max_events => Err(Refusal::TooMany {
                max: self.call.max_events,
            }),
            Err(error) => Err(Refusal::Syntax {
                line: line + error.line().saturating_sub(1),
                column: error.column(),
            }),
        }
    }

    fn take<E: de::Error>(&mut self, sent: Sent<Box<Item<'a>>>) -> Result<(), E> {
        let index = self.items;
        self.items += 1;
        if self.items > self.call.max_events {
            // `read` knows the reason from the count.
            return Err(E::custom("too many events"));
        }
        let event = match sent.0 {
            Ok(Edit::Set(item)) => item.into_event(self.call, index),
            Ok(Edit::Keep | Edit::Clear) | Err(_) => {
                Err(FieldError::wrong_type("", Box::<Item<'_>>::EXPECTED))
            }
        };
        match event {
            Ok(event) => self.batch.push(&event),
            Err(error) => self.rejected.push((index, error)),
        }
        Ok(())
    }
}

impl<'a> Visitor<'a> for &mut Reader<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(sent) = seq.next_element()? {
            self.take(sent)?;
        }
        Ok(())
    }
}
