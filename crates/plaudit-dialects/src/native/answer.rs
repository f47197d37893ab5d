//! The native answer: one entry an item, in the order of the request.

use std::fmt::Write as _;

use http::StatusCode;
use plaudit_event::{FieldError, ItemCode};
use uuid::Uuid;

use crate::{Answer, Delivery, Fates, Parsed, Refused};

/// About the length of an accepted item's entry, in bytes.
const ENTRY_BYTES: usize = 128;

/// At least the length of what stands around the entries.
const FRAME_BYTES: usize = 80;

/// Writes the answer of a request.
///
/// An event that certainly was not written is `unconfirmed` like one that may
/// have been: for both the client's move is to send it again with the same id.
/// The one exception can never be written, and is rejected.
pub(super) fn answer(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    let mut entries = Entries {
        text: String::with_capacity(ENTRY_BYTES * (parsed.batch.len() + parsed.rejected.len())),
        accepted: 0,
        rejected: 0,
        unconfirmed: 0,
    };
    let mut rejected = parsed.rejected.iter().peekable();
    let mut ids = parsed.batch.ids().enumerate();
    for index in 0..parsed.batch.len() + parsed.rejected.len() {
        if let Some((_, error)) = rejected.next_if(|(at, _)| *at == index) {
            entries.reject(index, error);
        } else if let Some((record, id)) = ids.next() {
            entries.event(index, record, id, fates);
        }
    }
    let status = match (entries.accepted, entries.rejected, entries.unconfirmed) {
        (_, _, 1..) => StatusCode::SERVICE_UNAVAILABLE,
        (_, 0, 0) => StatusCode::OK,
        (0, _, 0) => StatusCode::BAD_REQUEST,
        _ => StatusCode::MULTI_STATUS,
    };
    let (accepted, rejected) = (entries.accepted, entries.rejected);
    let mut body = String::with_capacity(FRAME_BYTES + entries.text.len());
    write(
        &mut body,
        format_args!(r#"{{"accepted":{accepted},"rejected":{rejected},"items":["#),
    );
    body.push_str(&entries.text);
    body.push_str("]}");
    Answer {
        retry_after: fates.retry_after(),
        ..Answer::new(status, body)
    }
}

/// The entries, as JSON text.
struct Entries {
    text: String,
    accepted: usize,
    rejected: usize,
    unconfirmed: usize,
}

impl Entries {
    fn event(&mut self, index: usize, record: usize, id: Uuid, fates: &Fates<'_>) {
        match fates.delivery(record) {
            Delivery::Confirmed(receipt) => {
                self.accepted += 1;
                self.begin(index);
                // Neither ids nor topic names have anything to escape.
                self.text.push_str(r#""accepted","id":""#);
                self.id(id);
                self.write(format_args!(r#"","receipt":"{receipt}""#));
                if let Some(outcome) = fates.states.get(record) {
                    self.write(format_args!(r#","state":"{}""#, outcome.state()));
                }
                self.text.push('}');
            }
            Delivery::Unconfirmed | Delivery::Refused(Refused::Busy { .. }) => {
                self.unconfirmed += 1;
                self.begin(index);
                self.text.push_str(r#""unconfirmed","id":""#);
                self.id(id);
                self.text.push_str(r#""}"#);
            }
            Delivery::Refused(Refused::TooLarge) => {
                let message = "must be smaller as a whole";
                self.reject(index, &FieldError::new(ItemCode::TooLong, "", message));
            }
            Delivery::Refused(Refused::Unstorable) => {
                let message = "cannot be stored";
                self.reject(index, &FieldError::new(ItemCode::OutOfRange, "", message));
            }
        }
    }

    fn reject(&mut self, index: usize, error: &FieldError) {
        self.rejected += 1;
        self.begin(index);
        // What is wrong with an item as a whole is in no field.
        let field = Some(&*error.field).filter(|field| !field.is_empty());
        self.write(format_args!(
            r#""rejected","error":{{"code":"{}","field":{},"message":{}}}}}"#,
            error.code.code(),
            serde_json::json!(field),
            serde_json::json!(error.message),
        ));
    }

    fn begin(&mut self, index: usize) {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.write(format_args!(r#"{{"index":{index},"status":"#));
    }

    fn id(&mut self, id: Uuid) {
        let mut buffer = Uuid::encode_buffer();
        self.text
            .push_str(id.hyphenated().encode_lower(&mut buffer));
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        write(&mut self.text, arguments);
    }
}

fn write(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("a String takes everything");
}
