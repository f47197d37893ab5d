//! The fields of one LangSmith feedback, as its clients send them.
//!
//! `null` is the same as absent: batched feedback has every field. Ids are UUIDs
//! in any spelling and kept in one. Times may lack their offset and are UTC then.

use plaudit_event::{Edit, FieldError, Json, Micros, Text, Value, ValueType};
use serde::de::MapAccess;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::raw::SECRETS;
use crate::sent::{Fault, Fields, FromSent, content};

/// What one feedback says, before it is known to make sense. On the heap: it is handed
/// on through several layers, each of which would copy most of a kilobyte.
#[derive(Default)]
pub(super) struct Item<'a> {
    /// The first field that is wrong by itself.
    pub(super) fault: Option<FieldError>,
    pub(super) id: Option<Uuid>,
    pub(super) key: Option<Text<'a>>,
    pub(super) run_id: Option<Id<'a>>,
    pub(super) trace_id: Option<Id<'a>>,
    pub(super) session_id: Option<Id<'a>>,
    pub(super) group_id: Option<Id<'a>>,
    pub(super) experiment_id: Option<Id<'a>>,
    pub(super) score: Option<Value<'a>>,
    pub(super) value: Option<Value<'a>>,
    pub(super) comment: Option<Text<'a>>,
    pub(super) correction: Option<Json<'a>>,
    pub(super) source: Option<SentSource<'a>>,
    pub(super) created_at: Option<Time>,
    pub(super) modified_at: Option<Time>,
    /// The content of `extra`, which is in `rest` too.
    pub(super) extra: Option<&'a RawValue>,
    /// How to read the key's scores; in `rest` too.
    pub(super) config: Option<&'a RawValue>,
    /// Every other field.
    pub(super) rest: Vec<(Text<'a>, &'a RawValue)>,
}

/// Where a feedback says that it comes from.
#[derive(Default)]
pub(super) struct SentSource<'a> {
    pub(super) kind: Option<Text<'a>>,
    pub(super) metadata: Option<&'a RawValue>,
    pub(super) user_id: Option<Text<'a>>,
    /// Every other field.
    pub(super) rest: Vec<(Text<'a>, &'a RawValue)>,
}

/// What a change says. A field that was not sent is kept.
#[derive(Default)]
pub(super) struct Change<'a> {
    pub(super) fault: Option<FieldError>,
    pub(super) score: Edit<Value<'a>>,
    pub(super) value: Edit<Value<'a>>,
    pub(super) comment: Edit<Text<'a>>,
    pub(super) correction: Edit<Json<'a>>,
}

/// A UUID in its usual spelling.
#[derive(Clone)]
pub(super) struct Id<'a>(pub(super) Text<'a>);

/// A time with an offset or without one.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) Micros);

// === impl Item ===

impl Item<'_> {
    /// The item, when no field of it is wrong by itself.
    pub(super) fn checked(mut self: Box<Self>) -> Result<Box<Self>, FieldError> {
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(self),
        }
    }
}

impl<'de> FromSent<'de> for Box<Item<'de>> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut item = Self::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "id" => item.id = content(fields.read("id")?),
                "key" => item.key = content(fields.read("key")?),
                "run_id" => item.run_id = content(fields.read("run_id")?),
                "trace_id" => item.trace_id = content(fields.read("trace_id")?),
                "session_id" => item.session_id = content(fields.read("session_id")?),
                "feedback_group_id" => {
                    item.group_id = content(fields.read("feedback_group_id")?);
                }
                "comparative_experiment_id" => {
                    item.experiment_id = content(fields.read("comparative_experiment_id")?);
                }
                "score" => item.score = content(score(&mut fields)?),
                "value" => item.value = content(fields.value()?),
                "comment" => item.comment = content(fields.read("comment")?),
                "correction" => item.correction = content(fields.json()?),
                "feedback_source" => item.source = content(fields.read("feedback_source")?),
                "created_at" => item.created_at = content(fields.read("created_at")?),
                "modified_at" => item.modified_at = content(fields.read("modified_at")?),
                SECRETS => drop(fields.raw()?),
                _ => {
                    let raw = fields.raw()?;
                    match name.as_str() {
                        "extra" => item.extra = raw,
                        "feedback_config" | "feedbackConfig" => item.config = raw,
                        _ => {}
                    }
                    item.rest.extend(raw.map(|raw| (name, raw)));
                }
            }
        }
        item.fault = fields.fault;
        Ok(Ok(item))
    }
}

