//! One LangSmith feedback as an event.

use plaudit_event::{
    Declaration, Dialect, Event, Feedback, FieldError, Json, Micros, Operation, Source, Tags,
    Target, TargetKind,
};

use super::config;
use super::item::{Id, Item, SentSource};
use super::metadata::{add_tags, entries, metadata, renamed, source_run};
use crate::Call;

/// The key of a feedback that has none.
const UNNAMED: &str = "unnamed";

/// What a feedback comes to.
pub(super) struct Put<'a> {
    pub(super) event: Event<'a>,
    /// How its key is to be read, unless that is known.
    pub(super) declaration: Option<Declaration>,
}

impl<'a> Put<'a> {
    /// The event that the item at `index` of a request asks for.
    pub(super) fn read(
        call: &Call<'a>,
        index: usize,
        item: Box<Item<'a>>,
    ) -> Result<Self, FieldError> {
        let item = item.checked()?;
        let modified_at = item.modified_at.map(|time| time.0);
        let named = call.name_put(index, item.id, modified_at);
        // The version says when it was modified, unless the client's clock is ahead.
        let ahead = modified_at.filter(|time| *time > call.received_at);
        let metadata = metadata(&item, ahead.as_ref().map(Micros::to_string).as_deref());
        let score = item.score.as_ref().and_then(|score| score.reading());
        let of_source = item.source.as_ref().and_then(|source| source.metadata);
        let of_source: Vec<_> = entries(of_source).collect();
        let run_id = source_run(&of_source);
        let mut tags = Tags::default();
        add_tags(&mut tags, entries(item.extra), call.limits);
        add_tags(&mut tags, of_source.into_iter(), call.limits);
        let (trace_id, target) = about(item.trace_id, item.run_id, item.session_id.clone())?;
        let key = item.key.unwrap_or_else(|| UNNAMED.into());
        let declaration = item
            .config
            .and_then(|config| config::declare_once(call, &key, config));

        let mut feedback = Feedback::new(named.id, trace_id.0, key);
        feedback.target = Some(target);
        let value_is_score = item.value.is_none();
        feedback.value = item.value.or(item.score);
        feedback.score = score;
        feedback.comment = item.comment.filter(|comment| !comment.is_empty());
        feedback.correction = item.correction;
        feedback.tags = tags;
        feedback.metadata = metadata;
        feedback.group_id = item.group_id.map(|id| id.0);
        feedback.experiment_id = item.experiment_id.map(|id| id.0);
        feedback.session_id = item.session_id.map(|id| id.0);
        feedback.created_at = item.created_at.map(|time| time.0);
        if let Some(mut sent) = item.source {
            feedback.rater = sent.user_id.take().filter(|rater| !rater.is_empty());
            feedback.source = source(sent);
        }
        if let Some(source) = &mut feedback.source {
            source.run_id = run_id;
        }
        check(call, &feedback).map_err(|error| match &*error.field {
            "value" if value_is_score => FieldError {
                field: "score".into(),
                ..error
            },
            _ => error,
        })?;
        let operation = Operation::Put(feedback);
        Ok(Self {
            event: call.event(Dialect::Langsmith, named.version_time, operation),
            declaration,
        })
    }
}

/// What the feedback is about: a run, else a whole trace, else a whole project.
fn about<'a>(
    trace: Option<Id<'a>>,
    run: Option<Id<'a>>,
    project: Option<Id<'a>>,
) -> Result<(Id<'a>, Target<'a>), FieldError> {
    let (kind, trace, id) = match (trace, run, project) {
        (Some(trace), Some(run), _) => (TargetKind::Run, trace, run),
        (Some(run), None, _) | (None, Some(run), _) => (TargetKind::Run, run.clone(), run),
        (None, None, Some(project)) => (TargetKind::Project, project.clone(), project),
        (None, None, None) => return Err(FieldError::missing("run_id")),
    };
    Ok((trace, Target { kind, id: id.0 }))
}

/// `None` for a plain call of the API, which says nothing about itself.
fn source<'a>(sent: SentSource<'a>) -> Option<Source<'a>> {
    let info = sent.metadata.filter(|metadata| metadata.get() != "{}");
    let kind = sent.kind.unwrap_or_else(|| Source::DEFAULT_KIND.into());
    if info.is_none() && kind == Source::DEFAULT_KIND {
        return None;
    }
    Some(Source {
        kind,
        info: info.map(Json::from),
        run_id: None,
    })
}

/// Holds a feedback to the limits and to its key's configuration, where that is
/// enforced.
pub(super) fn check(call: &Call<'_>, feedback: &Feedback<'_>) -> Result<(), FieldError> {
    call.limits.check(feedback).map_err(renamed)?;
    config::check(call, feedback).map_err(renamed)
}
