//! `PUT` and `DELETE /v1/metrics/{metric}`: declares a metric for a project while
//! Plaudit runs, in the words of the registry's file.
//!
//! A declaration holds for what comes after it, and reaches other intakes a moment
//! later. What the file declares stays as it is.

use http::StatusCode;
use plaudit_event::{
    Declaration, Edit, FieldError, ItemCode, Level, Metric, MetricType, Optimize, Text,
};
use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{IntoDeserializer, MapAccess};
use serde_json::json;
use serde_json::value::RawValue;

use super::item::required;
use crate::sent::{Fault, Fields, FromSent, Sent};
use crate::vendor::text;
use crate::{Answer, Call, Fates, Parsed, Refusal};

/// The most categories of one metric.
const MAX_CATEGORIES: usize = 1000;

/// What is said of a metric.
#[derive(Default)]
struct Sending {
    fault: Option<FieldError>,
    kind: Edit<Word<MetricType>>,
    level: Edit<Word<Level>>,
    min: Edit<f64>,
    max: Edit<f64>,
    categories: Edit<Vec<String>>,
    optimize: Edit<Word<Optimize>>,
    enforced: Edit<bool>,
}

/// One of the words that a type is written by.
struct Word<T>(T);

/// Declares a metric, or declares it anew.
pub(super) fn put<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let name = name(call)?;
    let sent: Sent<Sending> =
        serde_json::from_str(text(body)?).map_err(|error| Refusal::syntax(&error))?;
    let Ok(Edit::Set(sending)) = sent.0 else {
        return Err(FieldError::wrong_type("body", Sending::EXPECTED).into());
    };
    let metric = sending.into_metric()?;
    let mut shown = json!(metric);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("metric".to_owned(), json!(name));
    }
    let declaration = Declaration {
        metric: name.to_owned(),
        declared: Some(metric),
    };
    Ok(declaring(call, declaration, shown.to_string()))
}

/// Declares a metric no longer. One that is not declared is no fault.
pub(super) fn delete<'a>(call: &Call<'a>, _body: &'a [u8]) -> Result<Parsed, Refusal> {
    let declaration = Declaration {
        metric: name(call)?.to_owned(),
        declared: None,
    };
    Ok(declaring(call, declaration, String::new()))
}

/// Says what is declared now.
pub(super) fn answer(parsed: &Parsed, _: &Fates<'_>) -> Answer {
    let status = match parsed.note.is_empty() {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::OK,
    };
    Answer::new(status, parsed.note.clone())
}

fn name<'a>(call: &Call<'a>) -> Result<&'a str, FieldError> {
    let name = call.path("metric").unwrap_or_default();
    let max = call.limits.max_metric_bytes;
    if !(1..=max).contains(&name.len()) {
        let message = format!("must have 1 to {max} bytes");
        return Err(FieldError::new(ItemCode::OutOfRange, "metric", message));
    }
    if call.registries.file().get(name).is_some() {
        let message = "is declared by the registry's file";
        return Err(FieldError::new(ItemCode::OutOfRange, "metric", message));
    }
    Ok(name)
}

fn declaring(call: &Call<'_>, declaration: Declaration, note: String) -> Parsed {
    Parsed {
        declarations: vec![declaration],
        note,
        ..Parsed::whole(call.batch(0))
    }
}

// === impl Sending ===

impl Sending {
    fn into_metric(mut self) -> Result<Metric, FieldError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let mut metric = Metric {
            kind: required(self.kind, "type")?.0,
            level: None,
            min: None,
            max: None,
            categories: Vec::new(),
            optimize: None,
            enforced: true,
            declared_as: None,
        };
        self.level.map(|word| word.0).apply(&mut metric.level);
        self.min.apply(&mut metric.min);
        self.max.apply(&mut metric.max);
        self.categories.apply_or(&mut metric.categories, Vec::new());
        self.optimize.map(|word| word.0).apply(&mut metric.optimize);
        self.enforced.apply_or(&mut metric.enforced, true);
        let bounds = [("min", metric.min), ("max", metric.max)];
        for (field, bound) in bounds {
            if bound.is_some_and(|bound| !bound.is_finite()) {
                let message = "must be a finite number";
                return Err(FieldError::new(ItemCode::OutOfRange, field, message));
            }
        }
        match metric.problem() {
            Some(problem) => Err(FieldError::new(ItemCode::OutOfRange, "type", problem)),
            None => Ok(metric),
        }
    }
}

impl<'de> FromSent<'de> for Sending {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut sending = Sending::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "type" => sending.kind = fields.read("type")?,
                "level" => sending.level = fields.read("level")?,
                "min" => sending.min = fields.number("min")?,
                "max" => sending.max = fields.number("max")?,
                "categories" => {
                    let raw = fields.raw()?;
                    let read = raw.map(categories).transpose();
                    sending.categories = Edit::from(read.unwrap_or_else(|error| {
                        fields.fault.get_or_insert(error);
                        None
                    }));
                }
                "optimize" => sending.optimize = fields.read("optimize")?,
                "enforced" => sending.enforced = fields.read("enforced")?,
                name => fields.unknown("", name)?,
            }
        }
        sending.fault = fields.fault;
        Ok(Ok(sending))
    }
}

fn categories(raw: &RawValue) -> Result<Vec<String>, FieldError> {
    let words = serde_json::from_str::<Vec<String>>(raw.get()).ok();
    words
        .filter(|words| words.len() <= MAX_CATEGORIES)
        .ok_or_else(|| {
            let expected = format!("an array of at most {MAX_CATEGORIES} strings");
            FieldError::wrong_type("categories", &expected)
        })
}

// === what fields are read as ===

fn word<'de, T: Deserialize<'de>>(text: &'de str) -> Result<Word<T>, Fault> {
    let text: StrDeserializer<'de, Error> = text.into_deserializer();
    T::deserialize(text).map(Word).map_err(|_| Fault::Range)
}

impl FromSent<'_> for Word<MetricType> {
    const EXPECTED: &'static str = "boolean, integer, float, categorical, text or json";

    fn from_text(text: Text<'_>) -> Result<Self, Fault> {
        word(&text)
    }
}

impl FromSent<'_> for Word<Level> {
    const EXPECTED: &'static str = "inference or episode";

    fn from_text(text: Text<'_>) -> Result<Self, Fault> {
        word(&text)
    }
}

impl FromSent<'_> for Word<Optimize> {
    const EXPECTED: &'static str = "max or min";

    fn from_text(text: Text<'_>) -> Result<Self, Fault> {
        word(&text)
    }
}
