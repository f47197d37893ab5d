//! The events of one request, in the bytes that go into the topic.

use std::ops::Range;
use std::sync::Arc;

use plaudit_event::{Event, Micros, codec};
use uuid::Uuid;

/// Encoded events: one buffer for all of a request's keys and values.
///
/// The order is the order of the request's good items.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose the events are.
    pub project: Arc<str>,
    /// When the request was there whole: the records' timestamp.
    pub received_at: Micros,
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// One event of a [`Batch`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'b> {
    /// The feedback's id.
    pub id: Uuid,
    /// What decides the partition: the trace, or the id of a call by id.
    pub key: &'b [u8],
    /// The event, as [`codec::decode`] reads it.
    pub value: &'b [u8],
}

#[derive(Clone, Debug)]
struct Span {
    id: Uuid,
    key: Range<usize>,
    /// From the key's end.
    value_end: usize,
}

impl Batch {
    /// An empty batch; `body_bytes` is the size of the request it is read from.
    pub fn new(project: Arc<str>, received_at: Micros, body_bytes: usize) -> Self {
        Self {
            project,
            received_at,
            // An encoded event is about a quarter larger than what was sent.
            bytes: Vec::with_capacity(body_bytes + body_bytes / 2),
            spans: Vec::new(),
        }
    }

    /// Encodes an event behind the others.
    pub fn push(&mut self, event: &Event<'_>) {
        let start = self.bytes.len();
        event.with_key(|key| self.bytes.extend_from_slice(key.as_bytes()));
        let key = start..self.bytes.len();
        codec::encode(event, &mut self.bytes);
        self.spans.push(Span {
            id: event.id(),
            key,
            value_end: self.bytes.len(),
        });
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of all keys and values together.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The events, in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> + Clone {
        self.spans.iter().map(|span| Record {
            id: span.id,
            key: self.slice(span.key.clone()),
            value: self.slice(span.key.end..span.value_end),
        })
    }

    /// The ids of the events, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = Uuid> {
        self.spans.iter().map(|span| span.id)
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        // Spans are made from the buffer's own lengths.
        self.bytes.get(range).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use plaudit_event::{Dialect, Feedback, Operation};

    use super::*;

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut batch = Batch::new("p".into(), Micros(1), 0);
        let event = |id, trace: &'static str| Event {
            project: "p".into(),
            dialect: Dialect::Native,
            received_at: Micros(1),
            version_time: Micros(1),
            operation: match trace {
                "" => Operation::Retract { id },
                trace => Operation::Put(Feedback::new(id, trace, "m")),
            },
        };
        let events = [event(Uuid::nil(), "t-1"), event(Uuid::max(), "")];
        for event in &events {
            batch.push(event);
        }
        assert_eq!(batch.len(), 2);
        let keys: Vec<_> = batch.records().map(|record| record.key).collect();
        assert_eq!(keys, [&b"t-1"[..], b"ffffffff-ffff-ffff-ffff-ffffffffffff"]);
        for (record, event) in batch.records().zip(&events) {
            assert_eq!(record.id, event.id());
            assert_eq!(codec::decode(record.value, || None).unwrap(), *event);
        }
    }
}
