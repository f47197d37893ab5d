//! How large an event may be, and what is wrong with one that is not.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Edit, Feedback, Json, Patch, Source, Tags, Text, Value};

/// Bounds on the content of one event (`intake.limits.*`), in bytes of UTF-8.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// `trace_id`, `target.id`, `rater`, `source.kind`, `source.run_id`,
    /// `group_id`, `experiment_id` and `session_id`, each.
    pub max_id_bytes: usize,
    /// `metric`.
    pub max_metric_bytes: usize,
    /// `comment`, and a `value` that is text.
    pub max_text_bytes: usize,
    /// `correction`, `metadata`, `source.info`, and a `value` that is JSON, each.
    pub max_json_bytes: usize,
    /// How deep arrays and objects may nest in any of these.
    pub max_json_depth: usize,
    /// How many tags one event has.
    pub max_tags: usize,
    /// A tag's key.
    pub max_tag_key_bytes: usize,
    /// A tag's text.
    pub max_tag_value_bytes: usize,
}

/// What is wrong with one field. It names the field and never repeats its content.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The kind of fault, for machines.
    pub code: ItemCode,
    /// The field, as the client spells it, such as `source.info`.
    pub field: Cow<'static, str>,
    /// The fault, for people, such as `must be 0 to 1`.
    pub message: Cow<'static, str>,
}

/// The kinds of faults of an item. The names are public.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ItemCode {
    /// A required field is absent or empty.
    MissingField,
    /// The field's JSON type, or its form, is another one.
    WrongType,
    /// A number, a time or a category outside what is allowed.
    OutOfRange,
    /// Too many bytes or too many entries.
    TooLong,
    /// Arrays and objects nest too deep.
    TooDeep,
    /// The dialect has no such field, or does not take it in this operation.
    UnknownField,
    /// The metric is not declared, and undeclared ones are refused.
    UnknownMetric,
}

// === impl ItemCode ===

impl ItemCode {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::TooLong,
        Self::TooDeep,
        Self::UnknownField,
        Self::UnknownMetric,
    ];

    /// The public name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::TooLong => "too_long",
            Self::TooDeep => "too_deep",
            Self::UnknownField => "unknown_field",
            Self::UnknownMetric => "unknown_metric",
        }
    }
}

// === impl FieldError ===

impl FieldError {
    /// An error in `field`.
    pub fn new(
        code: ItemCode,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code,
            field: field.into(),
            message: message.into(),
        }
    }

    /// A required field that is not there.
    pub fn missing(field: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ItemCode::MissingField, field, "is required")
    }

    /// A field whose content has another type or form than `expected`.
    pub fn wrong_type(field: impl Into<Cow<'static, str>>, expected: &str) -> Self {
        Self::new(ItemCode::WrongType, field, format!("must be {expected}"))
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_id_bytes: 512,
            max_metric_bytes: 256,
            max_text_bytes: 64 * 1024,
            max_json_bytes: 256 * 1024,
            max_json_depth: 32,
            max_tags: 64,
            max_tag_key_bytes: 128,
            max_tag_value_bytes: 1024,
        }
    }
}

impl Limits {
    /// Checks a feedback that a dialect has built.
    ///
    /// # Errors
    /// The first field that is empty, too large, too deep or out of range.
    pub fn check(&self, feedback: &Feedback<'_>) -> Result<(), FieldError> {
        self.name("trace_id", &feedback.trace_id, self.max_id_bytes)?;
        self.name("metric", &feedback.metric, self.max_metric_bytes)?;
        if let Some(target) = &feedback.target {
            self.name("target.id", &target.id, self.max_id_bytes)?;
        }
        if let Some(value) = &feedback.value {
            self.value(value)?;
        }
        if let Some(score) = feedback.score {
            finite("score", score)?;
        }
        weight(feedback.weight)?;
        self.text("comment", feedback.comment.as_ref(), self.max_text_bytes)?;
        self.json("correction", feedback.correction.as_ref())?;
        self.tags(&feedback.tags)?;
        self.json("metadata", feedback.metadata.as_ref())?;
        if let Some(source) = &feedback.source {
            self.source(source)?;
        }
        for (field, text) in [
            ("rater", &feedback.rater),
            ("group_id", &feedback.group_id),
            ("experiment_id", &feedback.experiment_id),
            ("session_id", &feedback.session_id),
        ] {
            self.text(field, text.as_ref(), self.max_id_bytes)?;
        }
        Ok(())
    }

