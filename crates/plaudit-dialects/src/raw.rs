//! What a JSON value of a body is, told by its text.
//!
//! For vendors whose faults name what was sent where something else belongs:
//! each field is kept as text first, and read as what it should be afterwards.

use plaudit_event::{Json, Text};
use serde_json::value::RawValue;

use crate::json::Object;
use crate::sent::{Elements, Entries};

/// Where some clients put their users' keys for model providers. No dialect keeps it,
/// also those whose clients never send it: a request may be taken for another's.
pub(crate) const SECRETS: &str = "provider_api_keys";

/// The kinds of JSON values. A number's is told by its spelling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Integer,
    Float,
    Text,
    Array,
    Object,
}

/// The kind of a value.
pub(crate) fn kind(raw: &RawValue) -> Kind {
    let text = raw.get();
    match text.bytes().next() {
        Some(b'n') | None => Kind::Null,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'"') => Kind::Text,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        Some(_) if text.contains(['.', 'e', 'E']) => Kind::Float,
        Some(_) => Kind::Integer,
    }
}

/// The text of a string; `None` for other kinds, and for a string that is no
/// Unicode (a lone surrogate).
pub(crate) fn text(raw: &RawValue) -> Option<Text<'_>> {
    serde_json::from_str(raw.get()).ok()
}

/// The boolean.
pub(crate) fn boolean(raw: &RawValue) -> Option<bool> {
    match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The entries of an object, in order; `None` for other kinds, and for an object
/// with a key that is no Unicode.
pub(crate) fn entries(raw: &RawValue) -> Option<Entries<'_>> {
    serde_json::from_str(raw.get()).ok()
}

/// The elements of an array; `None` for other kinds.
pub(crate) fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    let elements: Elements<'_> = serde_json::from_str(raw.get()).ok()?;
    Some(elements.0)
}

/// An object of entries, for `metadata`; `None` when there are none.
pub(crate) fn object<'e>(
    entries: impl IntoIterator<Item = (&'e str, &'e str)>,
) -> Option<Json<'static>> {
    Object::of(entries).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_by_the_spelling() {
        for (json, expected) in [
            ("null", Kind::Null),
            ("false", Kind::Bool),
            ("-1", Kind::Integer),
            ("1e2", Kind::Float),
            ("1.0", Kind::Float),
            (r#""1""#, Kind::Text),
            (" [1]", Kind::Array),
            ("{}", Kind::Object),
        ] {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(kind(raw), expected, "{json}");
        }
    }

    #[test]
    fn an_object_has_its_entries_as_they_were() {
        let json = object([("a\"", "1.50"), ("b", "{\"c\": null}")]).unwrap();
        assert_eq!(json.get(), r#"{"a\"":1.50,"b":{"c": null}}"#);
        assert!(object([]).is_none());
    }
}
