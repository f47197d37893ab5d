//! What has no place of its own in the event: kept in its `metadata` under the
//! name that it was sent by, and put back from there when it is read.

use plaudit_event::{FieldError, Json, Limits, Tags, Text, Value};
use serde_json::value::RawValue;

use super::item::Item;
use super::{AHEAD, SCORE, SOURCE};
use crate::json::{Object, written};
use crate::sent::Entries;

/// The entry with the run that made a feedback, in the metadata of its source.
const RUN: &str = "__run";

// === what is read ===

/// The metadata of a feedback that is put.
pub(super) fn metadata(item: &Item<'_>, refused_time: Option<&str>) -> Option<Json<'static>> {
    let mut object = Object::default();
    for (name, raw) in &item.rest {
        object.push(name, raw.get());
    }
    if let Some(time) = refused_time {
        object.push(AHEAD, &written(&time));
    }
    if let (Some(value), Some(score)) = (&item.value, &item.score)
        && !can_be_told_apart(value, score)
    {
        object.push(SCORE, score.json());
    }
    let of_source = item.source.iter().flat_map(|source| &source.rest);
    let of_source = of_source.map(|(name, raw)| (name.as_str(), raw.get()));
    if let Some(source) = Object::of(of_source).text() {
        object.push(SOURCE, &source);
    }
    object.finish()
}

/// Whether value and score can be shown as they were sent: a score's number is
/// kept beside the value, and a value that repeats it counts as absent.
fn can_be_told_apart(value: &Value<'_>, score: &Value<'_>) -> bool {
    score.as_bool().is_none() && value.reading() != score.reading()
}

/// Adds each string of an object's entries that fits a tag.
pub(super) fn add_tags<'a>(
    tags: &mut Tags<'a>,
    entries: impl Iterator<Item = (Text<'a>, &'a RawValue)>,
    limits: &Limits,
) {
    for (key, raw) in entries {
        if tags.len() == limits.max_tags {
            return;
        }
        let content = string(raw);
        if let Some(content) = content
            && (1..=limits.max_tag_key_bytes).contains(&key.len())
            && content.len() <= limits.max_tag_value_bytes
        {
            tags.insert(key, content);
        }
    }
}

/// The run that made the feedback, as the metadata of its source names it.
pub(super) fn source_run<'a>(metadata: &[(Text<'a>, &'a RawValue)]) -> Option<Text<'a>> {
    let (_, run) = metadata.iter().find(|(key, _)| key == RUN)?;
    string(named(Some(run), "run_id")?)
}

/// The entry of an object.
pub(super) fn named<'a>(object: Option<&'a RawValue>, name: &str) -> Option<&'a RawValue> {
    let (_, raw) = entries(object).find(|(key, _)| key == name)?;
    Some(raw)
}

/// The entries of what is sent as an object; of anything else none.
pub(super) fn entries<'a>(
    object: Option<&'a RawValue>,
) -> impl Iterator<Item = (Text<'a>, &'a RawValue)> {
    object
        .filter(|raw| raw.get().starts_with('{'))
        .and_then(|raw| serde_json::from_str::<Entries<'a>>(raw.get()).ok())
        .into_iter()
        .flat_map(|entries| entries.0)
}

/// The text of a JSON string. One that is no Unicode is none.
pub(super) fn string(raw: &RawValue) -> Option<Text<'_>> {
    Some(raw.get())
        .filter(|raw| raw.starts_with('"'))
        .and_then(|raw| serde_json::from_str(raw).ok())
}

/// A fault in the words of the API: the field that the client sent.
pub(super) fn renamed(error: FieldError) -> FieldError {
    let field = match &*error.field {
        "metric" => "key",
        "rater" => "feedback_source.user_id",
        "source.kind" => "feedback_source.type",
        "source.info" => "feedback_source.metadata",
        "source.run_id" => "feedback_source.metadata.__run.run_id",
        "metadata" => "extra",
        _ => return error,
    };
    FieldError {
        field: field.into(),
        ..error
    }
}