    /// Checks what a patch sets.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_patch(&self, patch: &Patch<'_>) -> Result<(), FieldError> {
        if let Edit::Set(target) = &patch.target {
            self.name("target.id", &target.id, self.max_id_bytes)?;
        }
        for value in [&patch.value, &patch.value_as_score] {
            if let Edit::Set(value) = value {
                self.value(value)?;
            }
        }
        if let Edit::Set(score) = patch.score {
            finite("score", score)?;
        }
        if let Edit::Set(given) = patch.weight {
            weight(given)?;
        }
        self.text("comment", patch.comment.as_set(), self.max_text_bytes)?;
        self.json("correction", patch.correction.as_set())?;
        if let Edit::Set(tags) = &patch.tags {
            self.tags(tags)?;
        }
        self.json("metadata", patch.metadata.as_set())?;
        if let Edit::Set(source) = &patch.source {
            self.source(source)?;
        }
        for (field, text) in [
            ("rater", &patch.rater),
            ("group_id", &patch.group_id),
            ("experiment_id", &patch.experiment_id),
            ("session_id", &patch.session_id),
        ] {
            self.text(field, text.as_set(), self.max_id_bytes)?;
        }
        Ok(())
    }

    /// A text that must not be empty.
    fn name(&self, field: &'static str, text: &str, max: usize) -> Result<(), FieldError> {
        if text.is_empty() {
            return Err(FieldError::new(
                ItemCode::MissingField,
                field,
                "must not be empty",
            ));
        }
        length(field, text.len(), max)
    }

    fn text(
        &self,
        field: &'static str,
        text: Option<&Text<'_>>,
        max: usize,
    ) -> Result<(), FieldError> {
        text.map_or(Ok(()), |text| length(field, text.len(), max))
    }

    fn json(&self, field: &'static str, json: Option<&Json<'_>>) -> Result<(), FieldError> {
        let Some(json) = json else { return Ok(()) };
        length(field, json.get().len(), self.max_json_bytes)?;
        if json.depth() > self.max_json_depth {
            let message = format!("must nest at most {} deep", self.max_json_depth);
            return Err(FieldError::new(ItemCode::TooDeep, field, message));
        }
        Ok(())
    }

    fn value(&self, value: &Value<'_>) -> Result<(), FieldError> {
        use crate::ValueType::{Bool, Float, Int, Json, Text};

        match value.kind() {
            Text => length("value", value.json().len(), self.max_text_bytes)?,
            Json => self.json("value", Some(value.raw()))?,
            Bool | Int | Float => {}
        }
        value
            .reading()
            .map_or(Ok(()), |reading| finite("value", reading))
    }

    fn source(&self, source: &Source<'_>) -> Result<(), FieldError> {
        self.name("source.kind", &source.kind, self.max_id_bytes)?;
        self.text("source.run_id", source.run_id.as_ref(), self.max_id_bytes)?;
        self.json("source.info", source.info.as_ref())
    }

    fn tags(&self, tags: &Tags<'_>) -> Result<(), FieldError> {
        if tags.len() > self.max_tags {
            let message = format!("must have at most {} entries", self.max_tags);
            return Err(FieldError::new(ItemCode::TooLong, "tags", message));
        }
        for (key, text) in tags.iter() {
            self.name("tags", key, self.max_tag_key_bytes)?;
            length("tags", text.len(), self.max_tag_value_bytes)?;
        }
        Ok(())
    }
}

fn length(field: &'static str, bytes: usize, max: usize) -> Result<(), FieldError> {
    if bytes <= max {
        return Ok(());
    }
    let message = format!("must have at most {max} bytes");
    Err(FieldError::new(ItemCode::TooLong, field, message))
}

fn finite(field: &'static str, number: f64) -> Result<(), FieldError> {
    if number.is_finite() {
        return Ok(());
    }
    Err(FieldError::new(
        ItemCode::OutOfRange,
        field,
        "must be a finite number",
    ))
}

fn weight(weight: f64) -> Result<(), FieldError> {
    if (0.0..=1.0).contains(&weight) {
        return Ok(());
    }
    Err(FieldError::new(
        ItemCode::OutOfRange,
        "weight",
        "must be 0 to 1",
    ))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn fault(change: impl FnOnce(&mut Feedback<'static>)) -> (ItemCode, String) {
        let mut feedback = Feedback::new(Uuid::nil(), "t", "m");
        Limits::default().check(&feedback).unwrap();
        change(&mut feedback);
        let error = Limits::default().check(&feedback).unwrap_err();
        (error.code, error.field.into_owned())
    }

    #[test]
    fn each_bound_names_its_field() {
        let long = |bytes| Text::from("x".repeat(bytes));
        let deep = Json::parse(Box::leak("[".repeat(33).into_boxed_str())).map(|_| ());
        assert!(deep.is_err(), "unbalanced is not JSON");
        let nested = format!("{}{}", "[".repeat(33), "]".repeat(33));
        let nested: Json<'static> = Json::parse(&nested).unwrap().into_owned();

        assert_eq!(
            fault(|f| f.trace_id = "".into()),
            (ItemCode::MissingField, "trace_id".into())
        );
        assert_eq!(
            fault(|f| f.trace_id = long(513)),
            (ItemCode::TooLong, "trace_id".into())
        );
        assert_eq!(
            fault(|f| f.metric = long(257)),
            (ItemCode::TooLong, "metric".into())
        );
        assert_eq!(
            fault(|f| f.weight = 1.01),
            (ItemCode::OutOfRange, "weight".into())
        );
        assert_eq!(
            fault(|f| f.weight = f64::NAN),
            (ItemCode::OutOfRange, "weight".into())
        );
        assert_eq!(
            fault(|f| f.score = Some(f64::INFINITY)),
            (ItemCode::OutOfRange, "score".into())
        );
        assert_eq!(
            fault(|f| f.comment = Some(long(65_537))),
            (ItemCode::TooLong, "comment".into())
        );
        assert_eq!(
            fault(|f| f.metadata = Some(nested)),
            (ItemCode::TooDeep, "metadata".into())
        );
        assert_eq!(
            fault(|f| f.tags.insert("k", long(1025))),
            (ItemCode::TooLong, "tags".into())
        );
        assert_eq!(
            fault(|f| f.tags.insert("", "v")),
            (ItemCode::MissingField, "tags".into())
        );
    }

    #[test]
    fn a_number_beyond_f64_is_out_of_range() {
        let huge = Value::from_json(Json::parse("1e999").unwrap()).unwrap();
        let (code, field) = fault(|f| f.value = Some(huge));
        assert_eq!((code, field.as_str()), (ItemCode::OutOfRange, "value"));
    }
}
