//! Records on their way, turned into rows as they are read.
//!
//! A record is decoded once, borrowed from Kafka's memory, and its row appended
//! to one buffer. What is kept beside it is what the protocol asks later: where
//! it stood, which feedback it is about, and its original bytes, for the case
//! that it must be dead-lettered.

use std::collections::BTreeMap;
use std::ops::Range;

use plaudit_event::codec::{self, DecodeError};
use plaudit_event::{Event, Feedback, Micros, Operation, RowVersion};
use plaudit_store::{Change, ChangeKind, RowPosition, encode_feedback};
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::BatchConfig;

/// Where a record stands, and when Kafka got it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Position {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Kafka's timestamp, in milliseconds.
    pub(crate) timestamp: i64,
}

/// A record as it is in the topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) position: Position,
    pub(crate) key: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// A put or withdrawal of the batch. The ranges are within the batch's buffers.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) position: Position,
    pub(crate) id: Uuid,
    pub(crate) version_time: Micros,
    row: Range<u32>,
    /// How much of the row says which version of which feedback it is.
    identity: u32,
    key: Range<u32>,
    payload: Range<u32>,
}

/// A patch or retraction of the batch.
#[derive(Clone, Debug)]
pub(crate) struct ChangeRecord {
    pub(crate) position: Position,
    pub(crate) change: Change,
}

/// A record that is no event.
#[derive(Clone, Debug)]
pub(crate) struct Undecodable {
    pub(crate) position: Position,
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// The offsets that the batch covers in one partition, without a gap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) min_timestamp: i64,
    pub(crate) max_timestamp: i64,
}

/// Records that go through the steps together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) puts: Vec<Put>,
    pub(crate) changes: Vec<ChangeRecord>,
    pub(crate) undecodable: Vec<Undecodable>,
    pub(crate) spans: BTreeMap<i32, Span>,
    pub(crate) opened_at: Option<Instant>,
    rows: Vec<u8>,
    /// Keys and payloads of the puts.
    originals: Vec<u8>,
    /// The most bytes of rows that its buffers have held.
    most: usize,
    /// Bytes of the other records. Counted as they come: it is asked at every record.
    other_bytes: usize,
}

/// Room beyond which a batch's buffers grow as they have to: no machine may have as much.
const MOST_ROOM: usize = 256 << 20;

/// The record was written by a newer Plaudit: it is to be held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Newer(pub(crate) u16);

impl Batch {
    /// An empty batch with room for all that it may hold. A buffer of many megabytes that
    /// grows leaves a hole as large behind it; what of one is not used yet takes no memory.
    pub(crate) fn with_room(limits: &BatchConfig) -> Self {
        // Rows are about as long as the records they come from.
        let half = limits.max_bytes.min(MOST_ROOM) / 2;
        let room = half + half / 8;
        Self {
            puts: Vec::with_capacity(limits.max_rows.min(MOST_ROOM / size_of::<Put>())),
            rows: Vec::with_capacity(room),
            originals: Vec::with_capacity(room),
            ..Self::default()
        }
    }

    /// An empty batch in the buffers of this one, unless they have held far more than came
    /// now: then their memory is given back.
    pub(crate) fn emptied(mut self, limits: &BatchConfig) -> Self {
        let most = self.most.max(self.rows.len());
        if self.rows.len() < most / 8 {
            return Self::with_room(limits);
        }
        self.puts.clear();
        self.rows.clear();
        self.originals.clear();
        Self {
            puts: self.puts,
            rows: self.rows,
            originals: self.originals,
            most,
            ..Self::default()
        }
    }

    /// Takes a record in. Its partition's records must come in their order.
    ///
    /// # Errors
    /// [`Newer`], and the batch is as it was.
    pub(crate) fn push(
        &mut self,
        topic: &str,
        record: Incoming<'_>,
        version_header: impl FnOnce() -> Option<u16>,
    ) -> Result<(), Newer> {
        let position = record.position;
        match codec::decode(record.payload, version_header) {
            Ok(event) => self.push_event(topic, &event, record),
            Err(DecodeError::Newer(version)) => return Err(Newer(version)),
            Err(_) => {
                self.other_bytes += record.payload.len();
                self.undecodable.push(Undecodable {
                    position,
                    key: record.key.to_vec(),
                    payload: record.payload.to_vec(),
                });
            }
        }
        self.opened_at.get_or_insert_with(Instant::now);
        self.spans
            .entry(position.partition)
            .and_modify(|span| span.extend(position))
            .or_insert_with(|| Span::of(position));
        Ok(())
    }

