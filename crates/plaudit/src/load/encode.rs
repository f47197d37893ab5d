//! Events as the bytes of a request.
//!
//! Written by hand and not through serde: every text is known here and needs no
//! escape, and a generator that is slower than the server measures itself.

use std::io::Write;

use plaudit_event::Micros;
use uuid::Uuid;

use super::event::{Dialect, Event, Events, Said};

/// One request: its events and its body.
pub(crate) struct Batch {
    pub(crate) events: Vec<Event>,
    pub(crate) body: Vec<u8>,
}

/// Longer than any event that is made here; only a hint.
const EVENT_BYTES: usize = 320;

impl Batch {
    /// Events `first` to `first + count`, made at `now`.
    pub(crate) fn new(events: &Events, first: u64, count: u64, now: Micros) -> Self {
        let made = (first..first + count).map(|index| events.event(index, now));
        let made: Vec<Event> = made.collect();
        let mut body = Vec::with_capacity(made.len() * EVENT_BYTES);
        let now = now.to_string();
        let mut separator = b'[';
        for event in &made {
            body.push(separator);
            match events.dialect {
                Dialect::Native => native(&mut body, event, events.run, &now),
                Dialect::Portkey => portkey(&mut body, event, events.run),
            }
            separator = b',';
        }
        body.push(b']');
        Self { events: made, body }
    }
}

/// The id of a trace of a run.
pub(crate) fn trace_id(run: u64, trace: u32) -> String {
    let mut text = Vec::new();
    push_trace(&mut text, run, trace);
    String::from_utf8(text).unwrap_or_default()
}

/// What the ids of all traces of a run begin with.
pub(crate) fn trace_prefix(run: u64) -> String {
    format!("trace-{:08x}-", run >> 32)
}

