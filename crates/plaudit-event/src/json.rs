//! JSON kept as the text it arrived in.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// One JSON value as text: valid, and never parsed into a tree.
///
/// What a client sent in `metadata` or `correction` reaches the table as the
/// same characters, so key order, duplicate keys and the spelling of numbers
/// survive.
#[derive(Clone)]
pub struct Json<'a>(Cow<'a, RawValue>);

/// The text is not one JSON value.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON value")]
pub struct NotJson(#[source] serde_json::Error);

impl<'a> Json<'a> {
    /// Checks that `text` is one JSON value and keeps it.
    ///
    /// # Errors
    /// [`NotJson`] when it is not.
    pub fn parse(text: &'a str) -> Result<Self, NotJson> {
        let raw: &RawValue = serde_json::from_str(text).map_err(NotJson)?;
        Ok(Self(Cow::Borrowed(raw)))
    }

    /// Checks that `text` is one JSON value and keeps it, without a copy.
    ///
    /// # Errors
    /// [`NotJson`] when it is not.
    pub fn from_text(text: String) -> Result<Json<'static>, NotJson> {
        let raw = RawValue::from_string(text).map_err(NotJson)?;
        Ok(Json(Cow::Owned(raw)))
    }

    /// Writes any serialisable value as JSON text.
    ///
    /// # Errors
    /// [`NotJson`] for what JSON cannot hold, such as a map with keys that are
    /// not strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Json<'static>, NotJson> {
        let raw = serde_json::value::to_raw_value(value).map_err(NotJson)?;
        Ok(Json(Cow::Owned(raw)))
    }

    /// The JSON text, without white space around it.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Detaches the value from the bytes it borrows.
    pub fn into_owned(self) -> Json<'static> {
        Json(Cow::Owned(self.0.into_owned()))
    }

    /// The first byte, which tells a JSON value's type.
    pub(crate) fn first_byte(&self) -> u8 {
        self.get().as_bytes().first().copied().unwrap_or(b'n')
    }

    /// Whether this is JSON's `null`.
    pub fn is_null(&self) -> bool {
        self.first_byte() == b'n'
    }

    /// Whether this is a JSON object.
    pub fn is_object(&self) -> bool {
        self.first_byte() == b'{'
    }

    /// How deep arrays and objects nest: 0 for a scalar, 1 for `[]`.
    pub fn depth(&self) -> usize {
        let (mut depth, mut deepest) = (0_usize, 0_usize);
        let (mut in_string, mut escaped) = (false, false);
        for byte in self.get().bytes() {
            if in_string {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'[' | b'{' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                // The text is valid JSON, so this cannot go below zero.
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        deepest
    }
}

/// What was read as one JSON value is not read again.
impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(Cow::Borrowed(raw))
    }
}

impl PartialEq for Json<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: &'de RawValue = Deserialize::deserialize(deserializer)?;
        Ok(Self(Cow::Borrowed(raw)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_text() {
        let text = r#"{"b":1.50,"a":[1e2,"\u00e9"]}"#;
        assert_eq!(Json::parse(text).unwrap().get(), text);
        assert!(Json::parse("{").is_err());
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        let depth = |text| Json::parse(text).unwrap().depth();
        assert_eq!(depth("1"), 0);
        assert_eq!(depth("[]"), 1);
        assert_eq!(depth(r#"{"a":[{"b":"]]]{{{\"["}]}"#), 3);
    }
}
