//! `GET /v1/feedback`: the feedback that was given, by what it was given to.

use http::StatusCode;
use plaudit_event::{Dialect, FieldError, TargetKind};
use serde_json::{Value, json};

use super::feedback::{INPUT, METRIC};
use super::id;
use crate::fastapi::{self, Place};
use crate::json::written;
use crate::{Answer, Call, Refusal, Search, Stored};

/// How many are shown when nobody says.
const DEFAULT_LIMIT: u64 = 100;

/// Whether a query string has a parameter that only this API has.
pub(super) fn is_asked(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, _)| name.starts_with("evaluat") || matches!(&*name, "profile_name" | "offset"))
}

/// Reads the query string. A parameter without content is the same as none.
pub(super) fn ask(call: &Call<'_>) -> Result<Search, Refusal> {
    let mut search = Search {
        dialect: Some(Dialect::Patronus),
        metrics: vec![METRIC.to_owned()],
        limit: DEFAULT_LIMIT,
        ..Search::default()
    };
    for (name, content) in call.params().filter(|(_, content)| !content.is_empty()) {
        match &*name {
            "evaluation_result_id" => {
                search.target_ids = vec![content.into_owned()];
                search.target_kinds = vec![TargetKind::EvaluationResult];
            }
            "evaluation_run_id" => search.experiment_id = Some(content.into_owned()),
            INPUT => {
                let input: i64 = integer(INPUT, &content)?;
                search.metadata = vec![(INPUT.to_owned(), input.to_string())];
            }
            "evaluator_id" | "profile_name" => {
                search.tags.retain(|(tag, _)| *tag != *name);
                search.tags.push((name.into_owned(), content.into_owned()));
            }
            "limit" => search.limit = integer("limit", &content)?,
            "offset" => search.offset = integer("offset", &content)?,
            _ => {}
        }
    }
    Ok(search)
}

/// Writes the list.
pub(super) fn show(_: &Search, stored: &[Stored<'_>]) -> Answer {
    let feedbacks: Vec<Value> = stored.iter().map(entry).collect();
    let body = json!({ "feedbacks": feedbacks });
    Answer::new(StatusCode::OK, written(&body))
}

fn entry(stored: &Stored<'_>) -> Value {
    let feedback = &stored.feedback;
    let target = |kind| {
        let target = feedback.target.as_ref()?;
        (target.kind == kind).then_some(target.id.as_str())
    };
    let input = target(TargetKind::EvaluationSample)
        .and_then(|sample| sample.rsplit(':').next()?.parse::<i64>().ok());
    let id = match id::integer(feedback.id) {
        Some(integer) => integer.to_string(),
        None => feedback.id.to_string(),
    };
    let value = feedback.value.as_ref();
    json!({
        "id": id,
        "created_at": feedback.created_at.unwrap_or(stored.received_at).to_string(),
        "evaluation_result_id": target(TargetKind::EvaluationResult),
        "evaluation_run_candidate_input_id": input,
        "evaluation_run_id": feedback.experiment_id,
        // Its type is that of a string, also for a result, which has none.
        "evaluator_id": feedback.tags.get("evaluator_id").unwrap_or_default(),
        "feedback_positive": value.and_then(|value| value.as_bool()),
        "profile_name": feedback.tags.get("profile_name"),
    })
}

fn integer<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|_| {
        let error = FieldError::wrong_type(name, "an integer");
        fastapi::unprocessable(Place::Query, &[error])
    })
}
