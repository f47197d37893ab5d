//! How LangSmith reads the scores of a key: a feedback configuration, and the
//! metric that it declares.
//!
//! A configuration that comes with a feedback declares its key unless that is
//! declared already, and refuses nothing: a stranger's first feedback must not
//! decide what others may say. One that is declared by name may be enforced.

use plaudit_event::{
    Declaration, Feedback, FieldError, ItemCode, Metric, MetricType, Optimize, ValueType,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Call;

/// How the scores of a key are to be read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Config {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    categories: Option<Vec<Category>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allows_multiple_categories: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Continuous,
    Categorical,
    Freeform,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Category {
    value: f64,
    #[serde(default)]
    label: Option<String>,
}

/// A declared configuration, as the registry keeps it for this API.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Declared {
    pub(super) feedback_config: Config,
    pub(super) is_enforced: bool,
    pub(super) is_lower_score_better: Option<bool>,
    /// When it was declared; `None` for a key that the registry's file declares.
    pub(super) modified_at: Option<String>,
}

/// The most keys that one request declares; the others' next feedback does.
const MAX_DECLARATIONS: usize = 100;

// === impl Config ===

impl Config {
    /// # Errors
    /// When the JSON is no configuration, or one that contradicts itself.
    pub(super) fn read(sent: &RawValue) -> Result<Self, FieldError> {
        let config: Self = serde_json::from_str(sent.get()).map_err(|_| {
            let expected = "an object with type (continuous, categorical or freeform), \
                            min, max and categories (value, label)";
            FieldError::wrong_type("feedback_config", expected)
        })?;
        let number = [config.min, config.max].into_iter().flatten();
        let numbers = number.chain(config.categories().iter().map(|category| category.value));
        let problem = if numbers.into_iter().any(|number| !number.is_finite()) {
            Some("has a number that is not finite")
        } else if config.kind == Kind::Categorical && config.categories().is_empty() {
            Some("of type categorical needs categories")
        } else if config
            .min
            .zip(config.max)
            .is_some_and(|(min, max)| min > max)
        {
            Some("has a min greater than its max")
        } else {
            None
        };
        match problem {
            Some(problem) => Err(FieldError::new(
                ItemCode::OutOfRange,
                "feedback_config",
                problem,
            )),
            None => Ok(config),
        }
    }

    /// The configuration that says the most of a metric that another API declared.
    fn of(metric: &Metric) -> Self {
        let (kind, min, max) = match metric.kind {
            MetricType::Boolean => (Kind::Continuous, Some(0.0), Some(1.0)),
            MetricType::Integer | MetricType::Float => (Kind::Continuous, metric.min, metric.max),
            MetricType::Categorical => (Kind::Categorical, None, None),
            _ => (Kind::Freeform, None, None),
        };
        let category = |(value, label): (u32, &String)| Category {
            value: value.into(),
            label: Some(label.clone()),
        };
        let categories = (kind == Kind::Categorical)
            .then(|| (0..).zip(&metric.categories).map(category).collect());
        Self {
            kind,
            min,
            max,
            categories,
            allows_multiple_categories: None,
        }
    }

    fn categories(&self) -> &[Category] {
        self.categories.as_deref().unwrap_or_default()
    }

    /// Whether a feedback is one of those that the configuration describes.
    fn check(&self, feedback: &Feedback<'_>) -> Result<(), FieldError> {
        let fault = |message| Err(FieldError::new(ItemCode::OutOfRange, "score", message));
        let Some(score) = feedback.score else {
            return self.check_label(feedback);
        };
        let low = self.min.is_some_and(|min| score < min);
        let high = self.max.is_some_and(|max| score > max);
        let known = |category: &Category| category.value.total_cmp(&score).is_eq();
        match self.kind {
            Kind::Continuous if low || high => fault("is outside the key's configuration"),
            Kind::Categorical if !self.categories().iter().any(known) => {
                fault("is not a category of the key's configuration")
            }
            _ => Ok(()),
        }
    }

