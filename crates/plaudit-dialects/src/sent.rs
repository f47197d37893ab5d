//! Reads objects whose fields may each be wrong without the others being so.
//!
//! serde stops at the first value of another type, and with it the whole body
//! would be lost. Here such a value is skipped and noted: one pass over the
//! bytes gives every good item of a batch, and for each bad one the field that
//! is at fault. Only what is no JSON at all is an error.
//!
//! Text and JSON borrow from the body.

use std::fmt;
use std::marker::PhantomData;

use plaudit_event::{
    Edit, FieldError, ItemCode, Json, Micros, Tags, Target, TargetKind, Text, Value,
};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The fields of an object, as they come. Where a field is sent twice, the last
/// one counts.
pub(crate) struct Fields<A> {
    map: A,
    /// How many there have been.
    count: usize,
    /// The first fault.
    pub(crate) fault: Option<FieldError>,
}

/// What is wrong with the content of a field.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Another type or form.
    Type,
    /// A word that is not one of those.
    Range,
    /// Something inside it.
    Inside(FieldError),
}

/// What a field can be read as.
pub(crate) trait FromSent<'de>: Sized {
    /// Completes `must be`.
    const EXPECTED: &'static str;

    fn from_text(_: Text<'de>) -> Result<Self, Fault> {
        Err(Fault::Type)
    }

    fn from_bool(_: bool) -> Result<Self, Fault> {
        Err(Fault::Type)
    }

    /// The outer error is the JSON's.
    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        skip_object(map)?;
        Ok(Err(Fault::Type))
    }
}

/// More entries of an object than any that is taken has, and more elements of an array:
/// each is kept for a while in several times its own bytes.
pub const MAX_ENTRIES: usize = 1 << 16;

/// The longest name of an unknown field that an answer repeats, in characters.
const MAX_SHOWN_NAME: usize = 64;

// === impl Fields ===

impl<'de, A: MapAccess<'de>> Fields<A> {
    pub(crate) fn new(map: A) -> Self {
        Self {
            map,
            count: 0,
            fault: None,
        }
    }

    /// The next field's name.
    pub(crate) fn next(&mut self) -> Result<Option<Text<'de>>, A::Error> {
        bounded(&mut self.count)?;
        self.map.next_key()
    }

    /// The content of the field whose name was read last.
    pub(crate) fn read<T: FromSent<'de>>(
        &mut self,
        field: &'static str,
    ) -> Result<Edit<T>, A::Error> {
        let sent: Sent<T> = self.map.next_value()?;
        Ok(match sent.0 {
            Ok(edit) => edit,
            Err(fault) => {
                self.note(match fault {
                    Fault::Type => FieldError::wrong_type(field, T::EXPECTED),
                    Fault::Range => out_of_range(field, T::EXPECTED),
                    Fault::Inside(error) => error,
                });
                Edit::Keep
            }
        })
    }

    /// Any JSON but `null`, which clears.
    pub(crate) fn json(&mut self) -> Result<Edit<Json<'de>>, A::Error> {
        let json: Json<'de> = self.map.next_value()?;
        Ok(if json.is_null() {
            Edit::Clear
        } else {
            Edit::Set(json)
        })
    }

    /// A JSON object, kept as text.
    pub(crate) fn object(&mut self, field: &'static str) -> Result<Edit<Json<'de>>, A::Error> {
        let edit = self.json()?;
        if edit.as_set().is_some_and(|json| !json.is_object()) {
            self.note(FieldError::wrong_type(field, "an object"));
            return Ok(Edit::Keep);
        }
        Ok(edit)
    }

    /// A value of any type.
    pub(crate) fn value(&mut self) -> Result<Edit<Value<'de>>, A::Error> {
        let json: Json<'de> = self.map.next_value()?;
        Ok(Edit::from(Value::from_json(json)))
    }

    /// Any JSON but `null`, as it stands in the body.
    pub(crate) fn raw(&mut self) -> Result<Option<&'de RawValue>, A::Error> {
        let raw: &'de RawValue = self.map.next_value()?;
        Ok(Some(raw).filter(|raw| raw.get() != "null"))
    }

    /// A number. One that is too large for an `f64` reads as infinite: it is for
    /// the limits to refuse, and no reason to call the body no JSON.
    pub(crate) fn number(&mut self, field: &'static str) -> Result<Edit<f64>, A::Error> {
        let json: Json<'de> = self.map.next_value()?;
        if json.is_null() {
            return Ok(Edit::Clear);
        }
        Ok(match number(&json) {
            Some(number) => Edit::Set(number),
            None => {
                self.note(FieldError::wrong_type(field, "a number"));
                Edit::Keep
            }
        })
    }

    /// Skips the content of a field that the object does not have. `path` is
    /// what stands before the name, such as `target.`.
    pub(crate) fn unknown(&mut self, path: &str, name: &str) -> Result<(), A::Error> {
        self.map.next_value::<IgnoredAny>()?;
        let shown: String = name.chars().take(MAX_SHOWN_NAME).collect();
        self.note(FieldError::new(
            ItemCode::UnknownField,
            format!("{path}{shown}"),
            "is not a field here",
        ));
        Ok(())
    }

    fn note(&mut self, error: FieldError) {
        self.fault.get_or_insert(error);
    }
}

