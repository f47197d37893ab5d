//! `POST /v1/feedback`: whether a result was good, for a person.

use http::StatusCode;
use plaudit_event::{
    Dialect, Feedback, FieldError, ItemCode, Operation, Tags, Target, TargetKind, Text, Value,
};
use serde_json::json;
use serde_json::value::RawValue;

use super::id;
use crate::fastapi::{self, Place};
use crate::json::written;
use crate::raw::{self, Kind};
use crate::sent::Entries;
use crate::vendor::text;
use crate::{Answer, Call, Fates, Parsed, Refusal};

/// What every value is about: the API has one metric, the name of its field.
pub(super) const METRIC: &str = "feedback_positive";

/// What a sample is found by in the metadata.
pub(super) const INPUT: &str = "evaluation_run_candidate_input_id";

/// What one feedback says. `null` is the same as absent.
#[derive(Default)]
struct Item<'a> {
    positive: Option<bool>,
    result: Option<Text<'a>>,
    run: Option<Text<'a>>,
    evaluator: Option<Text<'a>>,
    input: Option<i64>,
    profile: Option<Text<'a>>,
    /// Fields that the API does not document.
    extra: Vec<(Text<'a>, &'a RawValue)>,
}

/// What is rated.
enum Subject<'a> {
    Result(Text<'a>),
    Sample {
        run: Text<'a>,
        evaluator: Text<'a>,
        input: i64,
    },
}

/// Reads the body.
pub(super) fn give<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body).map_err(fastapi::refusal)?;
    let item = Item::read(text).map_err(fastapi::refusal)?;
    let subject = item
        .subject()
        .map_err(|errors| fastapi::unprocessable(Place::Body, &errors))?;
    let positive = item.positive.unwrap_or_default();
    let (id, version_time) = id::name(call);
    let feedback = subject.rated(id, item);
    let operation = Operation::Put(feedback);
    call.check(&operation)
        .map_err(|error| fastapi::unprocessable(Place::Body, &[as_sent(error, &operation)]))?;
    let mut batch = call.batch(text.len());
    batch.push(&call.event(Dialect::Patronus, version_time, operation));
    Ok(Parsed {
        note: written(&json!({ "feedback_positive": positive })),
        ..Parsed::whole(batch)
    })
}

/// Writes the answer: the note, which repeats what was said.
pub(super) fn answer(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    fastapi::shortfall_of_new(parsed, fates)
        .unwrap_or_else(|| Answer::new(StatusCode::OK, parsed.note.clone()))
}

// === impl Item ===

impl<'a> Item<'a> {
    fn read(text: &'a str) -> Result<Self, Refusal> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
        let Some(Entries(entries)) = raw::entries(raw) else {
            return Err(FieldError::wrong_type("", "an object").into());
        };
        let mut item = Self::default();
        for (name, sent) in entries {
            if raw::kind(sent) == Kind::Null {
                continue;
            }
            match name.as_str() {
                "feedback_positive" => {
                    let positive = raw::boolean(sent);
                    item.positive =
                        Some(positive.ok_or_else(|| {
                            FieldError::wrong_type("feedback_positive", "a boolean")
                        })?);
                }
                "evaluation_result_id" => item.result = name_of("evaluation_result_id", sent)?,
                "evaluation_run_id" => item.run = name_of("evaluation_run_id", sent)?,
                "evaluator_id" => item.evaluator = name_of("evaluator_id", sent)?,
                "profile_name" => item.profile = name_of("profile_name", sent)?,
                INPUT => item.input = Some(integer(INPUT, sent)?),
                raw::SECRETS => {}
                _ => item.extra.push((name, sent)),
            }
        }
        Ok(item)
    }