    fn push_event(&mut self, topic: &str, event: &Event<'_>, record: Incoming<'_>) {
        let change = |id: &Uuid, kind| ChangeRecord {
            position: record.position,
            change: Change {
                project: event.project.as_str().to_owned(),
                id: *id,
                topic: topic.to_owned(),
                partition: record.position.partition,
                offset: record.position.offset,
                kind,
                version_time: event.version_time,
                received_at: event.received_at,
                record: record.payload.to_vec(),
                gave_up: None,
            },
        };
        match &event.operation {
            Operation::Put(feedback) => self.push_put(topic, event, feedback, false, record),
            Operation::Withdraw(feedback) => self.push_put(topic, event, feedback, true, record),
            Operation::Patch { id, .. } => self.push_change(change(id, ChangeKind::Patch)),
            Operation::Retract { id } => self.push_change(change(id, ChangeKind::Retract)),
        }
    }

    fn push_change(&mut self, record: ChangeRecord) {
        self.other_bytes += record.change.record.len();
        self.changes.push(record);
    }

    fn push_put(
        &mut self,
        topic: &str,
        event: &Event<'_>,
        feedback: &Feedback<'_>,
        is_deleted: bool,
        record: Incoming<'_>,
    ) {
        let start = position_in(&self.rows);
        let row_position = RowPosition {
            dialect: event.dialect,
            received_at: event.received_at,
            topic,
            partition: record.position.partition,
            offset: record.position.offset,
        };
        let version = RowVersion::new(event.version_time, 0);
        let identity = encode_feedback(
            &mut self.rows,
            &event.project,
            feedback,
            version,
            is_deleted,
            row_position,
        );
        let payload = append(&mut self.originals, record.payload);
        let put = Put {
            position: record.position,
            id: feedback.id,
            version_time: event.version_time,
            row: start..position_in(&self.rows),
            identity: u32::try_from(identity).unwrap_or(u32::MAX),
            key: self.key_within(&payload, record),
            payload,
        };
        self.puts.push(put);
    }

    /// Where the key's bytes are. It is the trace, which the payload has in it too:
    /// it is kept a second time only where that is spelled in another way.
    fn key_within(&mut self, payload: &Range<u32>, record: Incoming<'_>) -> Range<u32> {
        let at = memchr::memmem::find(record.payload, record.key);
        match at.and_then(|at| u32::try_from(at).ok()) {
            Some(at) => {
                let start = payload.start.saturating_add(at);
                // A part of the payload, which is shorter than 4 GiB.
                let length = u32::try_from(record.key.len()).unwrap_or_default();
                start..start.saturating_add(length)
            }
            None => append(&mut self.originals, record.key),
        }
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.puts.len() + self.changes.len() + self.undecodable.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the batch holds in memory of its records, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() + self.originals.len() + self.other_bytes
    }

    /// All rows, in the order of `puts`; taken once, when none was dropped.
    pub(crate) fn all_rows(&self) -> &[u8] {
        &self.rows
    }

    /// The row of a put.
    pub(crate) fn row(&self, put: &Put) -> &[u8] {
        slice(&self.rows, &put.row)
    }

    /// The bytes that two rows of the same version of the same feedback share.
    pub(crate) fn identity(&self, put: &Put) -> &[u8] {
        slice(
            &self.rows,
            &(put.row.start..put.row.start.saturating_add(put.identity)),
        )
    }

    /// The key and value of a put's record.
    pub(crate) fn original(&self, put: &Put) -> (&[u8], &[u8]) {
        (
            slice(&self.originals, &put.key),
            slice(&self.originals, &put.payload),
        )
    }

    /// The spans as (partition, first, last).
    pub(crate) fn ranges(&self) -> Vec<(i32, i64, i64)> {
        let span = |(partition, span): (&i32, &Span)| (*partition, span.first, span.last);
        self.spans.iter().map(span).collect()
    }
}

impl Span {
    fn of(position: Position) -> Self {
        Self {
            first: position.offset,
            last: position.offset,
            min_timestamp: position.timestamp,
            max_timestamp: position.timestamp,
        }
    }

    fn extend(&mut self, position: Position) {
        self.last = self.last.max(position.offset);
        self.min_timestamp = self.min_timestamp.min(position.timestamp);
        self.max_timestamp = self.max_timestamp.max(position.timestamp);
    }
}