/// What was sent for a field, where `null` is the same as nothing.
pub(crate) fn content<T>(edit: Edit<T>) -> Option<T> {
    match edit {
        Edit::Set(content) => Some(content),
        Edit::Keep | Edit::Clear => None,
    }
}

pub(crate) fn out_of_range(field: &'static str, expected: &str) -> FieldError {
    FieldError::new(ItemCode::OutOfRange, field, format!("must be {expected}"))
}

/// The number that a JSON value is.
pub(crate) fn number(json: &Json<'_>) -> Option<f64> {
    let text = json.get();
    // `f64` would also read `inf` and `nan`, but those are no JSON.
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Counts an entry.
///
/// # Errors
/// When there have been too many.
fn bounded<E: Error>(count: &mut usize) -> Result<(), E> {
    *count += 1;
    if *count > MAX_ENTRIES {
        return Err(E::custom("an object has too many fields"));
    }
    Ok(())
}

fn skip_object<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

// === the entries of an object ===

/// The entries of an object whose keys are the client's own, in order.
pub(crate) struct Entries<'a>(pub(crate) Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                let mut count = 0;
                while let Some(entry) = map.next_entry()? {
                    bounded(&mut count)?;
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

// === the elements of an array ===

/// The elements of an array, in order; of too many only the first, and these are more
/// than a request may have.
pub(crate) struct Elements<'a>(pub(crate) Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;

        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Vec::new();
                while elements.len() < MAX_ENTRIES {
                    match seq.next_element()? {
                        Some(element) => elements.push(element),
                        None => return Ok(Elements(elements)),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Elements(elements))
            }
        }

        deserializer.deserialize_seq(ElementsVisitor)
    }
}

// === what was sent for one field ===

/// What was sent in one place: absent content, content, or what is wrong with it.
pub(crate) struct Sent<T>(pub(crate) Result<Edit<T>, Fault>);

impl<'de, T: FromSent<'de>> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SentVisitor(PhantomData))
    }
}

struct SentVisitor<T>(PhantomData<T>);