fn native(body: &mut Vec<u8>, event: &Event, run: u64, now: &str) {
    body.extend_from_slice(br#"{"id":""#);
    body.extend_from_slice(
        event
            .id
            .hyphenated()
            .encode_lower(&mut Uuid::encode_buffer())
            .as_bytes(),
    );
    body.extend_from_slice(br#"","trace_id":""#);
    push_trace(body, run, event.trace);
    push_text(body, r#"","metric":""#, event.metric.name());
    body.push(b'"');
    push_said(body, event.said);
    if event.quarters < 4 {
        push(body, format_args!(r#","weight":{}"#, event.weight()));
    }
    if let Some(comment) = event.comment {
        push_text(body, r#","comment":""#, comment);
        body.push(b'"');
    }
    push_text(body, r#","tags":{"env":""#, event.env);
    push_text(body, r#"","model":""#, event.model);
    push_text(body, r#"","prompt_version":""#, event.prompt_version);
    push(
        body,
        format_args!(r#""}},"rater":"user-{}","created_at":""#, event.rater),
    );
    push_text(body, now, r#""}"#);
}

fn push_said(body: &mut Vec<u8>, said: Said) {
    match said {
        Said::Thumb(true) => body.extend_from_slice(br#","value":true"#),
        Said::Thumb(false) => body.extend_from_slice(br#","value":false"#),
        Said::Number(number) => push(body, format_args!(r#","value":{number}"#)),
        Said::Hundredths(hundredths) => {
            push(
                body,
                format_args!(r#","value":{}.{:02}"#, hundredths / 100, hundredths % 100),
            );
        }
        Said::Word(word) => {
            push_text(body, r#","value":""#, word);
            body.push(b'"');
        }
        Said::Correction(answer) => {
            push_text(body, r#","correction":{"answer":""#, answer);
            push_text(body, "\"", "}");
        }
        Said::Nothing => {}
    }
}

fn portkey(body: &mut Vec<u8>, event: &Event, run: u64) {
    body.extend_from_slice(br#"{"trace_id":""#);
    push_trace(body, run, event.trace);
    let Said::Number(points) = event.said else {
        return body.extend_from_slice(br#""}"#);
    };
    push(
        body,
        format_args!(
            r#"","value":{points},"weight":{},"metadata":{{"_user":"user-{}","#,
            event.weight(),
            event.rater
        ),
    );
    push_text(body, r#""_environment":""#, event.env);
    push_text(body, r#"","_prompt":"support-"#, event.prompt_version);
    push_text(body, r#"","model":""#, event.model);
    push_text(body, "\"", "}}");
}

fn push_trace(body: &mut Vec<u8>, run: u64, trace: u32) {
    push(body, format_args!("trace-{:08x}-{trace:06}", run >> 32));
}

fn push_text(body: &mut Vec<u8>, before: &str, text: &str) {
    body.extend_from_slice(before.as_bytes());
    body.extend_from_slice(text.as_bytes());
}

fn push(body: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A vector takes every write.
    body.write_fmt(text).ok();
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value as Tree;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::load::event::Metric;

    fn events(dialect: Dialect) -> Events {
        Events {
            seed: 7,
            run: 0x1234_5678_0000_0001,
            traces: 1000,
            dialect,
        }
    }

    fn digest(events: &Events) -> String {
        let batch = Batch::new(events, 0, 1000, Micros(1_767_323_045_000_000));
        let hash = Sha256::digest(&batch.body);
        hash.iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn a_seed_names_the_same_events_for_ever() {
        assert_eq!(digest(&events(Dialect::Native)), "6c7ac1e741dd3b33");
        assert_eq!(digest(&events(Dialect::Portkey)), "f6f1ed1bcee4ad5c");
        let other = Events {
            seed: 8,
            ..events(Dialect::Native)
        };
        assert_ne!(digest(&other), digest(&events(Dialect::Native)));
    }

    #[test]
    fn an_event_is_the_same_in_whichever_batch_it_is() {
        let events = events(Dialect::Native);
        let whole = Batch::new(&events, 0, 10, Micros(0));
        let part = Batch::new(&events, 4, 1, Micros(0));
        let whole: Vec<Tree> = serde_json::from_slice(&whole.body).unwrap();
        let part: Vec<Tree> = serde_json::from_slice(&part.body).unwrap();
        assert_eq!(whole[4], part[0]);
    }

    #[test]
    fn what_is_written_is_what_was_meant() {
        let batch = Batch::new(&events(Dialect::Native), 0, 5000, Micros(0));
        let items: Vec<Tree> = serde_json::from_slice(&batch.body).unwrap();
        let mut ids = HashSet::new();
        for (item, event) in items.iter().zip(&batch.events) {
            assert!(ids.insert(item["id"].as_str().unwrap()));
            assert_eq!(item["metric"], event.metric.name());
            let score = match &item["value"] {
                Tree::Bool(up) => Some(f64::from(u8::from(*up))),
                value => value.as_f64(),
            };
            assert_eq!(score, event.score(), "{item}");
            assert_eq!(item["weight"].as_f64().unwrap_or(1.0), event.weight());
            let says = ["value", "comment", "correction"];
            assert!(says.iter().any(|field| !item[field].is_null()), "{item}");
        }
        assert_eq!(ids.len(), 5000);
    }

    #[test]
    fn a_load_has_every_metric_many_traces_and_a_few_hot_ones() {
        let batch = Batch::new(&events(Dialect::Native), 0, 10_000, Micros(0));
        for metric in Metric::ALL {
            let told = batch.events.iter().any(|event| event.metric == metric);
            assert_eq!(told, metric != Metric::Feedback, "{metric:?}");
        }
        let traces: HashSet<u32> = batch.events.iter().map(|event| event.trace).collect();
        let hottest = batch.events.iter().filter(|event| event.trace == 0).count();
        assert!(traces.len() > 900, "{} traces", traces.len());
        assert!(
            (500..2000).contains(&hottest),
            "{hottest} of 10000 on one trace"
        );
    }

    #[test]
    fn portkey_gets_whole_numbers_from_minus_ten_to_ten() {
        let batch = Batch::new(&events(Dialect::Portkey), 0, 5000, Micros(0));
        let items: Vec<Tree> = serde_json::from_slice(&batch.body).unwrap();
        for (item, event) in items.iter().zip(&batch.events) {
            let points = item["value"].as_i64().unwrap();
            assert!((-10..=10).contains(&points));
            assert_eq!(item["value"].as_f64(), event.score());
            assert_eq!(item["weight"].as_f64(), Some(event.weight()));
        }
    }
}
