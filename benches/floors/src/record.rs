//! A record of the topic, in the fields and the order that Plaudit writes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

/// An event as it stands in Kafka.
#[derive(Deserialize, Serialize)]
pub struct Record<'a> {
    /// The version of the format.
    pub v: u16,
    /// Whose it is.
    #[serde(borrow)]
    pub project: Cow<'a, str>,
    /// The API that it came by.
    #[serde(borrow)]
    pub dialect: Cow<'a, str>,
    /// In microseconds.
    pub received_at: i64,
    /// In microseconds.
    pub version_time: i64,
    /// What is to happen.
    #[serde(borrow)]
    pub operation: Operation<'a>,
}

/// The one operation that a floor knows.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation<'a> {
    /// Says something.
    Put(#[serde(borrow)] Box<Feedback<'a>>),
}

/// A feedback. Absent text is empty; `Option<Cow<str>>` would never borrow.
#[derive(Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the columns of the table, name by name")]
pub struct Feedback<'a> {
    pub id: Uuid,
    #[serde(borrow)]
    pub trace_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target<'a>>,
    #[serde(borrow)]
    pub metric: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    #[serde(skip_serializing)]
    pub weight: Option<f64>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub comment: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub correction: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub rater: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source<'a>>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub group_id: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub experiment_id: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub session_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
}

/// What a feedback is about.
#[derive(Default, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the columns of the table, name by name")]
pub struct Target<'a> {
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub id: Cow<'a, str>,
}

/// Where a feedback came from.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the columns of the table, name by name")]
pub struct Source<'a> {
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub info: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub run_id: Cow<'a, str>,
}

/// String pairs, as they come.
#[derive(Default)]
pub struct Tags<'a>(pub Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Tags<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Feedback<'_> {
    fn default() -> Self {
        const NONE: Cow<'_, str> = Cow::Borrowed("");
        Self {
            id: Uuid::nil(),
            trace_id: NONE,
            target: None,
            metric: NONE,
            value: None,
            score: None,
            weight: None,
            comment: NONE,
            correction: None,
            tags: Tags::default(),
            metadata: None,
            rater: NONE,
            source: None,
            group_id: NONE,
            experiment_id: NONE,
            session_id: NONE,
            created_at: None,
        }
    }
}

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, text)| (key, text)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Text that borrows where it can: a bare `Cow` in a map never does.
        #[derive(Deserialize)]
        struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Tags<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(key), Text(text))) = map.next_entry()? {
                    pairs.push((key, text));
                }
                Ok(Tags(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}
