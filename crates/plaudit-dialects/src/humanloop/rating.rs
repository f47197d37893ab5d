//! What one Humanloop feedback comes to: its id, and its event.

use plaudit_event::{
    Feedback, Json, Micros, Operation, Source, Target, TargetKind, Text, Value, identity,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::raw;

/// One feedback that has all it needs.
pub(super) struct Rating<'a> {
    pub(super) kind: Text<'a>,
    pub(super) data_id: Text<'a>,
    /// Absent only where a single feedback is taken back.
    pub(super) value: Option<&'a RawValue>,
    pub(super) user: Option<Text<'a>>,
    pub(super) source: Option<Text<'a>>,
    pub(super) created_at: Option<Micros>,
    pub(super) unset: bool,
    pub(super) extra: Vec<(Text<'a>, &'a RawValue)>,
}

impl<'a> Rating<'a> {
    /// Whether a user has one feedback of this type of a datapoint, whatever its
    /// value.
    pub(super) fn is_single(&self) -> bool {
        matches!(self.kind.as_str(), "rating" | "correction" | "comment")
    }

    /// The id of the feedback that this says, says anew or takes back.
    ///
    /// Values are told apart whatever their spelling, up to `max_bytes`: larger ones are
    /// refused anyway.
    pub(super) fn id(&self, project: &str, max_bytes: usize) -> Uuid {
        let user = self.user.as_deref().unwrap_or_default();
        if self.is_single() {
            return identity::one_per_rater(project, &self.data_id, &self.kind, user);
        }
        let value = self.value.filter(|sent| sent.get().len() <= max_bytes);
        let value = value.map(spelled_alike).unwrap_or_default();
        identity::derived(&[project, &self.data_id, &self.kind, user, &value])
    }

    pub(super) fn into_operation(self, id: Uuid) -> Operation<'a> {
        let mut feedback = Feedback::new(id, self.data_id.clone(), self.kind);
        feedback.target = Some(Target {
            kind: TargetKind::Datapoint,
            id: self.data_id,
        });
        if let Some(sent) = self.value {
            say(&mut feedback, sent);
        }
        feedback.rater = self.user;
        feedback.source = self.source.map(|kind| Source {
            kind,
            info: None,
            run_id: None,
        });
        feedback.created_at = self.created_at;
        let extra = self.extra.iter();
        feedback.metadata = raw::object(extra.map(|(name, raw)| (name.as_str(), raw.get())));
        if self.unset {
            Operation::Withdraw(feedback)
        } else {
            Operation::Put(feedback)
        }
    }
}

/// Makes a feedback say what was sent as the value of its type.
fn say<'a>(feedback: &mut Feedback<'a>, sent: &'a RawValue) {
    let json = Json::from(sent);
    let text = raw::text(sent);
    match (feedback.metric.as_str(), &text) {
        ("comment", Some(_)) => feedback.comment = text,
        ("correction", _) => feedback.correction = Some(json),
        (metric, _) => {
            let rated = text.filter(|_| metric == "rating");
            let Some(value) = Value::from_json(json) else {
                return;
            };
            feedback.score = match rated.as_deref() {
                Some("good") => Some(1.0),
                Some("bad") => Some(0.0),
                _ => value.reading(),
            };
            feedback.value = Some(value);
        }
    }
}

/// A value as text, the same however it was escaped or spaced.
fn spelled_alike(sent: &RawValue) -> String {
    match serde_json::from_str::<serde_json::Value>(sent.get()) {
        Ok(value @ (serde_json::Value::String(_) | serde_json::Value::Array(_))) => {
            value.to_string()
        }
        _ => sent.get().to_owned(),
    }
}
