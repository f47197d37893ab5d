//! What LangSmith's clients send to be kept: one feedback, or a batch of them
//! between runs.

use memchr::memchr_iter;
use plaudit_event::{Declaration, Dialect, Edit, FieldError, Operation, Patch, TargetKind};
use serde::Deserialize;
use serde_json::{StreamDeserializer, json};
use uuid::Uuid;

use super::answer::{invalid, invalid_in};
use super::config;
use super::item::{Change, Item};
use super::metadata::renamed;
use super::put::Put;
use crate::json::written;
use crate::sent::{Elements, FromSent as _, Sent};
use crate::vendor::text;
use crate::{Batch, Call, Parsed, Refusal};

/// What stands between the parts of a multipart body. No JSON has it, so that what
/// is wrong with one part ends there.
const RECORD_SEPARATOR: u8 = 0x1e;

/// The feedback in a batch of runs.
#[derive(Deserialize)]
struct Runs<'a> {
    #[serde(borrow, default)]
    feedback: Option<Elements<'a>>,
}

/// Reads `POST /feedback`.
pub(super) fn one<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body)?;
    let sent = serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
    let put = read(call, 0, sent).map_err(|error| invalid(&error))?;
    let mut batch = call.batch(text.len());
    batch.push(&put.event);
    let note = shown(call, &put);
    Ok(Parsed {
        declarations: put.declaration.into_iter().collect(),
        note,
        ..Parsed::whole(batch)
    })
}

/// Reads the feedback parts of `POST /runs/multipart`.
pub(super) fn parts<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let mut reader = Reader::new(call, body.len());
    let mut start = 0;
    for end in memchr_iter(RECORD_SEPARATOR, body).chain([body.len()]) {
        let part = body.get(start..end).unwrap_or_default();
        start = end + 1;
        match std::str::from_utf8(part) {
            Ok(text) => reader.stream(serde_json::Deserializer::from_str(text).into_iter())?,
            Err(_) => reader.reject(FieldError::wrong_type("", "UTF-8"))?,
        }
    }
    Ok(reader.parsed())
}

/// Reads `POST /runs/batch`. The runs are not kept.
pub(super) fn runs<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let text = text(body)?;
    let runs: Runs<'a> = serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
    let feedback = runs.feedback.map(|elements| elements.0).unwrap_or_default();
    let bytes = feedback.iter().map(|raw| raw.get().len()).sum();
    let mut reader = Reader::new(call, bytes);
    for raw in feedback {
        match serde_json::from_str(raw.get()) {
            Ok(sent) => reader.take(sent)?,
            // Such as half a surrogate pair, where text is expected.
            Err(_) => reader.reject(not_json())?,
        }
    }
    Ok(reader.parsed())
}

/// Reads `PATCH /feedback/{id}`. A field that the API does not change is ignored,
/// as there.
pub(super) fn change<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let id = path_id(call)?;
    let text = text(body)?;
    let sent: Sent<Change<'a>> =
        serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
    let Ok(Edit::Set(mut change)) = sent.0 else {
        return Err(invalid(&FieldError::wrong_type("", Change::EXPECTED)).into());
    };
    if let Some(fault) = change.fault.take() {
        return Err(invalid(&fault).into());
    }
    let patch = patch(change);
    let mut batch = call.batch(text.len());
    if patch != Patch::default() {
        let operation = Operation::Patch { id, patch };
        call.check(&operation)
            .map_err(|error| invalid(&renamed(error)))?;
        batch.push(&call.event(Dialect::Langsmith, call.time_of(0), operation));
    }
    Ok(Parsed {
        note: written(&json!({"id": id})),
        ..Parsed::whole(batch)
    })
}

/// Reads `DELETE /feedback/{id}`: nothing revives it.
pub(super) fn delete<'a>(call: &Call<'a>, _body: &'a [u8]) -> Result<Parsed, Refusal> {
    let id = path_id(call)?;
    let mut batch = call.batch(0);
    let operation = Operation::Retract { id };
    batch.push(&call.event(Dialect::Langsmith, call.time_of(0), operation));
    Ok(Parsed {
        note: written(&json!({"id": id})),
        ..Parsed::whole(batch)
    })
}

