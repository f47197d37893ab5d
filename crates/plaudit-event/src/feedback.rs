//! One feedback: the union of what the dialects can say.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{Json, Micros, Text, Value};

/// What somebody said of one trace by one metric.
///
/// Field names are the wire's: add fields, never rename or remove one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Feedback<'a> {
    /// Names the feedback within its project and trace.
    pub id: Uuid,
    /// The trace that the feedback is about, and the Kafka key. Never empty.
    #[serde(borrow)]
    pub trace_id: Text<'a>,
    /// What within the trace it is about; `None` is the trace itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target<'a>>,
    /// What is measured, such as `helpful`. Never empty.
    #[serde(borrow)]
    pub metric: Text<'a>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value<'a>>,
    /// What was said as a number, finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How much it counts in a weighted mean, 0 to 1.
    #[serde(default = "full_weight", skip_serializing_if = "is_full_weight")]
    pub weight: f64,
    /// Free text beside the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Text<'a>>,
    /// What the answer should have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Json<'a>>,
    /// What feedback is filtered and grouped by.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags<'a>,
    /// Anything else: kept, returned, not searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json<'a>>,
    /// Who said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rater: Option<Text<'a>>,
    /// Where it came from; `None` is an API call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source<'a>>,
    /// Feedback given together, such as the two sides of a preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<Text<'a>>,
    /// The experiment that the trace was part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<Text<'a>>,
    /// The session or project of the trace at the vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Text<'a>>,
    /// When the client says it was made; `None` is when it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Micros>,
}

/// What a feedback is about, within its trace.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Target<'a> {
    /// The kind of thing.
    pub kind: TargetKind,
    /// Its id at the vendor.
    #[serde(borrow)]
    pub id: Text<'a>,
}

/// The kinds of things that feedback is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetKind {
    /// A whole trace.
    Trace,
    /// A run (a span) of a trace.
    Run,
    /// One model call.
    Inference,
    /// A sequence of model calls with one goal.
    Episode,
    /// A logged datapoint.
    Datapoint,
    /// A result of an automatic evaluation.
    EvaluationResult,
    /// A sample of an evaluation run.
    EvaluationSample,
    /// A whole project.
    Project,
    /// An experiment.
    Experiment,
}

/// The text names no kind of target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown target kind")]
pub struct UnknownTargetKind;

/// Where a feedback came from.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Source<'a> {
    /// Such as `api`, `app`, `human`, `model` or `auto_eval`.
    #[serde(borrow)]
    pub kind: Text<'a>,
    /// What the source says of itself: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Json<'a>>,
    /// The run that made the feedback, where a model did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<Text<'a>>,
}

/// String pairs with distinct keys, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tags<'a>(Vec<(Text<'a>, Text<'a>)>);

// === impl Feedback ===

impl<'a> Feedback<'a> {
    /// A feedback that says nothing yet: weight 1, about the trace itself.
    pub fn new(id: Uuid, trace_id: impl Into<Text<'a>>, metric: impl Into<Text<'a>>) -> Self {
        Self {
            id,
            trace_id: trace_id.into(),
            target: None,
            metric: metric.into(),
            value: None,
            score: None,
            weight: full_weight(),
            comment: None,
            correction: None,
            tags: Tags::default(),
            metadata: None,
            rater: None,
            source: None,
            group_id: None,
            experiment_id: None,
            session_id: None,
            created_at: None,
        }
    }

    /// The same with a value, and the score that the value reads as.
    #[must_use]
    pub fn with_value(mut self, value: Value<'a>) -> Self {
        self.score = value.reading();
        self.value = Some(value);
        self
    }

    /// Whether the value says nothing beside the score: it is its number, or absent.
    pub fn value_repeats_score(&self) -> bool {
        self.value.as_ref().is_none_or(|value| {
            let reading = value.reading();
            reading.is_some() && reading == self.score
        })
    }

    /// Detaches the feedback from the bytes it borrows.
    pub fn into_owned(self) -> Feedback<'static> {
        Feedback {
            id: self.id,
            trace_id: self.trace_id.into_owned(),
            target: self.target.map(Target::into_owned),
            metric: self.metric.into_owned(),
            value: self.value.map(Value::into_owned),
            score: self.score,
            weight: self.weight,
            comment: self.comment.map(Text::into_owned),
            correction: self.correction.map(Json::into_owned),
            tags: self.tags.into_owned(),
            metadata: self.metadata.map(Json::into_owned),
            rater: self.rater.map(Text::into_owned),
            source: self.source.map(Source::into_owned),
            group_id: self.group_id.map(Text::into_owned),
            experiment_id: self.experiment_id.map(Text::into_owned),
            session_id: self.session_id.map(Text::into_owned),
            created_at: self.created_at,
        }
    }
}

fn full_weight() -> f64 {
    1.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_full_weight(weight: &f64) -> bool {
    weight.to_bits() == 1.0_f64.to_bits()
}

// === impl Target ===

impl Target<'_> {
    /// Detaches the target from the bytes it borrows.
    pub fn into_owned(self) -> Target<'static> {
        Target {
            kind: self.kind,
            id: self.id.into_owned(),
        }
    }
}

