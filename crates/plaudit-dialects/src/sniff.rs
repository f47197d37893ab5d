//! Which keys a body has, and which client a request, where the path does not tell
//! whose it is.
//!
//! The root is shared, and the native API must not pay for its neighbours: a
//! key is looked for as bytes first, and the JSON is read only where they occur.

use std::fmt;

use http::HeaderMap;
use http::header::USER_AGENT;
use memchr::memmem;
use plaudit_event::Text;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Whether the client names itself so, at the start.
pub(crate) fn is_made_by(headers: &HeaderMap, client: &str) -> bool {
    headers
        .get(USER_AGENT)
        .is_some_and(|agent| agent.as_bytes().starts_with(client.as_bytes()))
}

/// Whether the object that the body is, or the first of the array that it is, has
/// one of these keys. What is no JSON has none.
pub(crate) fn has_any_key(body: &[u8], keys: &[&str]) -> bool {
    if !keys.iter().any(|key| occurs(body, key)) {
        return false;
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut found = false;
    let keys = Keys {
        keys,
        found: &mut found,
        in_array: false,
    };
    // What is wrong with the JSON is for the vendor's parser to say.
    keys.deserialize(&mut json).unwrap_or_default();
    found
}

/// Whether the body has the key between quotes, wherever that is.
fn occurs(body: &[u8], key: &str) -> bool {
    memmem::find_iter(body, key).any(|at| {
        let before = at.checked_sub(1).and_then(|before| body.get(before));
        before == Some(&b'"') && body.get(at + key.len()) == Some(&b'"')
    })
}

struct Keys<'k> {
    keys: &'k [&'k str],
    found: &'k mut bool,
    in_array: bool,
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if self.keys.contains(&name.as_str()) {
                *self.found = true;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.in_array {
            return Ok(());
        }
        seq.next_element_seed(Self {
            in_array: true,
            ..self
        })?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_count_at_the_top_and_nowhere_else() {
        let keys = ["group", "key"];
        for (body, found) in [
            (r#"{"group":1}"#, true),
            (r#"{"a":{"group":1},"key":null}"#, true),
            (r#"[{"key":1},{}]"#, true),
            (r#"{"k\u0065y":1, "b":"\"key\""}"#, false),
            (r#"[{},{"key":1}]"#, false),
            (r#"[[{"key":1}]]"#, false),
            (r#"{"a":{"group":1}}"#, false),
            (r#"{"a":"group"}"#, false),
            (r#""group""#, false),
            (r#"{"key":1,"#, true),
            ("\"key\"{", false),
            ("", false),
        ] {
            assert_eq!(has_any_key(body.as_bytes(), &keys), found, "{body}");
        }
    }
}
