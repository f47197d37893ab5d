//! A change to a feedback that is there, or will be.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Feedback, Json, Micros, Source, Tags, Target, Text, Value};

/// What to do with one field.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Edit<T> {
    /// Leave it: the field was not sent.
    #[default]
    Keep,
    /// Make it absent: `null` was sent.
    Clear,
    /// Give it this content.
    Set(T),
}

/// The changed fields of a feedback.
///
/// Applying a patch sets or clears whole fields, so applying the same patches
/// in the same order again changes nothing: the fold of a feedback and its
/// changes is a function of them alone (PROTOCOL: *fold*). What identifies a
/// feedback (id, trace, metric) cannot be patched.
///
/// A dialect in which the score follows the value sets both.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Patch<'a> {
    /// What the feedback is about; cleared, the trace itself.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub target: Edit<Target<'a>>,
    /// What was said.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub value: Edit<Value<'a>>,
    /// What the value becomes where it only repeats the score, or is absent: for a
    /// dialect in which a score may be all that is said, and whose changes do not
    /// know whether it was.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub value_as_score: Edit<Value<'a>>,
    /// What was said as a number.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub score: Edit<f64>,
    /// The weight; cleared, 1.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub weight: Edit<f64>,
    /// The comment.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub comment: Edit<Text<'a>>,
    /// The correction.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub correction: Edit<Json<'a>>,
    /// All tags together.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub tags: Edit<Tags<'a>>,
    /// The metadata, whole.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub metadata: Edit<Json<'a>>,
    /// Who said it.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub rater: Edit<Text<'a>>,
    /// Where it came from, whole.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub source: Edit<Source<'a>>,
    /// The group.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub group_id: Edit<Text<'a>>,
    /// The experiment.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub experiment_id: Edit<Text<'a>>,
    /// The session.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub session_id: Edit<Text<'a>>,
    /// When it was made.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub created_at: Edit<Micros>,
}

// === impl Edit ===

impl<T> Edit<T> {
    /// Whether the field is left alone.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The new content, where there is one.
    pub fn as_set(&self) -> Option<&T> {
        match self {
            Self::Set(content) => Some(content),
            Self::Keep | Self::Clear => None,
        }
    }

    /// The same edit with other content.
    pub fn map<U>(self, content: impl FnOnce(T) -> U) -> Edit<U> {
        match self {
            Self::Keep => Edit::Keep,
            Self::Clear => Edit::Clear,
            Self::Set(old) => Edit::Set(content(old)),
        }
    }

    /// Carries the edit out on an optional field.
    pub fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(content) => *field = Some(content),
        }
    }

    /// Carries the edit out on a field that always has content.
    pub fn apply_or(self, field: &mut T, cleared: T) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = cleared,
            Self::Set(content) => *field = content,
        }
    }
}

impl<T> From<Option<T>> for Edit<T> {
    /// What a field that was sent asks for: `null` clears.
    fn from(sent: Option<T>) -> Self {
        sent.map_or(Self::Clear, Self::Set)
    }
}

impl<T: Serialize> Serialize for Edit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_set().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Edit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::from)
    }
}

// === impl Patch ===

impl<'a> Patch<'a> {
    /// Detaches the patch from the bytes it borrows.
    pub fn into_owned(self) -> Patch<'static> {
        Patch {
            target: self.target.map(Target::into_owned),
            value: self.value.map(Value::into_owned),
            value_as_score: self.value_as_score.map(Value::into_owned),
            score: self.score,
            weight: self.weight,
            comment: self.comment.map(Text::into_owned),
            correction: self.correction.map(Json::into_owned),
            tags: self.tags.map(Tags::into_owned),
            metadata: self.metadata.map(Json::into_owned),
            rater: self.rater.map(Text::into_owned),
            source: self.source.map(Source::into_owned),
            group_id: self.group_id.map(Text::into_owned),
            experiment_id: self.experiment_id.map(Text::into_owned),
            session_id: self.session_id.map(Text::into_owned),
            created_at: self.created_at,
        }
    }

    /// Carries the patch out.
    pub fn apply(self, feedback: &mut Feedback<'a>) {
        self.target.apply(&mut feedback.target);
        if feedback.value_repeats_score() {
            self.value_as_score.apply(&mut feedback.value);
        }
        self.value.apply(&mut feedback.value);
        self.score.apply(&mut feedback.score);
        self.weight.apply_or(&mut feedback.weight, 1.0);
        self.comment.apply(&mut feedback.comment);
        self.correction.apply(&mut feedback.correction);
        self.tags.apply_or(&mut feedback.tags, Tags::default());
        self.metadata.apply(&mut feedback.metadata);
        self.rater.apply(&mut feedback.rater);
        self.source.apply(&mut feedback.source);
        self.group_id.apply(&mut feedback.group_id);
        self.experiment_id.apply(&mut feedback.experiment_id);
        self.session_id.apply(&mut feedback.session_id);
        self.created_at.apply(&mut feedback.created_at);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn patch(text: &str) -> Patch<'_> {
        serde_json::from_str(text).unwrap()
    }

    fn rated() -> Feedback<'static> {
        let mut feedback = Feedback::new(Uuid::nil(), "t", "m").with_value(Value::of(&1).unwrap());
        feedback.comment = Some("first".into());
        feedback.weight = 0.5;
        feedback
    }

    #[test]
    fn absent_keeps_null_clears_and_content_sets() {
        let text = r#"{"comment":null,"weight":null,"rater":"r","tags":{"k":"v"}}"#;
        assert_eq!(
            serde_json::to_string(&patch(text)).unwrap().len(),
            text.len()
        );
        let mut feedback = rated();
        patch(text).apply(&mut feedback);
        assert_eq!(feedback.comment, None);
        assert_eq!(feedback.weight.to_bits(), 1.0_f64.to_bits());
        assert_eq!(feedback.rater, Some("r".into()));
        assert_eq!(feedback.tags.get("k"), Some("v"));
        assert_eq!(feedback.score, Some(1.0));
    }

    #[test]
    fn a_value_follows_the_score_only_where_it_repeats_it() {
        let change = || patch(r#"{"value_as_score":true,"score":1.0}"#);
        for (said, value) in [
            (r#""value":0.5,"score":0.5"#, "true"),
            (r#""weight":1"#, "true"),
            (r#""value":0.5,"score":0.25"#, "0.5"),
            (r#""value":0.5"#, "0.5"),
            (r#""value":"good""#, r#""good""#),
            (r#""value":"good","score":1.0"#, r#""good""#),
        ] {
            let text = format!(
                r#"{{"id":"{}","trace_id":"t","metric":"m",{said}}}"#,
                Uuid::nil()
            );
            let mut feedback: Feedback<'_> = serde_json::from_str(&text).unwrap();
            change().apply(&mut feedback);
            assert_eq!(feedback.value.as_ref().unwrap().json(), value, "{said}");
            let once = feedback.clone();
            change().apply(&mut feedback);
            assert_eq!(feedback, once, "{said}");
        }
    }

    #[test]
    fn p4_folding_again_changes_nothing() {
        let (first, second) = (
            r#"{"comment":"a","value":2,"score":2}"#,
            r#"{"comment":"b"}"#,
        );
        let mut once = rated();
        patch(first).apply(&mut once);
        patch(second).apply(&mut once);
        let mut again = once.clone();
        patch(first).apply(&mut again);
        patch(second).apply(&mut again);
        assert_eq!(once, again);
    }
}