/// `sink.batch.max_bytes` keeps buffers below 4 GiB, so positions fit 32 bits.
fn position_in(buffer: &[u8]) -> u32 {
    u32::try_from(buffer.len()).unwrap_or(u32::MAX)
}

fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Range<u32> {
    let start = position_in(buffer);
    buffer.extend_from_slice(bytes);
    start..position_in(buffer)
}

fn slice<'a>(buffer: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    buffer
        .get(range.start as usize..range.end as usize)
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use plaudit_event::{Dialect, Feedback};

    use super::*;

    pub(crate) fn record(
        id: u128,
        version: i64,
        operation: fn(Feedback<'static>) -> Operation<'static>,
    ) -> Vec<u8> {
        let feedback = Feedback::new(Uuid::from_u128(id), format!("t{id}"), "m");
        let event = Event {
            project: "p".into(),
            dialect: Dialect::Native,
            received_at: Micros(version),
            version_time: Micros(version),
            operation: operation(feedback),
        };
        let mut bytes = Vec::new();
        codec::encode(&event, &mut bytes);
        bytes
    }

    pub(crate) fn push(
        batch: &mut Batch,
        partition: i32,
        offset: i64,
        payload: &[u8],
    ) -> Result<(), Newer> {
        let position = Position {
            partition,
            offset,
            timestamp: offset,
        };
        let incoming = Incoming {
            position,
            key: b"k",
            payload,
        };
        batch.push("topic", incoming, || None)
    }

    #[test]
    fn records_are_sorted_by_what_they_are() {
        let mut batch = Batch::default();
        push(&mut batch, 0, 5, &record(1, 1, Operation::Put)).unwrap();
        push(&mut batch, 1, 7, &record(2, 1, Operation::Withdraw)).unwrap();
        push(
            &mut batch,
            0,
            6,
            &record(3, 1, |f| Operation::Retract { id: f.id }),
        )
        .unwrap();
        push(&mut batch, 0, 7, b"garbage").unwrap();
        assert_eq!(push(&mut batch, 0, 8, br#"{"v":9}"#), Err(Newer(9)));
        assert_eq!(
            (
                batch.puts.len(),
                batch.changes.len(),
                batch.undecodable.len()
            ),
            (2, 1, 1)
        );
        assert_eq!(batch.ranges(), [(0, 5, 7), (1, 7, 7)]);
        let rows: Vec<u8> = batch
            .puts
            .iter()
            .flat_map(|put| batch.row(put).to_vec())
            .collect();
        assert_eq!(rows, batch.all_rows());
        let (key, payload) = batch.original(&batch.puts[0]);
        assert_eq!(
            (key, payload.to_vec()),
            (&b"k"[..], record(1, 1, Operation::Put))
        );
    }

    #[test]
    fn p5_buffers_are_used_again_and_given_back_when_they_have_held_far_more() {
        let limits = BatchConfig {
            max_rows: 100,
            max_bytes: 1 << 20,
            ..BatchConfig::default()
        };
        let mut batch = Batch::with_room(&limits);
        let first = batch.rows.as_ptr();
        for rows in [90, 20, 90] {
            for offset in 0..rows {
                push(&mut batch, 0, offset, &record(1, offset, Operation::Put)).unwrap();
            }
            assert_eq!(batch.rows.as_ptr(), first, "it has not grown");
            batch = batch.emptied(&limits);
            assert!(batch.is_empty() && batch.all_rows().is_empty());
            assert_eq!(batch.rows.as_ptr(), first);
        }
        push(&mut batch, 0, 0, &record(1, 0, Operation::Put)).unwrap();
        assert!(batch.most > 0);
        assert_eq!(batch.emptied(&limits).most, 0);
    }

    #[test]
    fn a_record_is_kept_as_it_was_and_its_key_once() {
        let payload = record(1, 1, Operation::Put);
        for key in [&b"t1"[..], b"", b"another"] {
            let mut batch = Batch::default();
            let incoming = Incoming {
                position: Position {
                    partition: 0,
                    offset: 0,
                    timestamp: 0,
                },
                key,
                payload: &payload,
            };
            batch.push("topic", incoming, || None).unwrap();
            batch.push("topic", incoming, || None).unwrap();
            for put in &batch.puts {
                assert_eq!(batch.original(put), (key, &payload[..]));
            }
            let kept_twice = if key == b"another" { key.len() } else { 0 };
            assert_eq!(batch.originals.len(), 2 * (payload.len() + kept_twice));
        }
    }
}