impl TargetKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Trace,
        Self::Run,
        Self::Inference,
        Self::Episode,
        Self::Datapoint,
        Self::EvaluationResult,
        Self::EvaluationSample,
        Self::Project,
        Self::Experiment,
    ];

    /// The public name, in the API and the column `target_kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Run => "run",
            Self::Inference => "inference",
            Self::Episode => "episode",
            Self::Datapoint => "datapoint",
            Self::EvaluationResult => "evaluation_result",
            Self::EvaluationSample => "evaluation_sample",
            Self::Project => "project",
            Self::Experiment => "experiment",
        }
    }
}

impl FromStr for TargetKind {
    type Err = UnknownTargetKind;

    fn from_str(text: &str) -> Result<Self, UnknownTargetKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or(UnknownTargetKind)
    }
}

// === impl Source ===

impl Source<'_> {
    /// The kind of a feedback without a source.
    pub const DEFAULT_KIND: &'static str = "api";

    /// Detaches the source from the bytes it borrows.
    pub fn into_owned(self) -> Source<'static> {
        Source {
            kind: self.kind.into_owned(),
            info: self.info.map(Json::into_owned),
            run_id: self.run_id.map(Text::into_owned),
        }
    }
}

// === impl Tags ===

impl<'a> Tags<'a> {
    /// Sets a tag; a key that is there already gets the new text.
    pub fn insert(&mut self, key: impl Into<Text<'a>>, text: impl Into<Text<'a>>) {
        let (key, text) = (key.into(), text.into());
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, slot)) => *slot = text,
            None => self.0.push((key, text)),
        }
    }

    /// The text of a tag.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, text) = self.0.iter().find(|(known, _)| known == key)?;
        Some(text)
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, text)| (key.as_str(), text.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Detaches the tags from the bytes they borrow.
    pub fn into_owned(self) -> Tags<'static> {
        let owned = |(key, text): (Text<'_>, Text<'_>)| (key.into_owned(), text.into_owned());
        Tags(self.0.into_iter().map(owned).collect())
    }
}

impl<'a> From<Vec<(Text<'a>, Text<'a>)>> for Tags<'a> {
    /// Of several texts of one key the last counts, in the place of the first.
    ///
    /// The time is in proportion to the number of pairs, whatever they are: there may be
    /// far more than a feedback may have.
    fn from(pairs: Vec<(Text<'a>, Text<'a>)>) -> Self {
        /// So few are compared with each other sooner than they are hashed.
        const FEW: usize = 16;

        let is_new = |index: usize| {
            let (before, rest) = pairs.split_at(index);
            let key = rest.first().map(|(key, _)| key);
            before.iter().all(|(known, _)| Some(known) != key)
        };
        if pairs.len() <= FEW && (0..pairs.len()).all(is_new) {
            return Self(pairs);
        }
        let mut places = HashMap::with_capacity(pairs.len());
        let mut tags: Vec<(Text<'a>, Text<'a>)> = Vec::with_capacity(pairs.len());
        for (key, text) in pairs {
            match places.entry(key.clone()) {
                Entry::Vacant(place) => {
                    place.insert(tags.len());
                    tags.push((key, text));
                }
                Entry::Occupied(place) => {
                    if let Some((_, known)) = tags.get_mut(*place.get()) {
                        *known = text;
                    }
                }
            }
        }
        Self(tags)
    }
}

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TagsVisitor;

        impl<'de> Visitor<'de> for TagsVisitor {
            type Value = Tags<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    pairs.push(pair);
                }
                Ok(pairs.into())
            }
        }

        deserializer.deserialize_map(TagsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_tags_with_one_key_wins() {
        let tags: Tags<'_> = serde_json::from_str(r#"{"a":"1","b":"2","a":"3"}"#).unwrap();
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
    }

    #[test]
    fn p5_many_tags_are_the_same_as_one_after_the_other() {
        let mut one_by_one = Tags::default();
        let mut pairs: Vec<(Text<'_>, Text<'_>)> = Vec::new();
        for number in 0..100 {
            let (key, text) = (format!("k{}", number % 60), number.to_string());
            one_by_one.insert(key.clone(), text.clone());
            pairs.push((key.into(), text.into()));
        }
        assert_eq!(Tags::from(pairs), one_by_one);
        // Compared with each other these would take hours.
        let pair = |number: u32| (number.to_string().into(), "".into());
        let many: Vec<_> = (0..1 << 20).map(pair).collect();
        assert_eq!(Tags::from(many).len(), 1 << 20);
    }

    #[test]
    fn target_kinds_read_back_and_match_the_wire() {
        for kind in TargetKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(
                serde_json::to_string(&kind).unwrap(),
                format!("{:?}", kind.name())
            );
        }
    }

    #[test]
    fn a_value_sets_the_score_it_reads_as() {
        let feedback = Feedback::new(Uuid::nil(), "t", "m").with_value(Value::of(&true).unwrap());
        assert_eq!(feedback.score, Some(1.0));
    }
}
