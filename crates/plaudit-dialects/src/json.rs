//! JSON that is written, as text.

use plaudit_event::Json;
use serde::Serialize;

/// A JSON object, written entry by entry.
#[derive(Default)]
pub(crate) struct Object(String);

/// The text of a value.
///
/// Straight into one buffer: a `serde_json::Value`'s own `to_string` goes through the
/// formatter piece by piece, which costs three times as much.
pub(crate) fn written<T: Serialize + ?Sized>(value: &T) -> String {
    // Fails for a map whose keys are no strings, and nobody writes one.
    serde_json::to_string(value).unwrap_or_default()
}

// === impl Object ===

impl Object {
    /// An object of entries; see [`push`](Self::push).
    pub(crate) fn of<'e>(entries: impl IntoIterator<Item = (&'e str, &'e str)>) -> Self {
        let mut object = Self::default();
        for (name, json) in entries {
            object.push(name, json);
        }
        object
    }

    /// Adds an entry; `json` is one JSON value.
    pub(crate) fn push(&mut self, name: &str, json: &str) {
        self.0.reserve(name.len() + json.len() + r#"{"":}"#.len());
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        if name.bytes().all(is_plain) {
            self.0.push('"');
            self.0.push_str(name);
            self.0.push('"');
        } else {
            self.0.push_str(&written(name));
        }
        self.0.push(':');
        self.0.push_str(json);
    }

    /// The text of the object; `None` when it has no entry.
    pub(crate) fn text(mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push('}');
        Some(self.0)
    }

    /// The object; `None` when it has no entry.
    pub(crate) fn finish(self) -> Option<Json<'static>> {
        Json::from_text(self.text()?).ok()
    }
}

/// Whether a string may have this byte as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_where_they_have_to_be() {
        let mut object = Object::default();
        for (name, json) in [("a b", "1"), ("\"\\\n", "[]"), ("é", "null")] {
            object.push(name, json);
        }
        let json = object.finish().unwrap();
        assert_eq!(json.get(), "{\"a b\":1,\"\\\"\\\\\\n\":[],\"é\":null}");
        assert!(Object::default().finish().is_none());
    }
}
