//! A feedback as a row of `feedback`, in ClickHouse's RowBinary.
//!
//! A row is written once, straight from the borrowed event into the batch's
//! buffer, and the same bytes are sent at every attempt. The order of the
//! columns is [`COLUMNS`]; what identifies a version of a feedback comes first,
//! so that two rows of one version are told by comparing a prefix of their bytes.
//!
//! Format: <https://clickhouse.com/docs/interfaces/formats/RowBinary>.

use plaudit_event::{Dialect, Feedback, Micros, RowVersion, Source, Tags, TargetKind, Value};
use uuid::Uuid;

use crate::enums::{dialect, target_kind, value_type};
use crate::native::{Column, Kind};
use crate::rows::CurrentRow;

/// The columns, in the order in which a row is encoded.
///
/// An enum is sent as the number that it is.
pub(crate) const COLUMNS: [Column; 29] = [
    Column::new("project", Kind::Word),
    Column::new("trace_id", Kind::Text),
    Column::new("id", Kind::Fixed("UUID", 16)),
    Column::new("version", Kind::Fixed("UInt64", 8)),
    Column::new("is_deleted", Kind::Fixed("UInt8", 1)),
    Column::new("target_kind", Kind::Fixed("Int8", 1)),
    Column::new("target_id", Kind::Text),
    Column::new("metric", Kind::Word),
    Column::new("value_type", Kind::Fixed("Int8", 1)),
    Column::new("value", Kind::Text),
    Column::new("score", Kind::NullableFloat),
    Column::new("weight", Kind::Fixed("Float64", 8)),
    Column::new("comment", Kind::Text),
    Column::new("correction", Kind::Text),
    Column::new("tags", Kind::Tags),
    Column::new("metadata", Kind::Text),
    Column::new("rater", Kind::Text),
    Column::new("source_kind", Kind::Word),
    Column::new("source_info", Kind::Text),
    Column::new("source_run_id", Kind::Text),
    Column::new("group_id", Kind::Text),
    Column::new("experiment_id", Kind::Text),
    Column::new("session_id", Kind::Text),
    Column::new("created_at", Kind::Fixed(MICROS, 8)),
    Column::new("received_at", Kind::Fixed(MICROS, 8)),
    Column::new("dialect", Kind::Fixed("Int8", 1)),
    Column::new("topic", Kind::Word),
    Column::new("partition", Kind::Fixed("Int32", 4)),
    Column::new("offset", Kind::Fixed("Int64", 8)),
];

const MICROS: &str = "DateTime64(6, 'UTC')";

/// Where a row's record stands in its topic, and how it came.
#[derive(Clone, Copy, Debug)]
pub struct RowPosition<'a> {
    /// The API it came by.
    pub dialect: Dialect,
    /// When the intake had it.
    pub received_at: Micros,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Appends the row of a put, or of a withdrawal (`is_deleted`).
///
/// Returns how many of the bytes identify the version: project, trace, id and
/// version.
pub fn encode_feedback(
    out: &mut Vec<u8>,
    project: &str,
    feedback: &Feedback<'_>,
    version: RowVersion,
    is_deleted: bool,
    position: RowPosition<'_>,
) -> usize {
    let start = out.len();
    string(out, project);
    string(out, &feedback.trace_id);
    uuid(out, feedback.id);
    out.extend_from_slice(&version.as_column().to_le_bytes());
    let identity = out.len() - start;
    out.push(u8::from(is_deleted));

    let (kind, target) = match &feedback.target {
        Some(target) => (target.kind, target.id.as_str()),
        None => (TargetKind::Trace, feedback.trace_id.as_str()),
    };
    out.push(target_kind(kind).cast_unsigned());
    string(out, target);
    string(out, &feedback.metric);
    let value = feedback.value.as_ref();
    out.push(value_type(value.map(Value::kind)).cast_unsigned());
    string(out, value.map_or("", Value::json));
    match feedback.score {
        Some(score) => {
            out.push(0);
            out.extend_from_slice(&score.to_le_bytes());
        }
        None => out.push(1),
    }
    out.extend_from_slice(&feedback.weight.to_le_bytes());
    string(out, feedback.comment.as_deref().unwrap_or_default());
    string(
        out,
        feedback.correction.as_ref().map_or("", |json| json.get()),
    );
    tags(out, &feedback.tags);
    string(
        out,
        feedback.metadata.as_ref().map_or("", |json| json.get()),
    );
    string(out, feedback.rater.as_deref().unwrap_or_default());
    source(out, feedback.source.as_ref());
    string(out, feedback.group_id.as_deref().unwrap_or_default());
    string(out, feedback.experiment_id.as_deref().unwrap_or_default());
    string(out, feedback.session_id.as_deref().unwrap_or_default());
    micros(out, feedback.created_at.unwrap_or(position.received_at));
    micros(out, position.received_at);
    out.push(dialect(position.dialect).cast_unsigned());
    string(out, position.topic);
    out.extend_from_slice(&position.partition.to_le_bytes());
    out.extend_from_slice(&position.offset.to_le_bytes());
    identity
}

