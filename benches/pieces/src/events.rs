//! Events of a known size.

use plaudit_event::{Dialect, Event, Feedback, Micros, Operation, Value, codec, identity};

/// Appends one encoded event of nine fields, about 300 bytes, the `index`-th of a
/// run: four to a trace. Ids look random and are always the same.
pub(crate) fn narrow_event(index: u64, now: Micros, out: &mut Vec<u8>) -> String {
    let trace_id = identity::derived(&["trace", &(index / 4).to_string()]).to_string();
    let id = identity::derived(&["feedback", &index.to_string()]);
    let metric = match index % 3 {
        0 => "helpful",
        1 => "stars",
        _ => "correctness",
    };
    let value = Value::of(&(index % 5)).unwrap_or_else(|| unreachable!("an integer is a value"));
    let mut feedback = Feedback::new(id, trace_id.clone(), metric).with_value(value);
    feedback.tags.insert("env", "production");
    feedback.rater = Some(format!("user-{}", index % 1000).into());
    let event = Event {
        project: "bench".into(),
        dialect: Dialect::Native,
        received_at: now,
        version_time: now,
        operation: Operation::Put(feedback),
    };
    codec::encode(&event, out);
    trace_id
}
