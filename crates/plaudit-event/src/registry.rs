//! The metrics that an installation declares, and what each allows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Feedback, FieldError, ItemCode, Value, ValueType};

/// Declared metrics, read from TOML:
///
/// ```toml
/// [metrics.helpful]
/// type = "boolean"
///
/// [metrics.stars]
/// type = "integer"
/// min = 1
/// max = 5
/// optimize = "max"
///
/// [metrics.tone]
/// type = "categorical"
/// categories = ["warm", "cold"]
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    metrics: BTreeMap<String, Metric>,
    /// Not in the file: it is the setting `metrics.unknown`.
    #[serde(skip)]
    unknown: UnknownMetrics,
}

/// What one metric allows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The type that a value must have.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// What the metric is given to, where a dialect tells the two apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The lowest number, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The highest number, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The words that a categorical value may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Which way is better; shown, not enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimize: Option<Optimize>,
    /// Whether a value that does not fit is refused; else the declaration only
    /// tells readers what to expect.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enforced: bool,
    /// The declaration in the words of the API that it came by, to be shown there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_as: Option<serde_json::Value>,
}

fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_yes(flag: &bool) -> bool {
    *flag
}

/// The type of a metric's values.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MetricType {
    /// `true` or `false`.
    Boolean,
    /// A number without a fraction.
    Integer,
    /// Any number.
    Float,
    /// One of a list of words.
    Categorical,
    /// Any text.
    Text,
    /// Any JSON value.
    Json,
}

/// What a metric is given to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// One model call.
    Inference,
    /// A sequence of them.
    Episode,
}

/// Which way of a metric is better.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimize {
    /// More is better.
    Max,
    /// Less is better.
    Min,
}

/// What becomes of feedback on a metric that nobody declared (`metrics.unknown`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownMetrics {
    /// It is taken, with whichever type its value has.
    #[default]
    Accept,
    /// It is refused with `unknown_metric`.
    Reject,
}

/// Why a registry cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Not TOML, or a key that no metric has.
    #[error("not a metric registry")]
    Syntax(#[source] toml::de::Error),
    /// A declaration that contradicts itself.
    #[error("metrics.{metric}: {problem}")]
    Metric {
        /// The metric's name.
        metric: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

// === impl Registry ===

impl Registry {
    /// Declares a metric, unless it is declared already.
    pub(crate) fn add(&mut self, name: &str, metric: &Metric) {
        if !self.metrics.contains_key(name) {
            self.metrics.insert(name.to_owned(), metric.clone());
        }
    }

    /// Reads the declarations of a registry file.
    ///
    /// # Errors
    /// Names the key or the metric that is wrong; the registry in use stays.
    pub fn from_toml(text: &str, unknown: UnknownMetrics) -> Result<Self, RegistryError> {
        let mut registry: Self = toml::from_str(text).map_err(RegistryError::Syntax)?;
        registry.unknown = unknown;
        for (name, metric) in &registry.metrics {
            if let Some(problem) = metric.problem() {
                return Err(RegistryError::Metric {
                    metric: name.clone(),
                    problem,
                });
            }
        }
        Ok(registry)
    }

    /// A registry without declarations.
    pub fn empty(unknown: UnknownMetrics) -> Self {
        Self {
            metrics: BTreeMap::new(),
            unknown,
        }
    }

    /// A metric's declaration.
    pub fn get(&self, metric: &str) -> Option<&Metric> {
        self.metrics.get(metric)
    }

    /// Every declaration, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.metrics
            .iter()
            .map(|(name, metric)| (name.as_str(), metric))
    }

    /// What becomes of undeclared metrics.
    pub fn unknown(&self) -> UnknownMetrics {
        self.unknown
    }

    /// Checks a feedback's value against its metric's declaration.
    ///
    /// A feedback without a value (a comment or a correction alone) is allowed
    /// for every declared metric.
    ///
    /// # Errors
    /// `unknown_metric`, `wrong_type` or `out_of_range`, for `metric` or `value`.
    pub fn check(&self, feedback: &Feedback<'_>) -> Result<(), FieldError> {
        match (self.get(&feedback.metric), &feedback.value, self.unknown) {
            (Some(metric), Some(value), _) => metric.check(value),
            (Some(_), None, _) | (None, _, UnknownMetrics::Accept) => Ok(()),
            (None, _, UnknownMetrics::Reject) => {
                let message = "is not declared in the metric registry";
                Err(FieldError::new(ItemCode::UnknownMetric, "metric", message))
            }
        }
    }
}

// === impl Metric ===

impl Metric {
    /// Checks one value.
    ///
    /// # Errors
    /// `wrong_type` or `out_of_range`, for `value`.
    pub fn check(&self, value: &Value<'_>) -> Result<(), FieldError> {
        if !self.enforced {
            return Ok(());
        }
        match (self.kind, value.kind()) {
            (MetricType::Boolean, ValueType::Bool)
            | (MetricType::Text, ValueType::Text)
            | (MetricType::Json, _) => Ok(()),
            (MetricType::Integer, ValueType::Int)
            | (MetricType::Float, ValueType::Int | ValueType::Float) => self.check_range(value),
            (MetricType::Categorical, ValueType::Text) => self.check_category(value),
            (kind, _) => Err(FieldError::wrong_type("value", kind.expected())),
        }
    }

    fn check_range(&self, value: &Value<'_>) -> Result<(), FieldError> {
        let Some(number) = value.reading() else {
            return Ok(());
        };
        let message = match (self.min, self.max) {
            (Some(min), Some(max)) if !(min..=max).contains(&number) => {
                format!("must be {min} to {max}")
            }
            (Some(min), _) if number < min => format!("must be at least {min}"),
            (_, Some(max)) if number > max => format!("must be at most {max}"),
            _ => return Ok(()),
        };
        Err(FieldError::new(ItemCode::OutOfRange, "value", message))
    }

    fn check_category(&self, value: &Value<'_>) -> Result<(), FieldError> {
        let known = value.as_text().is_some_and(|word| {
            self.categories
                .iter()
                .any(|category| word == category.as_str())
        });
        if known {
            return Ok(());
        }
        let message = format!("must be one of {}", self.categories.join(", "));
        Err(FieldError::new(ItemCode::OutOfRange, "value", message))
    }

    /// Why the declaration makes no sense; `None` when it does.
    pub fn problem(&self) -> Option<&'static str> {
        let numeric = matches!(self.kind, MetricType::Integer | MetricType::Float);
        let categorical = self.kind == MetricType::Categorical;
        match (self.min, self.max) {
            (Some(_), _) | (_, Some(_)) if !numeric => {
                Some("min and max need type = \"integer\" or \"float\"")
            }
            (Some(min), Some(max)) if min > max => Some("min is greater than max"),
            _ if categorical && self.categories.is_empty() => {
                Some("type = \"categorical\" needs categories")
            }
            _ if !categorical && !self.categories.is_empty() => {
                Some("categories need type = \"categorical\"")
            }
            _ => None,
        }
    }
}