impl<'de> FromSent<'de> for SentSource<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut source = SentSource::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "type" => source.kind = content(fields.read("feedback_source.type")?),
                "user_id" => source.user_id = content(fields.read("feedback_source.user_id")?),
                "metadata" => source.metadata = object(&mut fields, "feedback_source.metadata")?,
                _ => {
                    let raw = fields.raw()?;
                    source.rest.extend(raw.map(|raw| (name, raw)));
                }
            }
        }
        Ok(match fields.fault {
            Some(error) => Err(Fault::Inside(error)),
            None => Ok(source),
        })
    }
}

impl<'de> FromSent<'de> for Change<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut change = Change::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "score" => change.score = score(&mut fields)?,
                "value" => change.value = fields.value()?,
                "comment" => change.comment = fields.read("comment")?,
                "correction" => change.correction = fields.json()?,
                _ => drop(fields.raw()?),
            }
        }
        change.fault = fields.fault;
        Ok(Ok(change))
    }
}

// === what fields are read as ===

impl<'de> FromSent<'de> for Id<'de> {
    const EXPECTED: &'static str = "a UUID";

    fn from_text(text: Text<'de>) -> Result<Self, Fault> {
        Self::parse(text).ok_or(Fault::Type)
    }
}

impl<'a> Id<'a> {
    /// The id that a text names.
    pub(super) fn parse(text: Text<'a>) -> Option<Self> {
        // As all clients send it: nothing is copied.
        if is_usual(&text) {
            return Some(Self(text));
        }
        let id = Uuid::try_parse(&text).ok()?;
        Some(Self(id.to_string().into()))
    }
}

/// Whether it is a UUID in its usual spelling.
fn is_usual(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

impl FromSent<'_> for Time {
    const EXPECTED: &'static str = "a time in ISO 8601, from 1900 to 2299";

    fn from_text(text: Text<'_>) -> Result<Self, Fault> {
        Self::parse(&text).ok_or(Fault::Type)
    }
}

impl Time {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let time = text.parse().or_else(|_| format!("{text}Z").parse());
        time.ok().map(Self)
    }
}

/// A number or a boolean, which are not the same.
pub(super) fn score<'de, A: MapAccess<'de>>(
    fields: &mut Fields<A>,
) -> Result<Edit<Value<'de>>, A::Error> {
    let edit = fields.value()?;
    let kind = edit.as_set().map(Value::kind);
    if matches!(kind, Some(ValueType::Text | ValueType::Json)) {
        let error = FieldError::wrong_type("score", "a number or a boolean");
        fields.fault.get_or_insert(error);
        return Ok(Edit::Keep);
    }
    Ok(edit)
}

/// An object as it stands in the body.
pub(super) fn object<'de, A: MapAccess<'de>>(
    fields: &mut Fields<A>,
    field: &'static str,
) -> Result<Option<&'de RawValue>, A::Error> {
    let raw = fields.raw()?;
    if raw.is_some_and(|raw| !raw.get().starts_with('{')) {
        let error = FieldError::wrong_type(field, "an object");
        fields.fault.get_or_insert(error);
        return Ok(None);
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let usual = "0196c682-72e0-7c83-a92b-9d1a3c7630f2";
        let kept = |text: &str| Id::parse(text.to_owned().into()).map(|id| id.0.to_string());
        for text in [
            usual,
            &usual.to_uppercase(),
            &usual.replace('-', ""),
            &format!("{{{usual}}}"),
        ] {
            assert_eq!(kept(text).as_deref(), Some(usual), "{text}");
        }
        for text in ["", "x", &usual.replace('c', "g"), &usual.replace('-', "0")] {
            assert_eq!(kept(text), None, "{text}");
        }
    }
}
