//! SQL with its values beside it.

use clickhouse::query::Query;
use uuid::Uuid;

/// The text of a query, with a `?` for each value, and the values.
///
/// The two grow together, so that they cannot fall out of step.
#[derive(Debug, Default)]
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

/// A value that is bound to a `?`.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Texts(Vec<String>),
    Numbers(Vec<i64>),
}

impl Sql {
    /// Text without values.
    pub(super) fn new(text: &str) -> Self {
        Self::default().then(text)
    }

    /// Appends text.
    pub(super) fn then(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Appends text in which each `?` is the next of `values`.
    pub(super) fn with<const N: usize>(mut self, text: &str, values: [Value; N]) -> Self {
        debug_assert_eq!(text.matches('?').count(), N, "{text}");
        self.text.push_str(text);
        self.values.extend(values);
        self
    }

    /// Appends another query's text and values.
    pub(super) fn append(mut self, other: Self) -> Self {
        self.text.push_str(&other.text);
        self.values.extend(other.values);
        self
    }

    /// The query, with everything bound.
    pub(super) fn into_query(self, query: impl FnOnce(&str) -> Query) -> Query {
        let query = query(&self.text);
        self.values
            .into_iter()
            .fold(query, |query, value| match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
                Value::Texts(texts) => query.bind(texts),
                Value::Numbers(numbers) => query.bind(numbers),
            })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Self::Text(id.to_string())
    }
}