/// The id in the path.
pub(super) fn path_id(call: &Call<'_>) -> Result<Uuid, Refusal> {
    let id = call.path("id").and_then(|id| Uuid::try_parse(id).ok());
    let error = || invalid_in("path", &FieldError::wrong_type("feedback_id", "a UUID"));
    id.ok_or_else(|| error().into())
}

fn read<'a>(
    call: &Call<'a>,
    index: usize,
    sent: Sent<Box<Item<'a>>>,
) -> Result<Put<'a>, FieldError> {
    match sent.0 {
        Ok(Edit::Set(item)) => Put::read(call, index, item),
        Ok(Edit::Keep | Edit::Clear) | Err(_) => {
            Err(FieldError::wrong_type("", Box::<Item<'_>>::EXPECTED))
        }
    }
}

fn not_json() -> FieldError {
    FieldError::wrong_type("", "JSON")
}

/// The feedback as the answer to its creation shows it: its names and ids.
fn shown(call: &Call<'_>, put: &Put<'_>) -> String {
    let Operation::Put(feedback) = &put.event.operation else {
        return "{}".to_owned();
    };
    let target = feedback.target.as_ref();
    let run = target.filter(|target| target.kind == TargetKind::Run);
    let now = call.received_at.to_string();
    json!({
        "id": feedback.id,
        "created_at": now,
        "modified_at": now,
        "run_id": run.map(|run| &run.id),
        "trace_id": run.map(|_| &feedback.trace_id),
        "session_id": feedback.session_id,
        "key": feedback.metric,
    })
    .to_string()
}

fn patch(change: Change<'_>) -> Patch<'_> {
    let score = match &change.score {
        Edit::Keep => Edit::Keep,
        Edit::Clear => Edit::Clear,
        Edit::Set(score) => Edit::from(score.reading()),
    };
    Patch {
        // A feedback that had a score alone shows it as its value.
        value_as_score: match change.value {
            Edit::Keep => change.score,
            Edit::Clear | Edit::Set(_) => Edit::Keep,
        },
        score,
        value: change.value,
        comment: match change.comment {
            Edit::Set(comment) if comment.is_empty() => Edit::Clear,
            comment => comment,
        },
        correction: change.correction,
        ..Patch::default()
    }
}

/// Takes the items of a batch one by one.
struct Reader<'c, 'a> {
    call: &'c Call<'a>,
    batch: Batch,
    rejected: Vec<(usize, FieldError)>,
    declarations: Vec<Declaration>,
    items: usize,
}

// === impl Reader ===

impl<'c, 'a> Reader<'c, 'a> {
    fn new(call: &'c Call<'a>, body_bytes: usize) -> Self {
        Self {
            call,
            batch: call.batch(body_bytes),
            rejected: Vec::new(),
            declarations: Vec::new(),
            items: 0,
        }
    }

    /// Reads one JSON value after the other, up to one that is none.
    fn stream(
        &mut self,
        values: StreamDeserializer<'a, serde_json::de::StrRead<'a>, Sent<Box<Item<'a>>>>,
    ) -> Result<(), Refusal> {
        for sent in values {
            match sent {
                Ok(sent) => self.take(sent)?,
                Err(_) => self.reject(not_json())?,
            }
        }
        Ok(())
    }

    fn take(&mut self, sent: Sent<Box<Item<'a>>>) -> Result<(), Refusal> {
        match read(self.call, self.items, sent) {
            Ok(put) => {
                self.count()?;
                self.batch.push(&put.event);
                config::add(&mut self.declarations, || put.declaration);
                Ok(())
            }
            Err(error) => self.reject(error),
        }
    }

    fn reject(&mut self, error: FieldError) -> Result<(), Refusal> {
        self.rejected.push((self.items, error));
        self.count()
    }

    fn count(&mut self) -> Result<(), Refusal> {
        self.items += 1;
        let max = self.call.max_events;
        if self.items > max {
            return Err(Refusal::TooMany { max });
        }
        Ok(())
    }

    fn parsed(self) -> Parsed {
        Parsed {
            rejected: self.rejected,
            declarations: self.declarations,
            ..Parsed::whole(self.batch)
        }
    }
}