    /// Without a score the value has to be a label.
    fn check_label(&self, feedback: &Feedback<'_>) -> Result<(), FieldError> {
        let Some(value) = feedback
            .value
            .as_ref()
            .filter(|_| self.kind == Kind::Categorical)
        else {
            return Ok(());
        };
        let known = value.kind() == ValueType::Text
            && value.as_text().is_some_and(|text| {
                self.categories()
                    .iter()
                    .any(|category| category.label.as_deref() == Some(&*text))
            });
        if known {
            return Ok(());
        }
        let message = "is not a label of the key's configuration";
        Err(FieldError::new(ItemCode::OutOfRange, "value", message))
    }
}

impl Category {
    /// What other APIs may say for it.
    fn word(&self) -> String {
        match &self.label {
            Some(label) => label.clone(),
            None => self.value.to_string(),
        }
    }
}

// === impl Declared ===

impl Declared {
    /// A metric's configuration, whoever declared it.
    pub(super) fn of(metric: &Metric) -> Self {
        Self::own(metric).unwrap_or_else(|| Self {
            feedback_config: Config::of(metric),
            is_enforced: metric.enforced,
            is_lower_score_better: metric.optimize.map(|way| way == Optimize::Min),
            modified_at: None,
        })
    }

    /// The configuration of a metric that this API declared.
    fn own(metric: &Metric) -> Option<Self> {
        Self::deserialize(metric.declared_as.as_ref()?).ok()
    }

    /// What it makes of a key.
    pub(super) fn declaration(self, key: &str) -> Declaration {
        let config = &self.feedback_config;
        let bounds = (config.kind == Kind::Continuous).then_some((config.min, config.max));
        let (min, max) = bounds.unwrap_or_default();
        let (kind, categories) = match config.kind {
            Kind::Continuous => (MetricType::Float, Vec::new()),
            Kind::Categorical => (
                MetricType::Categorical,
                config.categories().iter().map(Category::word).collect(),
            ),
            Kind::Freeform => (MetricType::Json, Vec::new()),
        };
        let optimize = self.is_lower_score_better.map(|lower| match lower {
            true => Optimize::Min,
            false => Optimize::Max,
        });
        Declaration {
            metric: key.to_owned(),
            declared: Some(Metric {
                kind,
                level: None,
                min,
                max,
                categories,
                optimize,
                enforced: self.is_enforced,
                declared_as: serde_json::to_value(&self).ok(),
            }),
        }
    }
}

/// Holds a feedback to its key's configuration. A key that another API declared
/// is held to that declaration.
pub(super) fn check(call: &Call<'_>, feedback: &Feedback<'_>) -> Result<(), FieldError> {
    let metric = call.registry().get(&feedback.metric);
    match metric
        .filter(|metric| metric.enforced)
        .and_then(Declared::own)
    {
        Some(declared) => declared.feedback_config.check(feedback),
        None => call.registry().check(feedback),
    }
}

/// The declaration of a key by a feedback of it; `None` when it is declared, or
/// when what was sent is no configuration: the feedback counts all the same.
pub(super) fn declare_once(call: &Call<'_>, key: &str, config: &RawValue) -> Option<Declaration> {
    let fits = (1..=call.limits.max_metric_bytes).contains(&key.len());
    if !fits || call.registry().get(key).is_some() {
        return None;
    }
    let declared = Declared {
        feedback_config: Config::read(config).ok()?,
        is_enforced: false,
        is_lower_score_better: None,
        modified_at: Some(call.received_at.to_string()),
    };
    Some(declared.declaration(key))
}

/// Adds what a feedback declares to what its request declares already: the first
/// of a key counts.
pub(super) fn add(
    declarations: &mut Vec<Declaration>,
    declare: impl FnOnce() -> Option<Declaration>,
) {
    if declarations.len() == MAX_DECLARATIONS {
        return;
    }
    let Some(new) = declare() else { return };
    if declarations.iter().all(|known| known.metric != new.metric) {
        declarations.push(new);
    }
}
