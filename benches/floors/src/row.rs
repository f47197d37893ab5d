//! A record as a row of `feedback`, in RowBinary: all of its columns.

use crate::record::{Feedback, Operation, Record, Tags};
use serde_json::value::RawValue;

/// The columns, in the order in which they are written.
pub const COLUMNS: &str = "project, trace_id, id, version, is_deleted, target_kind, target_id, \
    metric, value_type, value, score, weight, comment, correction, tags, metadata, rater, \
    source_kind, source_info, source_run_id, group_id, experiment_id, session_id, created_at, \
    received_at, dialect, topic, partition, offset";

/// Where a record stands in its topic.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Appends the row of a record.
pub fn encode(out: &mut Vec<u8>, record: &Record<'_>, position: Position<'_>) {
    let Operation::Put(feedback) = &record.operation;
    string(out, &record.project);
    string(out, &feedback.trace_id);
    let (high, low) = feedback.id.as_u64_pair();
    out.extend_from_slice(&high.to_le_bytes());
    out.extend_from_slice(&low.to_le_bytes());
    out.extend_from_slice(&(record.version_time.cast_unsigned() << 12).to_le_bytes());
    out.push(0);
    said(out, feedback);
    string(out, &feedback.rater);
    match &feedback.source {
        Some(source) => {
            string(out, &source.kind);
            json(out, source.info);
            string(out, &source.run_id);
        }
        None => {
            string(out, "api");
            string(out, "");
            string(out, "");
        }
    }
    string(out, &feedback.group_id);
    string(out, &feedback.experiment_id);
    string(out, &feedback.session_id);
    let created_at = feedback.created_at.unwrap_or(record.received_at);
    out.extend_from_slice(&created_at.to_le_bytes());
    out.extend_from_slice(&record.received_at.to_le_bytes());
    out.push(dialect(&record.dialect));
    string(out, position.topic);
    out.extend_from_slice(&position.partition.to_le_bytes());
    out.extend_from_slice(&position.offset.to_le_bytes());
}

/// From the target to the metadata.
fn said(out: &mut Vec<u8>, feedback: &Feedback<'_>) {
    match &feedback.target {
        Some(target) => {
            out.push(target_kind(&target.kind));
            string(out, &target.id);
        }
        None => {
            out.push(1);
            string(out, &feedback.trace_id);
        }
    }
    string(out, &feedback.metric);
    out.push(feedback.value.map_or(0, value_type));
    json(out, feedback.value);
    match feedback.score {
        Some(score) => {
            out.push(0);
            out.extend_from_slice(&score.to_le_bytes());
        }
        None => out.push(1),
    }
    out.extend_from_slice(&feedback.weight.unwrap_or(1.0).to_le_bytes());
    string(out, &feedback.comment);
    json(out, feedback.correction);
    let Tags(tags) = &feedback.tags;
    leb128(out, tags.len());
    for (key, text) in tags {
        string(out, key);
        string(out, text);
    }
    json(out, feedback.metadata);
}

fn json(out: &mut Vec<u8>, json: Option<&RawValue>) {
    string(out, json.map_or("", RawValue::get));
}

fn string(out: &mut Vec<u8>, text: &str) {
    leb128(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn leb128(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn value_type(value: &RawValue) -> u8 {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b't' | b'f') => 1,
        Some(b'"') => 4,
        Some(b'{' | b'[') => 5,
        _ if text.contains(['.', 'e', 'E']) => 3,
        _ => 2,
    }
}

fn target_kind(kind: &str) -> u8 {
    match kind {
        "run" => 2,
        "inference" => 3,
        "episode" => 4,
        "datapoint" => 5,
        "evaluation_result" => 6,
        "evaluation_sample" => 7,
        "project" => 8,
        "experiment" => 9,
        _ => 1,
    }
}

fn dialect(dialect: &str) -> u8 {
    match dialect {
        "portkey" => 2,
        "tensorzero" => 3,
        "patronus" => 4,
        "humanloop" => 5,
        "langsmith" => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_topic_becomes_its_row() {
        let record = r#"{"v":1,"project":"p","dialect":"native","received_at":5,"version_time":1,
            "operation":{"put":{"id":"00000000-0000-0001-0000-000000000002","trace_id":"t",
            "metric":"m","value":1.5,"score":1.5,"tags":{"k":"v"}}}}"#;
        let record: Record<'_> = serde_json::from_str(record).unwrap();
        let mut row = Vec::new();
        let position = Position {
            topic: "f",
            partition: 3,
            offset: 4,
        };
        encode(&mut row, &record, position);
        let head = [&b"\x01p\x01t"[..], &[1], &[0; 7], &[2], &[0; 7]].concat();
        assert!(row.starts_with(&head), "{row:?}");
        let tail = [&b"\x01\x01f"[..], &[3, 0, 0, 0], &[4], &[0; 7]].concat();
        assert!(row.ends_with(&tail), "{row:?}");
        let value = b"\x01m\x03\x031.5\x00";
        assert!(row.windows(value.len()).any(|part| part == value));
    }

    #[test]
    fn lengths_are_leb128() {
        let of = |number| {
            let mut out = Vec::new();
            leb128(&mut out, number);
            out
        };
        assert_eq!(of(127), [0x7f]);
        assert_eq!(of(300), [0xac, 0x02]);
    }
}
