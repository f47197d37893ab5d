//! What is sent: feedback of known sizes, as requests and as records.
//!
//! Four feedbacks to a trace; a trace's id is a version 4 UUID, which no codec shortens.
//! Everything follows from a number, so that two runs send the same.

use std::fmt::Write as _;

use plaudit_event::{Dialect, Event, Feedback, Micros, Operation, Value, codec, identity};
use uuid::{Builder, Uuid};

/// How much an event says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Width {
    /// Nine fields, one tag, about 300 bytes.
    Narrow,
    /// The same with 30 tags and a comment of 4 KB.
    Wide,
}

const METRICS: [&str; 3] = ["helpful", "stars", "correctness"];
const WORDS: [&str; 8] = [
    "answer",
    "wrong",
    "contract",
    "because",
    "tone",
    "slow",
    "paragraph",
    "thanks",
];
const WIDE_TAGS: u64 = 30;
const WIDE_COMMENT_BYTES: usize = 4096;

/// The trace of the `index`-th event.
pub fn trace(index: u64) -> Uuid {
    Builder::from_random_bytes(noise(index / 4, 1)).into_uuid()
}

/// A time-ordered id, as vendors' gateways make them.
fn time_ordered(index: u64, salt: u64) -> Uuid {
    let [tail @ .., _, _, _, _, _, _] = noise(index, salt);
    Builder::from_unix_timestamp_millis(1_795_000_000_000 + index, &tail).into_uuid()
}

fn metric(index: u64) -> &'static str {
    let [first, second, third] = METRICS;
    match index % 3 {
        0 => first,
        1 => second,
        _ => third,
    }
}

fn comment(index: u64) -> String {
    let mut text = String::with_capacity(WIDE_COMMENT_BYTES + 16);
    let mut turn = index;
    while text.len() < WIDE_COMMENT_BYTES {
        turn = mix(turn);
        let word = usize::try_from(turn % 8).unwrap_or_default();
        text.push_str(WORDS.get(word).copied().unwrap_or_default());
        text.push(' ');
    }
    text
}

/// Appends the `index`-th event as a record of the topic; returns its key.
pub fn record(index: u64, width: Width, now: Micros, out: &mut Vec<u8>) -> String {
    let trace_id = trace(index).to_string();
    let value = Value::of(&(index % 5)).unwrap_or_else(|| unreachable!("a number is a value"));
    let mut feedback =
        Feedback::new(identity::new(), trace_id.clone(), metric(index)).with_value(value);
    feedback.tags.insert("env", "production");
    feedback.rater = Some(format!("user-{}", index % 1000).into());
    if width == Width::Wide {
        for tag in 1..WIDE_TAGS {
            feedback
                .tags
                .insert(format!("tag-{tag}"), format!("text-{}", (index + tag) % 50));
        }
        feedback.comment = Some(comment(index).into());
    }
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

/// An item of the native API.
pub fn native(index: u64, width: Width) -> String {
    let mut item = format!(
        r#"{{"trace_id":"{}","metric":"{}","value":{},"rater":"user-{}","tags":{{"env":"production""#,
        trace(index),
        metric(index),
        index % 5,
        index % 1000
    );
    if width == Width::Wide {
        for tag in 1..WIDE_TAGS {
            // A String takes every write.
            write!(item, r#","tag-{tag}":"text-{}""#, (index + tag) % 50).ok();
        }
        write!(item, r#"}},"comment":"{}"}}"#, comment(index)).ok();
    } else {
        item.push_str("}}");
    }
    item
}

/// An array of items of the native API.
pub fn native_array(first: u64, count: u64, width: Width) -> String {
    let items: Vec<String> = (first..first + count)
        .map(|index| native(index, width))
        .collect();
    format!("[{}]", items.join(","))
}

/// An item as Portkey's clients send it.
pub fn portkey(index: u64) -> String {
    format!(
        r#"{{"trace_id":"{}","value":{},"weight":1,"metadata":{{"_user":"user-{}","env":"production"}}}}"#,
        trace(index),
        index % 5,
        index % 1000
    )
}

/// An item as TensorZero's client sends it.
pub fn tensorzero(index: u64) -> String {
    format!(
        r#"{{"episode_id":null,"inference_id":"{}","metric_name":"{}","value":{},"internal":false,"tags":{{"user_id":"user-{}","env":"production"}},"dryrun":null}}"#,
        time_ordered(index / 4, 2),
        metric(index),
        index % 5,
        index % 1000
    )
}

/// What stands between two parts of a multipart body.
pub const BOUNDARY: &str = "c00ffdb5df40452194270f5be3ad5ce7";

/// A body as LangSmith's Python client sends it in the background: a part a feedback,
/// all fields present, compressed by zstd as a stream.
///
/// # Errors
/// Never, in memory.
pub fn langsmith(first: u64, count: u64) -> std::io::Result<Vec<u8>> {
    let mut body = String::new();
    for index in first..first + count {
        let id = time_ordered(index, 3);
        let run = trace(index);
        let (metric, score, user) = (metric(index), index % 5, index % 1000);
        let session = Builder::from_random_bytes(noise(index % 16, 4)).into_uuid();
        let part = format!(
            r#"{{"id":"{id}","created_at":"2026-11-22T01:15:01.085086+00:00","modified_at":"2026-11-22T01:15:01.085094+00:00","run_id":"{run}","trace_id":"{run}","key":"{metric}","score":{score},"value":null,"comment":null,"correction":null,"feedback_source":{{"type":"api","metadata":{{"env":"production"}},"user_id":null,"user_name":"user-{user}"}},"session_id":"{session}","start_time":null,"comparative_experiment_id":null,"feedback_group_id":null,"extra":null,"feedback_config":null,"error":null}}"#
        );
        // A String takes every write.
        write!(
            body,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"feedback.{id}\"\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{part}\r\n",
            part.len()
        )
        .ok();
    }
    write!(body, "--{BOUNDARY}--\r\n").ok();
    // The encoder of streams: it does not know the size and so does not say it.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3)?;
    std::io::Write::write_all(&mut encoder, body.as_bytes())?;
    encoder.finish()
}

/// Sixteen bytes that look random.
fn noise(index: u64, salt: u64) -> [u8; 16] {
    let high = mix(index ^ salt << 56);
    let low = mix(high);
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// A step of SplitMix64.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_is_json_and_four_share_a_trace() {
        for body in [
            native(5, Width::Narrow),
            native(5, Width::Wide),
            native_array(0, 3, Width::Narrow),
            portkey(5),
            tensorzero(5),
        ] {
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
        }
        assert_eq!(trace(4), trace(7));
        assert_ne!(trace(7), trace(8));
        assert_eq!(trace(7).get_version_num(), 4);
        assert_eq!(time_ordered(7, 2).get_version_num(), 7);
    }

    #[test]
    fn a_record_is_as_wide_as_it_says() {
        let size = |width| {
            let mut bytes = Vec::new();
            record(1, width, Micros(1_795_000_000_000_000), &mut bytes);
            bytes.len()
        };
        assert!((250..350).contains(&size(Width::Narrow)));
        assert!(size(Width::Wide) > 4096);
    }

    #[test]
    fn langsmiths_frame_does_not_say_its_size() {
        let body = langsmith(0, 2).unwrap();
        let text = zstd::stream::decode_all(&body[..]).unwrap();
        assert!(text.ends_with(b"--c00ffdb5df40452194270f5be3ad5ce7--\r\n"));
        // The single-segment flag and the size flags of the frame's header.
        assert_eq!(body[4] & 0b1110_0000, 0);
    }
}
