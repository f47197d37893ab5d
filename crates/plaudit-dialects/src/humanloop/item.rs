//! The fields of one Humanloop feedback, in the spelling of any version.

use plaudit_event::{FieldError, ItemCode, Micros, Text};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::rating::Rating;
use crate::raw::{self, Kind};
use crate::sent::Entries;

/// One feedback as it was sent. `null` is the same as absent.
#[derive(Default)]
pub(super) struct Item<'a> {
    kind: Option<Named<Text<'a>>>,
    value: Option<Named<&'a RawValue>>,
    data_id: Option<Named<Text<'a>>>,
    user: Option<Text<'a>>,
    source: Option<Text<'a>>,
    created_at: Option<Micros>,
    unset: bool,
    /// Fields that the API does not document.
    extra: Vec<(Text<'a>, &'a RawValue)>,
    shown: Shown<'a>,
}

/// What was sent, with the name that this version has for it.
struct Named<T> {
    name: &'static str,
    content: T,
}

/// The names of the fields that versions spell differently, as they were sent.
#[derive(Clone, Copy)]
pub(super) struct Names {
    kind: &'static str,
    value: &'static str,
    data_id: &'static str,
}

/// The documented fields of a feedback, as the answer repeats them.
#[derive(Default)]
pub(super) struct Shown<'a>(Vec<(&'static str, &'a str)>);

/// The fields of the API.
const DOCUMENTED: [&str; 10] = [
    "type",
    "group",
    "value",
    "label",
    "text",
    "data_id",
    "log_id",
    "user",
    "created_at",
    "unset",
];

impl<'a> Item<'a> {
    pub(super) fn read(sent: &'a RawValue) -> Result<Self, FieldError> {
        let Some(Entries(entries)) = raw::entries(sent) else {
            return Err(FieldError::wrong_type("", "an object"));
        };
        let mut item = Self::default();
        for (name, sent) in entries {
            if raw::kind(sent) == Kind::Null || name == raw::SECRETS {
                continue;
            }
            match DOCUMENTED.into_iter().find(|known| name == *known) {
                Some(known) => {
                    item.set(known, sent)?;
                    item.shown.add(known, sent.get());
                }
                None => item.set_other(name, sent),
            }
        }
        Ok(item)
    }

    fn set(&mut self, name: &'static str, sent: &'a RawValue) -> Result<(), FieldError> {
        match name {
            "type" | "group" => Named::set(&mut self.kind, name, string(name, sent)?),
            "value" | "label" | "text" => Named::set(&mut self.value, name, value(name, sent)?),
            "data_id" | "log_id" => Named::set(&mut self.data_id, name, string(name, sent)?),
            "user" => {
                self.user = Some(string(name, sent)?).filter(|user| !user.is_empty());
                Ok(())
            }
            "created_at" => {
                self.created_at = Some(time(name, sent)?);
                Ok(())
            }
            _ => {
                let unset = raw::boolean(sent);
                self.unset = unset.ok_or_else(|| FieldError::wrong_type(name, "a boolean"))?;
                Ok(())
            }
        }
    }

    /// The first version has a source, and any version may be sent one.
    fn set_other(&mut self, name: Text<'a>, sent: &'a RawValue) {
        match raw::text(sent).filter(|text| name == "source" && !text.is_empty()) {
            Some(source) => {
                self.source = Some(source);
                self.shown.add("source", sent.get());
            }
            None => self.extra.push((name, sent)),
        }
    }

    /// The names that this feedback has for its fields.
    pub(super) fn names(&self) -> Names {
        let first = self.kind.as_ref().is_some_and(|kind| kind.name == "group");
        let (value, data_id) = if first {
            ("label", "log_id")
        } else {
            ("value", "data_id")
        };
        Names {
            kind: self.kind.as_ref().map_or("type", |kind| kind.name),
            value: self.value.as_ref().map_or(value, |value| value.name),
            data_id: self.data_id.as_ref().map_or(data_id, |id| id.name),
        }
    }

    /// What the feedback says, when it has all that it needs, and what the answer
    /// shows of it.
    pub(super) fn into_rating(self) -> Result<(Rating<'a>, Shown<'a>), FieldError> {
        let names = self.names();
        let required = |name| move || FieldError::missing(name);
        let rating = Rating {
            kind: self.kind.ok_or_else(required(names.kind))?.content,
            data_id: self.data_id.ok_or_else(required(names.data_id))?.content,
            value: self.value.map(|value| value.content),
            user: self.user,
            source: self.source,
            created_at: self.created_at,
            unset: self.unset,
            extra: self.extra,
        };
        if rating.value.is_none() && !(rating.unset && rating.is_single()) {
            return Err(FieldError::missing(names.value));
        }
        Ok((rating, self.shown))
    }
}

// === impl Named ===

impl<T> Named<T> {
    /// Two spellings of one field are two answers to one question.
    fn set(field: &mut Option<Self>, name: &'static str, content: T) -> Result<(), FieldError> {
        if let Some(other) = field.as_ref().filter(|other| other.name != name) {
            let message = format!("must not be given with {}", other.name);
            return Err(FieldError::new(ItemCode::OutOfRange, name, message));
        }
        *field = Some(Self { name, content });
        Ok(())
    }
}

// === impl Names ===

impl Names {
    /// The fault by the name that the field was sent by.
    pub(super) fn as_sent(self, error: FieldError) -> FieldError {
        let field = match &*error.field {
            "metric" => self.kind,
            "value" | "comment" | "correction" => self.value,
            "trace_id" | "target.id" => self.data_id,
            "rater" => "user",
            "source.kind" => "source",
            _ => return error,
        };
        FieldError {
            field: field.into(),
            ..error
        }
    }
}

// === impl Shown ===

impl<'a> Shown<'a> {
    /// The last one counts, as it does in the event.
    fn add(&mut self, name: &'static str, json: &'a str) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, json));
    }

    /// The object with the id first. A client of the later versions wants a value
    /// also where none was sent.
    pub(super) fn with_id(mut self, id: Uuid) -> String {
        let has = |name| self.0.iter().any(|(known, _)| *known == name);
        if has("type") && !has("value") {
            self.0.push(("value", "null"));
        }
        let mut text = format!("{{\"id\":\"ann_{}\"", id.simple());
        for (name, json) in self.0 {
            text.extend([",\"", name, "\":", json]);
        }
        text.push('}');
        text
    }
}

// === what fields are read as ===

fn string<'a>(field: &'static str, sent: &'a RawValue) -> Result<Text<'a>, FieldError> {
    raw::text(sent).ok_or_else(|| FieldError::wrong_type(field, "a string"))
}

/// A text, a boolean, a number or a list.
fn value<'a>(field: &'static str, sent: &'a RawValue) -> Result<&'a RawValue, FieldError> {
    let readable = match raw::kind(sent) {
        Kind::Text => raw::text(sent).is_some(),
        Kind::Object => false,
        Kind::Null | Kind::Bool | Kind::Integer | Kind::Float | Kind::Array => true,
    };
    readable
        .then_some(sent)
        .ok_or_else(|| FieldError::wrong_type(field, "a string, a boolean, a number or a list"))
}

/// A time; one without an offset is in UTC.
fn time(field: &'static str, sent: &RawValue) -> Result<Micros, FieldError> {
    let text = raw::text(sent).unwrap_or_default();
    text.parse()
        .or_else(|_| format!("{text}Z").parse())
        .map_err(|_| FieldError::wrong_type(field, "an ISO 8601 time from 1900 to 2299"))
}