    /// What is rated: a result alone, or all that names a sample.
    fn subject(&self) -> Result<Subject<'a>, Vec<FieldError>> {
        let named = [
            ("evaluation_run_id", self.run.is_some()),
            ("evaluator_id", self.evaluator.is_some()),
            (INPUT, self.input.is_some()),
        ];
        let mut errors = Vec::new();
        if self.positive.is_none() {
            errors.push(FieldError::missing(METRIC));
        }
        let subject = match (&self.result, &self.run, &self.evaluator, self.input) {
            (Some(result), None, None, None) => Some(Subject::Result(result.clone())),
            (None, Some(run), Some(evaluator), Some(input)) => Some(Subject::Sample {
                run: run.clone(),
                evaluator: evaluator.clone(),
                input,
            }),
            (None, None, None, None) => {
                let message = "is required, or evaluation_run_id, evaluator_id and \
                               evaluation_run_candidate_input_id";
                let error = FieldError::new(ItemCode::OutOfRange, "evaluation_result_id", message);
                errors.push(error);
                None
            }
            (Some(_), ..) => {
                let doubled = named.into_iter().filter(|(_, sent)| *sent);
                errors.extend(doubled.map(|(field, _)| {
                    let message = "must not be given with evaluation_result_id";
                    FieldError::new(ItemCode::OutOfRange, field, message)
                }));
                None
            }
            (None, ..) => {
                let absent = named.into_iter().filter(|(_, sent)| !sent);
                errors.extend(absent.map(|(field, _)| FieldError::missing(field)));
                None
            }
        };
        subject.filter(|_| errors.is_empty()).ok_or(errors)
    }
}

// === impl Subject ===

impl<'a> Subject<'a> {
    fn rated(self, id: uuid::Uuid, item: Item<'a>) -> Feedback<'a> {
        let positive = item.positive.unwrap_or_default();
        let profile = item.profile.as_deref().unwrap_or_default();
        let (trace_id, kind, target) = match &self {
            Self::Result(result) => (result, TargetKind::EvaluationResult, result.clone()),
            Self::Sample {
                run,
                evaluator,
                input,
            } => {
                let sample = format!("{run}:{evaluator}:{profile}:{input}");
                (run, TargetKind::EvaluationSample, sample.into())
            }
        };
        let mut feedback = Feedback::new(id, trace_id.clone(), METRIC);
        feedback.target = Some(Target { kind, id: target });
        if let Some(value) = Value::of(&positive) {
            feedback = feedback.with_value(value);
        }
        let mut tags = Tags::default();
        let mut metadata = Vec::new();
        if let Self::Sample {
            run,
            evaluator,
            input,
        } = self
        {
            feedback.experiment_id = Some(run);
            tags.insert("evaluator_id", evaluator);
            metadata.push((INPUT, input.to_string()));
        }
        if let Some(profile) = item.profile {
            tags.insert("profile_name", profile);
        }
        let known = metadata.iter().map(|(name, json)| (*name, json.as_str()));
        let extra = item
            .extra
            .iter()
            .map(|(name, raw)| (name.as_str(), raw.get()));
        feedback.metadata = raw::object(known.chain(extra));
        feedback.tags = tags;
        feedback
    }
}

/// The fault by the name that the field has in this API.
fn as_sent(error: FieldError, operation: &Operation<'_>) -> FieldError {
    let sample = matches!(operation, Operation::Put(feedback) if feedback.experiment_id.is_some());
    let field = match &*error.field {
        "trace_id" | "target.id" if sample => "evaluation_run_id",
        "trace_id" | "target.id" => "evaluation_result_id",
        "experiment_id" => "evaluation_run_id",
        "value" | "metric" => METRIC,
        _ => return error,
    };
    FieldError {
        field: field.into(),
        ..error
    }
}

/// An id: text, or an integer, which an id looks like.
fn name_of<'a>(field: &'static str, sent: &'a RawValue) -> Result<Option<Text<'a>>, FieldError> {
    let text = match raw::kind(sent) {
        Kind::Text => raw::text(sent),
        Kind::Integer => Some(sent.get().into()),
        _ => None,
    };
    text.map(Some)
        .ok_or_else(|| FieldError::wrong_type(field, "a string"))
}

fn integer(field: &'static str, sent: &RawValue) -> Result<i64, FieldError> {
    let digits = match raw::kind(sent) {
        Kind::Text => raw::text(sent).unwrap_or_default(),
        _ => sent.get().into(),
    };
    digits
        .parse()
        .map_err(|_| FieldError::wrong_type(field, "an integer"))
}
