//! What a TensorZero feedback is about, and whether its value is one for that.

use plaudit_event::{
    Feedback, Level, Metric, MetricType, Registry, TargetKind, UnknownMetrics, Value,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::params::{Params, shown};
use super::{Denied, demonstration};
use crate::raw::{self, Kind};

/// What the name of a metric stands for.
#[derive(Clone, Copy)]
pub(super) enum Asked<'r> {
    /// Free text.
    Comment,
    /// What the answer should have been.
    Demonstration,
    /// A metric of the registry.
    Declared(&'r Metric),
    /// A metric with the type of its value.
    Undeclared,
}

impl<'r> Asked<'r> {
    /// Looks up the metric, unless the request names two targets, which the
    /// gateway refuses first.
    pub(super) fn of(registry: &'r Registry, params: &Params<'_>) -> Result<Self, Denied> {
        if params.inference_id.is_some() && params.episode_id.is_some() {
            let message = "Both episode_id and inference_id cannot be provided";
            return Err(Denied::bad_request(message));
        }
        match (&*params.metric_name, registry.get(&params.metric_name)) {
            ("comment", _) => Ok(Self::Comment),
            ("demonstration", _) => Ok(Self::Demonstration),
            (_, Some(metric)) => Ok(Self::Declared(metric)),
            (name, None) => match registry.unknown() {
                UnknownMetrics::Accept if !name.is_empty() => Ok(Self::Undeclared),
                UnknownMetrics::Accept | UnknownMetrics::Reject => Err(Denied {
                    status: http::StatusCode::NOT_FOUND,
                    message: format!("Unknown metric: {}", shown(name)),
                }),
            },
        }
    }

    /// The inference or the episode: the one that the metric is given to.
    pub(super) fn target(self, params: &Params<'_>) -> Result<(TargetKind, Uuid), Denied> {
        let inference = params.inference_id.map(|id| (TargetKind::Inference, id));
        let episode = params.episode_id.map(|id| (TargetKind::Episode, id));
        let (target, level) = match self.level() {
            Some(Level::Inference) => (inference, "inference"),
            Some(Level::Episode) => (episode, "episode"),
            None => {
                let message = "Exactly one of inference_id or episode_id must be provided";
                return inference
                    .or(episode)
                    .ok_or_else(|| Denied::bad_request(message));
            }
        };
        target.ok_or_else(|| {
            Denied::bad_request(format!(
                "Correct ID was not provided for feedback level \"{level}\"."
            ))
        })
    }

    fn level(self) -> Option<Level> {
        match self {
            Self::Demonstration => Some(Level::Inference),
            Self::Declared(metric) => metric.level,
            Self::Comment | Self::Undeclared => None,
        }
    }

    /// Makes the feedback say the value.
    pub(super) fn say<'a>(
        self,
        sent: &'a RawValue,
        feedback: &mut Feedback<'a>,
    ) -> Result<(), Denied> {
        match self {
            Self::Comment => {
                let text = raw::text(sent).ok_or_else(|| {
                    Denied::bad_request("Feedback value for a comment must be a string")
                })?;
                feedback.comment = Some(text);
            }
            Self::Demonstration => {
                demonstration::check(sent)?;
                feedback.correction = Some(sent.into());
            }
            Self::Declared(metric) => {
                check_type(metric, &feedback.metric, sent)?;
                let value = value(&feedback.metric, sent)?;
                metric.check(&value)?;
                feedback.score = value.reading();
                feedback.value = Some(value);
            }
            Self::Undeclared => {
                let value = value(&feedback.metric, sent)?;
                feedback.score = value.reading();
                feedback.value = Some(value);
            }
        }
        Ok(())
    }
}

/// The types that the gateway knows, in its words; the registry checks the others.
fn check_type(metric: &Metric, name: &str, sent: &RawValue) -> Result<(), Denied> {
    let expected = match (metric.kind, raw::kind(sent)) {
        _ if !metric.enforced => return Ok(()),
        (MetricType::Float, Kind::Integer | Kind::Float) | (MetricType::Boolean, Kind::Bool) => {
            return Ok(());
        }
        (MetricType::Float, _) => "a number",
        (MetricType::Boolean, _) => "a boolean",
        _ => return Ok(()),
    };
    Err(Denied::bad_request(format!(
        "Feedback value for metric `{}` must be {expected}",
        shown(name)
    )))
}

fn value<'a>(name: &str, sent: &'a RawValue) -> Result<Value<'a>, Denied> {
    Value::from_json(sent.into()).ok_or_else(|| {
        Denied::bad_request(format!(
            "Feedback value for metric `{}` must not be null",
            shown(name)
        ))
    })
}
