//! What a person or a program said: a thumb, a number, a word, a document.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Json, Text};

/// The type of a [`Value`], as the column `value_type` names it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ValueType {
    /// `true` or `false`: kept apart from 1 and 0.
    Bool,
    /// A number written without fraction or exponent.
    Int,
    /// Any other number.
    Float,
    /// A string.
    Text,
    /// An array or an object.
    Json,
}

impl ValueType {
    /// The public name, in the column and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// A feedback's value: its type and the JSON text it arrived as.
#[derive(Clone, Debug, PartialEq)]
pub struct Value<'a> {
    kind: ValueType,
    raw: Json<'a>,
}

impl<'a> Value<'a> {
    /// Reads a JSON value; `null` is no value.
    pub fn from_json(raw: Json<'a>) -> Option<Self> {
        let kind = match raw.first_byte() {
            b'n' => return None,
            b't' | b'f' => ValueType::Bool,
            b'"' => ValueType::Text,
            b'[' | b'{' => ValueType::Json,
            _ if raw.get().contains(['.', 'e', 'E']) => ValueType::Float,
            _ => ValueType::Int,
        };
        Some(Self { kind, raw })
    }

    /// A value from anything that serialises to JSON, such as `true` or `"good"`.
    ///
    /// `None` for what is `null` in JSON, such as a NaN.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Option<Value<'static>> {
        Value::from_json(Json::of(value).ok()?)
    }

    /// The type.
    pub fn kind(&self) -> ValueType {
        self.kind
    }

    /// The JSON text, which is what the column `value` holds.
    pub fn json(&self) -> &str {
        self.raw.get()
    }

    /// The text of a [`ValueType::Text`]; `None` for other types, and for a
    /// string that is no Unicode (a lone surrogate).
    pub fn as_text(&self) -> Option<Text<'_>> {
        match self.kind {
            ValueType::Text => serde_json::from_str(self.raw.get()).ok(),
            _ => None,
        }
    }

    /// The boolean of a [`ValueType::Bool`].
    pub fn as_bool(&self) -> Option<bool> {
        match self.kind {
            ValueType::Bool => Some(self.raw.first_byte() == b't'),
            _ => None,
        }
    }

    /// The numeric reading: 0 or 1 for a bool, the number for a number, none
    /// for text and JSON.
    ///
    /// A number too large for an `f64` reads as infinite, which
    /// [`Limits`](crate::Limits) refuses.
    pub fn reading(&self) -> Option<f64> {
        match self.kind {
            ValueType::Bool => Some(f64::from(u8::from(self.raw.first_byte() == b't'))),
            ValueType::Int | ValueType::Float => self.raw.get().parse().ok(),
            ValueType::Text | ValueType::Json => None,
        }
    }

    /// Detaches the value from the bytes it borrows.
    pub fn into_owned(self) -> Value<'static> {
        Value {
            kind: self.kind,
            raw: self.raw.into_owned(),
        }
    }

    pub(crate) fn raw(&self) -> &Json<'a> {
        &self.raw
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(Json::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("value is null"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value<'_> {
        Value::from_json(Json::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn the_type_is_told_by_the_spelling() {
        for (text, kind, reading) in [
            ("true", ValueType::Bool, Some(1.0)),
            ("false", ValueType::Bool, Some(0.0)),
            ("-10", ValueType::Int, Some(-10.0)),
            ("1.0", ValueType::Float, Some(1.0)),
            ("1e2", ValueType::Float, Some(100.0)),
            (r#""good""#, ValueType::Text, None),
            ("[1]", ValueType::Json, None),
        ] {
            assert_eq!(value(text).kind(), kind, "{text}");
            assert_eq!(value(text).reading(), reading, "{text}");
            assert_eq!(value(text).json(), text);
        }
        assert!(Value::from_json(Json::parse("null").unwrap()).is_none());
        assert!(Value::of(&f64::NAN).is_none());
    }

    #[test]
    fn text_is_unescaped_and_a_lone_surrogate_is_none() {
        assert_eq!(value(r#""a\"b""#).as_text().unwrap(), "a\"b");
        assert!(value(r#""\ud800""#).as_text().is_none());
    }
}
