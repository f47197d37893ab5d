//! LangSmith's reads: one feedback by id, and lists by filters.
//!
//! They show what came by LangSmith's API, since its clients take ids that are
//! UUIDs only. A value that is an array is shown as its JSON text: one of them
//! would make the whole page unreadable for the Python client.

use http::StatusCode;
use plaudit_event::{Dialect, Feedback, Json, Micros, Source, TargetKind, Value};
use serde_json::json;
use serde_json::value::RawValue;

use super::answer::detail;
use super::item::{Id, Time};
use super::metadata::{entries, named};
use super::query::{Paging, wrong};
use super::take::path_id;
use super::{HIDDEN, SCORE, SOURCE};
use crate::json::{Object, written};
use crate::{Answer, Call, Refusal, Search, Stored};

/// Asks for `GET /feedback/{id}`.
pub(super) fn ask_one(call: &Call<'_>) -> Result<Search, Refusal> {
    Ok(Search {
        dialect: Some(Dialect::Langsmith),
        id: Some(path_id(call)?),
        limit: 1,
        ..Search::default()
    })
}

/// Shows it.
pub(super) fn show_one(_: &Search, found: &[Stored<'_>]) -> Answer {
    match found.first() {
        Some(stored) => Answer::new(StatusCode::OK, shown(stored)),
        None => detail(StatusCode::NOT_FOUND, "Feedback not found"),
    }
}

/// Asks for `GET /feedback`. Parameters that the API does not have are ignored,
/// as there.
pub(super) fn ask(call: &Call<'_>) -> Result<Search, Refusal> {
    let paging = Paging::read(call)?;
    let mut search = Search {
        dialect: Some(Dialect::Langsmith),
        offset: paging.offset,
        limit: paging.limit,
        ..Search::default()
    };
    for (name, text) in call.params() {
        match &*name {
            "run" => search.target_ids.push(id("run", &text)?),
            "key" => search.metrics.push(text.into_owned()),
            "source" => search.source_kinds.push(source_kind(&text)),
            "user" => search.raters.push(text.into_owned()),
            "session" => {
                let session = id("session", &text)?;
                if search
                    .session_id
                    .replace(session.clone())
                    .is_some_and(|old| old != session)
                {
                    return Err(wrong("session", "must be one"));
                }
            }
            "comparative_experiment_id" => {
                search.experiment_id = Some(id("comparative_experiment_id", &text)?);
            }
            "has_score" => search.has_score = Some(boolean("has_score", &text)?),
            "has_comment" => search.has_comment = Some(boolean("has_comment", &text)?),
            "level" => search.target_kinds.push(match &*text {
                "run" => TargetKind::Run,
                "session" => TargetKind::Project,
                _ => return Err(wrong("level", "must be run or session")),
            }),
            "min_created_at" => search.created_from = Some(time("min_created_at", &text)?),
            "max_created_at" => search.created_to = Some(time("max_created_at", &text)?),
            _ => {}
        }
    }
    Ok(search)
}

/// Shows a page of them, as a bare array.
pub(super) fn show(_: &Search, found: &[Stored<'_>]) -> Answer {
    let shown: Vec<_> = found.iter().map(shown).collect();
    Answer::new(StatusCode::OK, format!("[{}]", shown.join(",")))
}

fn id(parameter: &'static str, text: &str) -> Result<String, Refusal> {
    let id = Id::parse(text.into()).ok_or_else(|| wrong(parameter, "must be a UUID"))?;
    Ok(id.0.into_cow().into_owned())
}

/// Python's client sends the name of its own constant.
fn source_kind(text: &str) -> String {
    text.strip_prefix("FeedbackSourceType.")
        .map_or_else(|| text.to_owned(), str::to_ascii_lowercase)
}

fn boolean(parameter: &'static str, text: &str) -> Result<bool, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong(parameter, "must be true or false")),
    }
}

fn time(parameter: &'static str, text: &str) -> Result<Micros, Refusal> {
    // A plus that nobody escaped has become a space.
    let time = Time::parse(text).or_else(|| Time::parse(&text.replace(' ', "+")));
    let time = time.ok_or_else(|| wrong(parameter, "must be a time in ISO 8601"))?;
    Ok(time.0)
}

/// A feedback as the API shows it: as it was sent.
fn shown(stored: &Stored<'_>) -> String {
    let feedback = &stored.feedback;
    let metadata = feedback.metadata.as_ref().map(Json::get);
    let metadata: Option<&RawValue> = metadata.and_then(|text| serde_json::from_str(text).ok());
    let target = feedback.target.as_ref();
    let of_project = target.is_some_and(|target| target.kind == TargetKind::Project);
    let trace_id = Some(&feedback.trace_id).filter(|_| !of_project);
    let run_id = target.filter(|_| !of_project).map(|target| &target.id);
    let created_at = feedback.created_at.unwrap_or(stored.received_at);
    let (value, score) = said(feedback, named(metadata, SCORE));

    let mut object = Object::default();
    let mut push = |name: &str, content: serde_json::Value| object.push(name, &content.to_string());
    push("id", json!(feedback.id));
    push("created_at", json!(created_at.to_string()));
    push("modified_at", json!(stored.modified_at.to_string()));
    push("run_id", json!(run_id.or(trace_id)));
    push("trace_id", json!(trace_id));
    push("key", json!(feedback.metric));
    push("comment", json!(feedback.comment));
    push("session_id", json!(feedback.session_id));
    push("comparative_experiment_id", json!(feedback.experiment_id));
    push("feedback_group_id", json!(feedback.group_id));
    object.push("score", &score);
    object.push("value", &value);
    let correction = feedback.correction.as_ref().map_or("null", Json::get);
    object.push("correction", correction);
    object.push(
        "feedback_source",
        &source(feedback, named(metadata, SOURCE)),
    );
    for (name, raw) in entries(metadata) {
        if !HIDDEN.contains(&name.as_str()) {
            object.push(&name, raw.get());
        }
    }
    object.text().unwrap_or_default()
}

/// Value and score as they were sent. A score alone is the value too, and what
/// could not be told from that is in the metadata.
fn said(feedback: &Feedback<'_>, sent_score: Option<&RawValue>) -> (String, String) {
    let value = feedback.value.as_ref();
    let shown = value.map_or("null", Value::json);
    let shown = match shown.starts_with('[') {
        true => written(&shown),
        false => shown.to_owned(),
    };
    let Some(score) = feedback.score else {
        return (shown, "null".to_owned());
    };
    let sent = sent_score
        .and_then(|raw| Value::from_json(raw.into()))
        .filter(|sent| sent.reading() == Some(score));
    match sent {
        Some(sent) => (shown, sent.json().to_owned()),
        None if value.is_some() && feedback.value_repeats_score() => ("null".to_owned(), shown),
        None => (shown, written(&score)),
    }
}

fn source(feedback: &Feedback<'_>, rest: Option<&RawValue>) -> String {
    let source = feedback.source.as_ref();
    let kind = source.map_or(Source::DEFAULT_KIND, |source| source.kind.as_str());
    let info = source.and_then(|source| source.info.as_ref());
    let mut object = Object::default();
    object.push("type", &written(&kind));
    object.push("metadata", info.map_or("{}", Json::get));
    object.push("user_id", &written(&feedback.rater));
    for (name, raw) in entries(rest) {
        object.push(&name, raw.get());
    }
    object.text().unwrap_or_else(|| "null".to_owned())
}
