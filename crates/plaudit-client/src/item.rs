//! A feedback, a patch or a retraction as an item of the native API.
//!
//! The field names are those of [`plaudit_event::Feedback`]; what differs from the
//! wire of Kafka is `operation`, and times, which are RFC 3339 text here.

use plaudit_event::{Edit, Feedback, Json, Micros, Patch, Source, Tags, Target, Text, Value};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::Error;

/// An item that is ready to be sent: its id, and its JSON.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) id: Uuid,
    pub(crate) json: String,
}

/// What an item does.
pub(crate) enum Operation<'a> {
    Put(&'a Feedback<'a>),
    Patch(Uuid, &'a Patch<'a>),
    Retract(Uuid),
}

#[derive(Serialize)]
struct Put<'a> {
    id: Uuid,
    trace_id: &'a Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a Target<'a>>,
    metric: &'a Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correction: Option<&'a Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a Tags<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rater: Option<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a Source<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    experiment_id: Option<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Rfc3339>,
}

#[derive(Serialize)]
struct Change<'a> {
    operation: &'static str,
    id: Uuid,
    /// Without its time, which the API writes differently.
    #[serde(flatten)]
    patch: Patch<'a>,
    #[serde(skip_serializing_if = "Edit::is_keep")]
    created_at: Edit<Rfc3339>,
}

struct Rfc3339(Micros);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

// === impl Item ===

impl Item {
    pub(crate) fn encode(operation: &Operation<'_>) -> Result<Self, Error> {
        let (id, json) = match operation {
            Operation::Put(feedback) => (feedback.id, serde_json::to_string(&Put::of(feedback))),
            Operation::Patch(id, patch) => (
                *id,
                serde_json::to_string(&Change::patch(*id, (*patch).clone())),
            ),
            Operation::Retract(id) => (*id, serde_json::to_string(&Change::retract(*id))),
        };
        let json = json.map_err(Error::Encode)?;
        Ok(Self { id, json })
    }
}

impl<'a> Put<'a> {
    fn of(feedback: &'a Feedback<'a>) -> Self {
        Self {
            id: feedback.id,
            trace_id: &feedback.trace_id,
            target: feedback.target.as_ref(),
            metric: &feedback.metric,
            value: feedback.value.as_ref(),
            score: feedback.score,
            weight: (feedback.weight.to_bits() != 1.0_f64.to_bits()).then_some(feedback.weight),
            comment: feedback.comment.as_ref(),
            correction: feedback.correction.as_ref(),
            tags: (!feedback.tags.is_empty()).then_some(&feedback.tags),
            metadata: feedback.metadata.as_ref(),
            rater: feedback.rater.as_ref(),
            source: feedback.source.as_ref(),
            group_id: feedback.group_id.as_ref(),
            experiment_id: feedback.experiment_id.as_ref(),
            session_id: feedback.session_id.as_ref(),
            created_at: feedback.created_at.map(Rfc3339),
        }
    }
}

impl<'a> Change<'a> {
    fn patch(id: Uuid, mut patch: Patch<'a>) -> Self {
        let created_at = match std::mem::take(&mut patch.created_at) {
            Edit::Keep => Edit::Keep,
            Edit::Clear => Edit::Clear,
            Edit::Set(time) => Edit::Set(Rfc3339(time)),
        };
        Self {
            operation: "patch",
            id,
            patch,
            created_at,
        }
    }

    fn retract(id: Uuid) -> Self {
        Self {
            operation: "retract",
            id,
            patch: Patch::default(),
            created_at: Edit::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use plaudit_event::TargetKind;

    use super::*;

    fn json(operation: &Operation<'_>) -> String {
        Item::encode(operation).unwrap().json
    }

    #[test]
    fn the_least_put_holds_nothing_but_what_it_says() {
        let put = Feedback::new(Uuid::nil(), "t", "helpful").with_value(Value::of(&true).unwrap());
        assert_eq!(
            json(&Operation::Put(&put)),
            r#"{"id":"00000000-0000-0000-0000-000000000000","trace_id":"t","metric":"helpful","value":true,"score":1.0}"#
        );
    }

    #[test]
    fn a_put_has_the_names_of_the_api() {
        let mut put = Feedback::new(Uuid::nil(), "t", "m");
        put.target = Some(Target {
            kind: TargetKind::Run,
            id: "r".into(),
        });
        put.weight = 0.5;
        put.comment = Some("a \"quote\"".into());
        put.correction = Some(Json::parse(r#"{"b":1.50}"#).unwrap());
        put.tags.insert("k", "v");
        put.metadata = Some(Json::parse("[1]").unwrap());
        put.rater = Some("u".into());
        put.source = Some(Source {
            kind: "api".into(),
            info: None,
            run_id: Some("x".into()),
        });
        put.group_id = Some("g".into());
        put.experiment_id = Some("e".into());
        put.session_id = Some("s".into());
        put.created_at = Some(Micros(0));
        assert_eq!(
            json(&Operation::Put(&put)),
            concat!(
                r#"{"id":"00000000-0000-0000-0000-000000000000","trace_id":"t","#,
                r#""target":{"kind":"run","id":"r"},"metric":"m","weight":0.5,"#,
                r#""comment":"a \"quote\"","correction":{"b":1.50},"tags":{"k":"v"},"#,
                r#""metadata":[1],"rater":"u","source":{"kind":"api","run_id":"x"},"#,
                r#""group_id":"g","experiment_id":"e","session_id":"s","#,
                r#""created_at":"1970-01-01T00:00:00.000000Z"}"#
            )
        );
    }

    #[test]
    fn a_patch_sends_null_for_what_it_clears_and_nothing_for_what_it_keeps() {
        let patch = Patch {
            comment: Edit::Clear,
            metadata: Edit::Set(Json::parse("{\"a\":[1e2]}").unwrap()),
            created_at: Edit::Set(Micros(0)),
            ..Patch::default()
        };
        assert_eq!(
            json(&Operation::Patch(Uuid::nil(), &patch)),
            concat!(
                r#"{"operation":"patch","id":"00000000-0000-0000-0000-000000000000","#,
                r#""comment":null,"metadata":{"a":[1e2]},"created_at":"1970-01-01T00:00:00.000000Z"}"#
            )
        );
        assert_eq!(
            json(&Operation::Retract(Uuid::nil())),
            r#"{"operation":"retract","id":"00000000-0000-0000-0000-000000000000"}"#
        );
    }
}
