//! `/v1/evaluation-results/{id}/evaluation-feedback`: a result's one feedback.
//!
//! Said again it is a new version, deleted it is withdrawn, and said once more it
//! is there again.

use plaudit_event::{
    Dialect, Feedback, FieldError, ItemCode, Operation, Target, TargetKind, Value, identity,
};
use serde_json::value::RawValue;

use super::path_integer;
use crate::fastapi::{self, Place};
use crate::raw;
use crate::sent::Entries;
use crate::vendor::text;
use crate::{Call, Parsed, Refusal};

/// What the value is about: the API's own name for it, where it shows results.
const METRIC: &str = "evaluation_feedback";

/// Reads `POST`.
pub(super) fn submit<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let mut feedback = about(call)?;
    let (positive, extra) = text(body).and_then(read).map_err(fastapi::refusal)?;
    if let Some(value) = Value::of(&positive) {
        feedback = feedback.with_value(value);
    }
    feedback.metadata = raw::object(extra.iter().map(|(name, raw)| (name.as_str(), raw.get())));
    take(call, body.len(), Operation::Put(feedback))
}

/// Reads `DELETE`.
pub(super) fn delete<'a>(call: &Call<'a>, _: &'a [u8]) -> Result<Parsed, Refusal> {
    let feedback = about(call)?;
    take(call, 0, Operation::Withdraw(feedback))
}

fn take<'a>(
    call: &Call<'a>,
    body_bytes: usize,
    operation: Operation<'a>,
) -> Result<Parsed, Refusal> {
    call.check(&operation).map_err(|error| {
        let field = match &*error.field {
            "value" => "feedback".into(),
            _ => error.field,
        };
        fastapi::unprocessable(Place::Body, &[FieldError { field, ..error }])
    })?;
    let mut batch = call.batch(body_bytes);
    batch.push(&call.event(Dialect::Patronus, call.time_of(0), operation));
    Ok(Parsed::whole(batch))
}

/// The feedback of the result in the path, which says nothing yet.
fn about<'a>(call: &Call<'a>) -> Result<Feedback<'a>, Refusal> {
    let result = path_integer(call)?.to_string();
    let id = identity::one_per_rater(call.project, &result, METRIC, "");
    let mut feedback = Feedback::new(id, result.clone(), METRIC);
    feedback.target = Some(Target {
        kind: TargetKind::EvaluationResult,
        id: result.into(),
    });
    Ok(feedback)
}

type Extra<'a> = Vec<(plaudit_event::Text<'a>, &'a RawValue)>;

fn read(text: &str) -> Result<(bool, Extra<'_>), Refusal> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
    let Some(Entries(entries)) = raw::entries(raw) else {
        return Err(FieldError::wrong_type("", "an object").into());
    };
    let mut positive = None;
    let mut extra = Vec::new();
    for (name, sent) in entries {
        match (name.as_str(), raw::text(sent).as_deref()) {
            ("feedback", Some("positive")) => positive = Some(true),
            ("feedback", Some("negative")) => positive = Some(false),
            ("feedback", _) => {
                let message = "must be positive or negative";
                return Err(FieldError::new(ItemCode::OutOfRange, "feedback", message).into());
            }
            _ => extra.push((name, sent)),
        }
    }
    let positive = positive.ok_or_else(|| FieldError::missing("feedback"))?;
    Ok((positive, extra))
}
