//! One item of the native API: an object of fields, and the event that it asks for.

use plaudit_event::{
    Dialect, Edit, Event, Feedback, FieldError, ItemCode, Micros, Operation, Patch, Source, Text,
    identity,
};
use serde::de::MapAccess;
use uuid::Uuid;

use crate::Call;
use crate::call::follow_value;
use crate::sent::{Fault, Fields, FromSent};

/// What one item says, before it is known to make sense. On the heap: it is handed on
/// through several layers, each of which would copy most of a kilobyte.
#[derive(Default)]
pub(super) struct Item<'a> {
    /// The first field that is wrong by itself.
    fault: Option<FieldError>,
    verb: Edit<Verb>,
    id: Edit<Uuid>,
    trace_id: Edit<Text<'a>>,
    metric: Edit<Text<'a>>,
    one_per_rater: Edit<bool>,
    modified_at: Edit<Micros>,
    /// All other fields. A put is these applied to a feedback that says nothing.
    content: Patch<'a>,
}

/// What an item asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Verb {
    #[default]
    Put,
    Patch,
    Retract,
}

impl<'a> Item<'a> {
    /// The event that the item at `index` of a request asks for.
    pub(super) fn into_event(
        mut self: Box<Self>,
        call: &Call<'a>,
        index: usize,
    ) -> Result<Event<'a>, FieldError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let (version_time, operation) = match self.verb {
            Edit::Set(Verb::Patch) => (call.time_of(index), self.into_patch()?),
            Edit::Set(Verb::Retract) => (call.time_of(index), self.into_retraction()?),
            Edit::Set(Verb::Put) | Edit::Keep | Edit::Clear => self.into_put(call, index)?,
        };
        call.check(&operation)?;
        Ok(call.event(Dialect::Native, version_time, operation))
    }

    fn into_put(
        mut self: Box<Self>,
        call: &Call<'a>,
        index: usize,
    ) -> Result<(Micros, Operation<'a>), FieldError> {
        let trace_id = required(std::mem::take(&mut self.trace_id), "trace_id")?;
        let metric = required(std::mem::take(&mut self.metric), "metric")?;
        let content = &mut self.content;
        for text in [
            &mut content.comment,
            &mut content.rater,
            &mut content.group_id,
            &mut content.experiment_id,
            &mut content.session_id,
        ] {
            if text.as_set().is_some_and(|text| text.is_empty()) {
                *text = Edit::Clear;
            }
        }
        let said = content.value.as_set().is_some()
            || content.comment.as_set().is_some()
            || content.correction.as_set().is_some();
        if !said {
            let message = "is required, or a comment, or a correction";
            return Err(FieldError::new(ItemCode::MissingField, "value", message));
        }
        if content.score.as_set().is_none() {
            content.score = Edit::Keep;
            follow_value(content);
        }
        let rater = content.rater.as_set();
        let own = own_id(
            call,
            self.id,
            &self.one_per_rater,
            (&trace_id, &metric),
            rater,
        )?;
        let named = call.name_put(index, own, self.modified_at.as_set().copied());
        let mut feedback = Feedback::new(named.id, trace_id, metric);
        self.content.apply(&mut feedback);
        Ok((named.version_time, Operation::Put(feedback)))
    }

    fn into_patch(self: Box<Self>) -> Result<Operation<'a>, FieldError> {
        self.refuse_what_names_a_put()?;
        let id = required(self.id, "id")?;
        let mut patch = self.content;
        if patch == Patch::default() {
            let message = "a patch needs a field to change";
            return Err(FieldError::new(ItemCode::MissingField, "", message));
        }
        follow_value(&mut patch);
        Ok(Operation::Patch { id, patch })
    }

    fn into_retraction(self: Box<Self>) -> Result<Operation<'a>, FieldError> {
        self.refuse_what_names_a_put()?;
        if let Some(field) = first_sent(&self.content) {
            return Err(not_here(field));
        }
        let id = required(self.id, "id")?;
        Ok(Operation::Retract { id })
    }

    /// What identifies a feedback, or is about a put alone, cannot be changed.
    fn refuse_what_names_a_put(&self) -> Result<(), FieldError> {
        let sent = [
            ("trace_id", !self.trace_id.is_keep()),
            ("metric", !self.metric.is_keep()),
            ("one_per_rater", !self.one_per_rater.is_keep()),
            ("modified_at", !self.modified_at.is_keep()),
        ];
        match sent.into_iter().find(|(_, sent)| *sent) {
            Some((field, _)) => Err(not_here(field)),
            None => Ok(()),
        }
    }
}