impl CurrentRow {
    /// Appends this row, as a fold has left it.
    pub fn encode(&self, out: &mut Vec<u8>, version: RowVersion, is_deleted: bool) {
        let position = RowPosition {
            dialect: self.dialect,
            received_at: self.received_at,
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
        };
        encode_feedback(
            out,
            &self.project,
            &self.feedback,
            version,
            is_deleted,
            position,
        );
    }
}

// === RowBinary ===

pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    leb128(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    leb128(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Two little-endian halves, the high one first.
pub(crate) fn uuid(out: &mut Vec<u8>, uuid: Uuid) {
    let (high, low) = uuid.as_u64_pair();
    out.extend_from_slice(&high.to_le_bytes());
    out.extend_from_slice(&low.to_le_bytes());
}

pub(crate) fn micros(out: &mut Vec<u8>, time: Micros) {
    out.extend_from_slice(&time.0.to_le_bytes());
}

pub(crate) fn leb128(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
    out.push(number as u8);
}

fn tags(out: &mut Vec<u8>, tags: &Tags<'_>) {
    leb128(out, tags.len());
    for (key, text) in tags.iter() {
        string(out, key);
        string(out, text);
    }
}

fn source(out: &mut Vec<u8>, source: Option<&Source<'_>>) {
    let Some(source) = source else {
        string(out, Source::DEFAULT_KIND);
        string(out, "");
        string(out, "");
        return;
    };
    string(out, &source.kind);
    string(out, source.info.as_ref().map_or("", |json| json.get()));
    string(out, source.run_id.as_deref().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes at the start of a row say which version of which feedback it is.
    fn identity_len(project: &str, trace_id: &str) -> usize {
        let text = |text: &str| leb128_len(text.len()) + text.len();
        text(project) + text(trace_id) + size_of::<Uuid>() + size_of::<u64>()
    }

    fn leb128_len(number: usize) -> usize {
        let bits = usize::BITS - number.leading_zeros();
        bits.div_ceil(7).max(1) as usize
    }

    #[test]
    fn numbers_are_leb128() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 30] {
            let mut out = Vec::new();
            leb128(&mut out, number);
            assert_eq!(out.len(), leb128_len(number), "{number}");
            let read = out
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
            assert_eq!(read, number);
        }
    }

    #[test]
    fn p3_two_rows_of_one_version_share_their_identity_bytes() {
        let position = |offset| RowPosition {
            dialect: Dialect::Native,
            received_at: Micros(5),
            topic: "t",
            partition: 0,
            offset,
        };
        let row = |feedback: &Feedback<'_>, offset| {
            let mut out = Vec::new();
            let identity = encode_feedback(
                &mut out,
                "p",
                feedback,
                RowVersion::new(Micros(5), 0),
                false,
                position(offset),
            );
            assert_eq!(identity, identity_len("p", &feedback.trace_id));
            (out.clone(), out[..identity].to_vec())
        };
        let feedback =
            Feedback::new(Uuid::from_u128(7), "trace", "m").with_value(Value::of(&1).unwrap());
        let other = Feedback::new(Uuid::from_u128(7), "other", "m");
        assert_ne!(row(&feedback, 1).0, row(&feedback, 2).0);
        assert_eq!(row(&feedback, 1).1, row(&feedback, 2).1);
        assert_ne!(row(&feedback, 1).1, row(&other, 1).1);
    }
}