impl<'de, T: FromSent<'de>> Visitor<'de> for SentVisitor<T> {
    type Value = Sent<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Sent<T>, E> {
        Ok(Sent(Ok(Edit::Clear)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Sent<T>, E> {
        Ok(Sent(T::from_text(text.into()).map(Edit::Set)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Sent<T>, E> {
        Ok(Sent(T::from_text(text.to_owned().into()).map(Edit::Set)))
    }

    fn visit_bool<E>(self, boolean: bool) -> Result<Sent<T>, E> {
        Ok(Sent(T::from_bool(boolean).map(Edit::Set)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sent<T>, A::Error> {
        Ok(Sent(T::from_object(map)?.map(Edit::Set)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sent<T>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Sent(Err(Fault::Type)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sent<T>, E> {
        Ok(Sent(Err(Fault::Type)))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sent<T>, E> {
        Ok(Sent(Err(Fault::Type)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sent<T>, E> {
        Ok(Sent(Err(Fault::Type)))
    }
}

// === what fields are read as ===

impl<'de> FromSent<'de> for Text<'de> {
    const EXPECTED: &'static str = "a string";

    fn from_text(text: Text<'de>) -> Result<Self, Fault> {
        Ok(text)
    }
}

impl FromSent<'_> for bool {
    const EXPECTED: &'static str = "a boolean";

    fn from_bool(boolean: bool) -> Result<Self, Fault> {
        Ok(boolean)
    }
}

impl FromSent<'_> for Uuid {
    const EXPECTED: &'static str = "a UUID";

    fn from_text(text: Text<'_>) -> Result<Self, Fault> {
        Uuid::try_parse(&text).map_err(|_| Fault::Type)
    }
}

impl FromSent<'_> for Micros {
    const EXPECTED: &'static str = "an RFC 3339 time with an offset, from 1900 to 2299";

    fn from_text(text: Text<'_>) -> Result<Self, Fault> {
        text.parse().map_err(|_| Fault::Type)
    }
}

impl FromSent<'_> for TargetKind {
    const EXPECTED: &'static str = "trace, run, inference, episode, datapoint, evaluation_result, \
                                    evaluation_sample, project or experiment";

    fn from_text(text: Text<'_>) -> Result<Self, Fault> {
        text.parse().map_err(|_| Fault::Range)
    }
}

impl<'de> FromSent<'de> for Tags<'de> {
    const EXPECTED: &'static str = "an object of strings";

    fn from_object<A: MapAccess<'de>>(mut map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut pairs = Ok(Vec::new());
        let mut count = 0;
        while let Some((key, Sent(text))) = map.next_entry::<Text<'de>, Sent<Text<'de>>>()? {
            bounded(&mut count)?;
            match (&mut pairs, text) {
                (Ok(pairs), Ok(Edit::Set(text))) => pairs.push((key, text)),
                // The key is the client's own: it is not repeated.
                _ => pairs = Err(Fault::Type),
            }
        }
        Ok(pairs.map(Tags::from))
    }
}

impl<'de> FromSent<'de> for Target<'de> {
    const EXPECTED: &'static str = "an object with kind and id";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let (mut kind, mut id) = (Edit::Keep, Edit::Keep);
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "kind" => kind = fields.read("target.kind")?,
                "id" => id = fields.read("target.id")?,
                name => fields.unknown("target.", name)?,
            }
        }
        Ok(match (fields.fault, kind, id) {
            (Some(error), _, _) => Err(Fault::Inside(error)),
            (None, Edit::Set(kind), Edit::Set(id)) => Ok(Target { kind, id }),
            (None, Edit::Set(_), _) => Err(Fault::Inside(FieldError::missing("target.id"))),
            (None, _, _) => Err(Fault::Inside(FieldError::missing("target.kind"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object, and an array, of so many.
    fn of(count: usize) -> [String; 2] {
        let fields: Vec<_> = (0..count)
            .map(|number| format!(r#""{number}":"""#))
            .collect();
        [
            format!("{{{}}}", fields.join(",")),
            format!("[{}]", vec!["0"; count].join(",")),
        ]
    }

    #[test]
    fn p5_an_object_with_too_many_fields_is_refused_before_all_are_kept() {
        let [most, _] = of(MAX_ENTRIES);
        let [more, _] = of(MAX_ENTRIES + 1);
        let entries = |text: &str| serde_json::from_str::<Entries<'_>>(text).map(|all| all.0.len());
        assert_eq!(entries(&most).unwrap(), MAX_ENTRIES);
        assert!(entries(&more).is_err());
        let tags =
            |text: &str| serde_json::from_str::<Sent<Tags<'_>>>(text).map(|all| all.0.is_ok());
        assert!(tags(&most).unwrap());
        assert!(tags(&more).is_err());
    }

    #[test]
    fn p5_of_an_array_with_too_many_elements_enough_are_kept_to_tell() {
        let elements =
            |text: &str| serde_json::from_str::<Elements<'_>>(text).map(|all| all.0.len());
        for (count, kept) in [(0, 0), (3, 3), (MAX_ENTRIES + 9, MAX_ENTRIES)] {
            let [_, array] = of(count);
            assert_eq!(elements(&array).unwrap(), kept);
        }
        assert!(elements("[0,").is_err());
    }
}