/// The id that a feedback has by what is said: the client's own, or that of its
/// rater's one opinion `on` a trace and metric; `None` when it gets another.
pub(super) fn own_id(
    call: &Call<'_>,
    id: Edit<Uuid>,
    one_per_rater: &Edit<bool>,
    on: (&str, &str),
    rater: Option<&Text<'_>>,
) -> Result<Option<Uuid>, FieldError> {
    match (id, one_per_rater) {
        (Edit::Set(id), _) => Ok(Some(id)),
        (_, Edit::Set(true)) => {
            let rater = rater.ok_or_else(|| FieldError::missing("rater"))?;
            let (trace_id, metric) = on;
            let id = identity::one_per_rater(call.project, trace_id, metric, rater);
            Ok(Some(id))
        }
        _ => Ok(None),
    }
}

pub(super) fn required<T>(edit: Edit<T>, field: &'static str) -> Result<T, FieldError> {
    match edit {
        Edit::Set(content) => Ok(content),
        Edit::Keep | Edit::Clear => Err(FieldError::missing(field)),
    }
}

fn not_here(field: &'static str) -> FieldError {
    FieldError::new(
        ItemCode::UnknownField,
        field,
        "is not a field of this operation",
    )
}

fn first_sent(content: &Patch<'_>) -> Option<&'static str> {
    let kept = [
        ("target", content.target.is_keep()),
        ("value", content.value.is_keep()),
        ("score", content.score.is_keep()),
        ("weight", content.weight.is_keep()),
        ("comment", content.comment.is_keep()),
        ("correction", content.correction.is_keep()),
        ("tags", content.tags.is_keep()),
        ("metadata", content.metadata.is_keep()),
        ("rater", content.rater.is_keep()),
        ("source", content.source.is_keep()),
        ("group_id", content.group_id.is_keep()),
        ("experiment_id", content.experiment_id.is_keep()),
        ("session_id", content.session_id.is_keep()),
        ("created_at", content.created_at.is_keep()),
    ];
    let (field, _) = kept.into_iter().find(|(_, kept)| !kept)?;
    Some(field)
}

// === what fields are read as ===

impl<'de> FromSent<'de> for Box<Item<'de>> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut item = Self::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            let content = &mut item.content;
            match name.as_str() {
                "operation" => item.verb = fields.read("operation")?,
                "id" => item.id = fields.read("id")?,
                "trace_id" => item.trace_id = fields.read("trace_id")?,
                "metric" => item.metric = fields.read("metric")?,
                "one_per_rater" => item.one_per_rater = fields.read("one_per_rater")?,
                "modified_at" => item.modified_at = fields.read("modified_at")?,
                "target" => content.target = fields.read("target")?,
                "value" => content.value = fields.value()?,
                "score" => content.score = fields.number("score")?,
                "weight" => content.weight = fields.number("weight")?,
                "comment" => content.comment = fields.read("comment")?,
                "correction" => content.correction = fields.json()?,
                "tags" => content.tags = fields.read("tags")?,
                "metadata" => content.metadata = fields.object("metadata")?,
                "rater" => content.rater = fields.read("rater")?,
                "source" => content.source = fields.read("source")?,
                "group_id" => content.group_id = fields.read("group_id")?,
                "experiment_id" => content.experiment_id = fields.read("experiment_id")?,
                "session_id" => content.session_id = fields.read("session_id")?,
                "created_at" => content.created_at = fields.read("created_at")?,
                name => fields.unknown("", name)?,
            }
        }
        item.fault = fields.fault;
        Ok(Ok(item))
    }
}

impl FromSent<'_> for Verb {
    const EXPECTED: &'static str = "put, patch or retract";

    fn from_text(text: Text<'_>) -> Result<Self, Fault> {
        match text.as_str() {
            "put" => Ok(Self::Put),
            "patch" => Ok(Self::Patch),
            "retract" => Ok(Self::Retract),
            _ => Err(Fault::Range),
        }
    }
}

impl<'de> FromSent<'de> for Source<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let (mut kind, mut info, mut run_id) = (Edit::Keep, Edit::Keep, Edit::Keep);
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "kind" => kind = fields.read("source.kind")?,
                "info" => info = fields.object("source.info")?,
                "run_id" => run_id = fields.read("source.run_id")?,
                name => fields.unknown("source.", name)?,
            }
        }
        if let Some(error) = fields.fault {
            return Ok(Err(Fault::Inside(error)));
        }
        let mut source = Source {
            kind: Source::DEFAULT_KIND.into(),
            info: None,
            run_id: None,
        };
        kind.apply_or(&mut source.kind, Source::DEFAULT_KIND.into());
        info.apply(&mut source.info);
        run_id.apply(&mut source.run_id);
        Ok(Ok(source))
    }
}
