//! The fields of a TensorZero feedback, read as the gateway reads them.
//!
//! The gateway parses the whole body first and looks at the fields then, in the
//! order in which they were sent. So does this, without building a tree: only a
//! body that is no JSON is parsed a second time, for the words that say where.

use std::fmt;

use plaudit_event::{Tags, Text};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Denied;
use crate::raw::{self, Kind};
use crate::sent::Entries;

/// One feedback.
pub(super) struct Params<'a> {
    pub(super) episode_id: Option<Uuid>,
    pub(super) inference_id: Option<Uuid>,
    pub(super) metric_name: Text<'a>,
    pub(super) value: &'a RawValue,
    pub(super) internal: bool,
    pub(super) tags: Tags<'a>,
    pub(super) dryrun: bool,
}

/// The longest name that an answer repeats, in characters.
const MAX_SHOWN_NAME: usize = 256;

impl<'a> Params<'a> {
    /// Reads a body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Denied> {
        let not_json = || syntax(body);
        let text = std::str::from_utf8(body).map_err(|_| not_json())?;
        let Ok(Entries(entries)) = serde_json::from_str(text) else {
            return Err(no_object(body));
        };
        let (mut episode_id, mut inference_id, mut dryrun) = (None, None, None);
        let (mut metric_name, mut value) = (None, None);
        let (mut internal, mut tags) = (false, Tags::default());
        for (name, sent) in entries {
            match name.as_str() {
                "episode_id" => episode_id = optional(sent, |sent| id(&name, sent, body))?,
                "inference_id" => inference_id = optional(sent, |sent| id(&name, sent, body))?,
                "metric_name" => metric_name = Some(string(&name, sent, body)?),
                "value" => value = Some(sent),
                "internal" => internal = boolean(&name, sent)?,
                "tags" => tags = string_map(&name, sent, body)?,
                "dryrun" => dryrun = optional(sent, |sent| boolean(&name, sent))?,
                name => return Err(unknown(name)),
            }
        }
        if value.is_some_and(|value| !is_readable(value)) {
            return Err(not_json());
        }
        Ok(Self {
            episode_id,
            inference_id,
            metric_name: metric_name.ok_or_else(|| missing("metric_name"))?,
            value: value.ok_or_else(|| missing("value"))?,
            internal,
            tags,
            dryrun: dryrun.unwrap_or(false),
        })
    }
}

/// A name as answers repeat it.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(MAX_SHOWN_NAME).collect()
}

// === what fields are read as ===

fn optional<'a, T>(
    sent: &'a RawValue,
    read: impl FnOnce(&'a RawValue) -> Result<T, Denied>,
) -> Result<Option<T>, Denied> {
    match raw::kind(sent) {
        Kind::Null => Ok(None),
        _ => read(sent).map(Some),
    }
}

fn id(name: &str, sent: &RawValue, body: &[u8]) -> Result<Uuid, Denied> {
    if raw::kind(sent) != Kind::Text {
        return Err(wrong_type(name, sent, "a formatted UUID string"));
    }
    let text = raw::text(sent).ok_or_else(|| syntax(body))?;
    Uuid::parse_str(&text)
        .map_err(|error| Denied::bad_request(format!("{name}: UUID parsing failed: {error}")))
}

fn string<'a>(name: &str, sent: &'a RawValue, body: &[u8]) -> Result<Text<'a>, Denied> {
    if raw::kind(sent) != Kind::Text {
        return Err(wrong_type(name, sent, "a string"));
    }
    raw::text(sent).ok_or_else(|| syntax(body))
}

fn boolean(name: &str, sent: &RawValue) -> Result<bool, Denied> {
    raw::boolean(sent).ok_or_else(|| wrong_type(name, sent, "a boolean"))
}

fn string_map<'a>(name: &str, sent: &'a RawValue, body: &[u8]) -> Result<Tags<'a>, Denied> {
    if raw::kind(sent) != Kind::Object {
        return Err(wrong_type(name, sent, "a map"));
    }
    let Entries(entries) = raw::entries(sent).ok_or_else(|| syntax(body))?;
    let mut pairs = Vec::with_capacity(entries.len());
    for (key, sent) in entries {
        let text = match raw::kind(sent) {
            Kind::Text => string(&key, sent, body)?,
            _ => {
                return Err(wrong_type(
                    &format!("{name}.{}", shown(&key)),
                    sent,
                    "a string",
                ));
            }
        };
        pairs.push((key, text));
    }
    Ok(pairs.into())
}

/// Whether the gateway's parser would call this JSON too: it takes no number that
/// an `f64` does not hold, and no string that is no Unicode.
fn is_readable(sent: &RawValue) -> bool {
    match raw::kind(sent) {
        Kind::Integer | Kind::Float => sent.get().parse().is_ok_and(f64::is_finite),
        Kind::Text => raw::text(sent).is_some(),
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => true,
    }
}

// === what is said of those that cannot be read ===

fn missing(name: &str) -> Denied {
    Denied::bad_request(format!("missing field `{name}`"))
}

fn unknown(name: &str) -> Denied {
    let name = shown(name);
    Denied::bad_request(format!(
        "{name}: unknown field `{name}`, expected one of `episode_id`, `inference_id`, \
         `metric_name`, `value`, `internal`, `tags`, `dryrun`"
    ))
}

/// The gateway shows the value too.
fn wrong_type(path: &str, sent: &RawValue, expected: &str) -> Denied {
    let sent = word(raw::kind(sent));
    Denied::bad_request(format!("{path}: invalid type: {sent}, expected {expected}"))
}

/// What serde calls a kind of value.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "boolean",
        Kind::Integer => "integer",
        Kind::Float => "floating point",
        Kind::Text => "string",
        Kind::Array => "sequence",
        Kind::Object => "map",
    }
}

/// What is wrong with a body that has no entries.
fn no_object(body: &[u8]) -> Denied {
    match serde_json::from_slice::<&RawValue>(body) {
        Ok(sent) if raw::kind(sent) != Kind::Object => Denied::bad_request(format!(
            "invalid type: {}, expected struct Params",
            word(raw::kind(sent))
        )),
        Ok(_) | Err(_) => syntax(body),
    }
}

/// A value that is read as far as anything is, and not kept: of one, serde_json's own
/// value takes many times its bytes.
struct Read;

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Read {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Text<'de>, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Says where a body stops being JSON.
fn syntax(body: &[u8]) -> Denied {
    let mut json = serde_json::Deserializer::from_slice(body);
    let fault = match serde_path_to_error::deserialize::<_, Read>(&mut json) {
        Ok(_) => json.end().err().map(|error| error.to_string()),
        Err(error) => Some(match place(error.path()) {
            Some(place) => format!("{place}: {}", error.inner()),
            None => error.inner().to_string(),
        }),
    };
    Denied::bad_request(format!(
        "Failed to parse the request body as JSON: {} (400 Bad Request)",
        fault.as_deref().unwrap_or("unexpected content")
    ))
}

/// Where the parser stopped, if it was in a field. What is inside a value is not
/// named.
fn place(path: &serde_path_to_error::Path) -> Option<String> {
    use serde_path_to_error::Segment;

    match path.iter().next() {
        Some(Segment::Map { key }) if key == "value" => Some("value".to_owned()),
        _ => Some(shown(&path.to_string())),
    }
    .filter(|place| !place.chars().all(|part| matches!(part, '.' | '?')))
}