impl MetricType {
    const fn expected(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a number",
            Self::Categorical | Self::Text => "a string",
            Self::Json => "any JSON value",
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const DECLARED: &str = r#"
        [metrics.helpful]
        type = "boolean"
        level = "inference"
        [metrics.stars]
        type = "integer"
        min = 1
        max = 5
        [metrics.tone]
        type = "categorical"
        categories = ["warm", "cold"]
    "#;

    fn check(metric: &'static str, value: impl Serialize) -> Result<(), (ItemCode, String)> {
        let registry = Registry::from_toml(DECLARED, UnknownMetrics::Reject).unwrap();
        let feedback =
            Feedback::new(Uuid::nil(), "t", metric).with_value(Value::of(&value).unwrap());
        registry
            .check(&feedback)
            .map_err(|error| (error.code, error.message.into_owned()))
    }

    #[test]
    fn values_are_held_to_their_metric() {
        assert_eq!(check("helpful", true), Ok(()));
        assert_eq!(
            check("helpful", 1),
            Err((ItemCode::WrongType, "must be a boolean".into()))
        );
        assert_eq!(check("stars", 5), Ok(()));
        assert_eq!(
            check("stars", 6),
            Err((ItemCode::OutOfRange, "must be 1 to 5".into()))
        );
        assert_eq!(
            check("stars", 2.5),
            Err((ItemCode::WrongType, "must be an integer".into()))
        );
        assert_eq!(check("tone", "warm"), Ok(()));
        assert_eq!(
            check("tone", "hot"),
            Err((ItemCode::OutOfRange, "must be one of warm, cold".into()))
        );
        assert_eq!(check("other", 1).unwrap_err().0, ItemCode::UnknownMetric);
    }

    #[test]
    fn undeclared_metrics_are_taken_by_default() {
        let feedback = Feedback::new(Uuid::nil(), "t", "any");
        assert_eq!(Registry::default().check(&feedback), Ok(()));
    }

    #[test]
    fn a_declaration_that_contradicts_itself_is_named() {
        let error = |text| {
            Registry::from_toml(text, UnknownMetrics::Accept)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("[metrics.a]\ntype = \"integer\"\nmin = 2\nmax = 1"),
            "metrics.a: min is greater than max"
        );
        assert_eq!(
            error("[metrics.a]\ntype = \"categorical\""),
            "metrics.a: type = \"categorical\" needs categories"
        );
        assert_eq!(
            error("[metrics.a]\ntype = \"star\""),
            "not a metric registry"
        );
    }
}
