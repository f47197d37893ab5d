//! `POST /v1/annotate`: what a person says of a log by a criterion.
//!
//! The criterion is the metric. A criterion asks for a verdict, a word or a number:
//! the first of these that is given is the value, the others are metadata.

use std::collections::BTreeMap;

use http::StatusCode;
use plaudit_event::{Dialect, Feedback, FieldError, ItemCode, Micros, Operation, Text, Value};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::id;
use crate::fastapi::{self, Place};
use crate::raw::{self, Kind};
use crate::sent::Entries;
use crate::vendor::text;
use crate::{Answer, Call, Fates, Parsed, Refusal};

/// What one annotation says. `null` is the same as absent.
#[derive(Default)]
struct Annotation<'a> {
    criterion: Option<Text<'a>>,
    log: Option<Text<'a>>,
    explanation: Option<Text<'a>>,
    /// `value_pass`, `value_text` and `value_score`, each where it was given.
    values: [Option<&'a RawValue>; 3],
    /// Fields that the API does not document.
    extra: Vec<(Text<'a>, &'a RawValue)>,
}

/// An annotation as the API shows it.
#[derive(Serialize)]
struct Shown<'s> {
    id: String,
    log_id: &'s Option<Text<'s>>,
    annotation_criteria_id: &'s Option<Text<'s>>,
    created_at: String,
    evaluation_type: &'static str,
    explanation: &'s Option<Text<'s>>,
    pass: Option<&'s RawValue>,
    text_output: Option<&'s RawValue>,
    score: Option<&'s RawValue>,
}

/// What may be said, in the order in which one of them is the value.
const VALUES: [&str; 3] = ["value_pass", "value_text", "value_score"];

/// Reads the body.
pub(super) fn annotate<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body).map_err(fastapi::refusal)?;
    let annotation = Annotation::read(text).map_err(fastapi::refusal)?;
    let (id, version_time) = id::name(call);
    let shown = annotation.shown(id, call.received_at);
    let value_name = annotation.value_name();
    let feedback = annotation.into_feedback(id).map_err(fastapi::refusal)?;
    let operation = Operation::Put(feedback);
    call.check(&operation)
        .map_err(|error| fastapi::unprocessable(Place::Body, &[as_sent(error, value_name)]))?;
    let mut batch = call.batch(text.len());
    batch.push(&call.event(Dialect::Patronus, version_time, operation));
    Ok(Parsed {
        note: shown,
        ..Parsed::whole(batch)
    })
}

/// Writes the answer: the note, which is the annotation as it is kept.
pub(super) fn answer(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    fastapi::shortfall_of_new(parsed, fates)
        .unwrap_or_else(|| Answer::new(StatusCode::OK, parsed.note.clone()))
}

// === impl Annotation ===

impl<'a> Annotation<'a> {
    fn read(text: &'a str) -> Result<Self, Refusal> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
        let Some(Entries(entries)) = raw::entries(raw) else {
            return Err(FieldError::wrong_type("", "an object").into());
        };
        let mut annotation = Self::default();
        let [pass, word, score] = &mut annotation.values;
        for (name, sent) in entries {
            if raw::kind(sent) == Kind::Null {
                continue;
            }
            match (name.as_str(), raw::kind(sent)) {
                ("annotation_criteria_id", _) => {
                    annotation.criterion = Some(string("annotation_criteria_id", sent)?);
                }
                ("log_id", _) => annotation.log = Some(string("log_id", sent)?),
                ("explanation", _) => annotation.explanation = Some(string("explanation", sent)?),
                ("value_pass", Kind::Bool) => *pass = Some(sent),
                ("value_text", Kind::Text) => *word = Some(sent),
                ("value_score", Kind::Integer | Kind::Float) => *score = Some(sent),
                ("value_pass", _) => return Err(wrong("value_pass", "a boolean")),
                ("value_text", _) => return Err(wrong("value_text", "a string")),
                ("value_score", _) => return Err(wrong("value_score", "a number")),
                (raw::SECRETS, _) => {}
                _ => annotation.extra.push((name, sent)),
            }
        }
        Ok(annotation)
    }

    fn shown(&self, id: Uuid, created_at: Micros) -> String {
        let [pass, text_output, score] = self.values;
        let evaluation = Shown {
            id: id::integer(id).unwrap_or_default().to_string(),
            log_id: &self.log,
            annotation_criteria_id: &self.criterion,
            created_at: created_at.to_string(),
            evaluation_type: "annotation",
            explanation: &self.explanation,
            pass,
            text_output,
            score,
        };
        serde_json::to_string(&BTreeMap::from([("evaluation", evaluation)]))
            .expect("text and JSON are JSON")
    }

    /// What was said, in the order of [`VALUES`].
    fn said(&self) -> Vec<(&'static str, &'a RawValue)> {
        VALUES
            .into_iter()
            .zip(self.values)
            .filter_map(|(name, sent)| Some((name, sent?)))
            .collect()
    }

    /// The name of what is the value.
    fn value_name(&self) -> &'static str {
        self.said().first().map_or("value_pass", |(name, _)| name)
    }

    fn into_feedback(self, id: Uuid) -> Result<Feedback<'a>, Refusal> {
        let said = self.said();
        let criterion = required(self.criterion, "annotation_criteria_id")?;
        let log = required(self.log, "log_id")?;
        if said.is_empty() && self.explanation.is_none() {
            let message = "is required, or value_text, value_score, explanation";
            return Err(FieldError::new(ItemCode::OutOfRange, "value_pass", message).into());
        }
        let mut feedback = Feedback::new(id, log, criterion);
        if let Some((_, sent)) = said.first()
            && let Some(value) = value(sent)
        {
            feedback = feedback.with_value(value);
        }
        let [_, _, score] = self.values;
        if let Some(score) = score.and_then(value).and_then(|score| score.reading()) {
            feedback.score = Some(score);
        }
        feedback.comment = self.explanation;
        let others = said.iter().skip(1).map(|(name, raw)| (*name, raw.get()));
        let extra = self
            .extra
            .iter()
            .map(|(name, raw)| (name.as_str(), raw.get()));
        feedback.metadata = raw::object(others.chain(extra));
        Ok(feedback)
    }
}

fn value(sent: &RawValue) -> Option<Value<'_>> {
    Value::from_json(sent.into())
}

fn required<'a>(text: Option<Text<'a>>, field: &'static str) -> Result<Text<'a>, FieldError> {
    text.ok_or_else(|| FieldError::missing(field))
}

fn string<'a>(field: &'static str, sent: &'a RawValue) -> Result<Text<'a>, FieldError> {
    raw::text(sent).ok_or_else(|| FieldError::wrong_type(field, "a string"))
}

fn wrong(field: &'static str, expected: &str) -> Refusal {
    FieldError::wrong_type(field, expected).into()
}

/// The fault by the name that the field has in this API.
fn as_sent(error: FieldError, value_name: &'static str) -> FieldError {
    let field = match &*error.field {
        "trace_id" => "log_id",
        "metric" => "annotation_criteria_id",
        "comment" => "explanation",
        "value" => value_name,
        "score" => "value_score",
        _ => return error,
    };
    FieldError {
        field: field.into(),
        ..error
    }
}
