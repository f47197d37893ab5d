//! Events as the intake makes them, to be written past it.

use std::time::{SystemTime, UNIX_EPOCH};

use plaudit_event::{Dialect, Event, Feedback, Micros, Operation, Patch, Value};
use uuid::Uuid;

/// Now.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Micros(since.as_micros().try_into().unwrap())
}

/// An event of the open project, received now.
pub(crate) fn event(operation: Operation<'_>) -> Event<'_> {
    at(now(), operation)
}

/// An event of the open project.
pub(crate) fn at(time: Micros, operation: Operation<'_>) -> Event<'_> {
    Event {
        project: "default".into(),
        dialect: Dialect::Native,
        received_at: time,
        version_time: time,
        operation,
    }
}

/// A feedback with a number as its value.
pub(crate) fn feedback(id: Uuid, trace: &str, value: i64) -> Feedback<'static> {
    Feedback::new(id, trace.to_owned(), "stars").with_value(Value::of(&value).unwrap())
}

/// A put of a new feedback.
pub(crate) fn put(trace: &str, value: i64) -> Event<'static> {
    event(Operation::Put(feedback(Uuid::now_v7(), trace, value)))
}

/// Puts on as many traces.
pub(crate) fn puts(count: i64) -> Vec<Event<'static>> {
    (0..count).map(|n| put(&format!("trace-{n}"), n)).collect()
}

/// A patch of the comment.
pub(crate) fn comment(id: Uuid, comment: &str) -> Operation<'static> {
    let patch = Patch {
        comment: Some(comment.to_owned().into()).into(),
        ..Patch::default()
    };
    Operation::Patch { id, patch }
}
