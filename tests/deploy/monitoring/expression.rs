//! The series that an expression of PromQL asks for, as it asks for them.

use std::fmt;

/// A metric and its matchers, such as `up{job="x"}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    matchers: Option<String>,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, matchers } = self;
        match matchers {
            Some(matchers) => write!(f, "{metric}{{{matchers}}}"),
            None => write!(f, "{metric}"),
        }
    }
}

/// What our metrics and ClickHouse's begin with; all else is a function or a label.
const BEGINNINGS: [&str; 4] = ["plaudit_", "plaudit:", "clickhouse_", "ClickHouse"];

impl Selector {
    /// Every selector of a metric that somebody has to export.
    pub(crate) fn all_in(expression: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut rest = expression;
        while let Some(start) = rest.find(|c: char| is_name(c) || c == '"') {
            rest = rest.get(start..).unwrap_or_default();
            if let Some(text) = rest.strip_prefix('"') {
                // A label's value: no metric is named in it.
                rest = text.split_once('"').map_or("", |(_, after)| after);
                continue;
            }
            let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = after;
            let is_metric = name == "up" || BEGINNINGS.iter().any(|start| name.starts_with(start));
            if is_metric {
                let matchers = after
                    .strip_prefix('{')
                    .and_then(|in_braces| in_braces.split_once('}'));
                found.push(Self {
                    metric: name.to_owned(),
                    matchers: matchers.map(|(matchers, _)| matchers.to_owned()),
                });
            }
        }
        found
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}
