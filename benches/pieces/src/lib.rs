//! The hot pieces of an event's way, each by itself: what `make bench-pieces` times
//! and `make counts` counts the instructions of.
//!
//! | piece | what |
//! | --- | --- |
//! | `take.NAME` | a body to checked, encoded events, and the bytes of the answer |
//! | `encode.SIZE`, `decode.SIZE` | an event to a record, and back |
//! | `row.SIZE` | a record to its row |
//! | `close.SIZE` | rows to the compressed block that is sent |
//!
//! Narrow events have nine fields in about 300 bytes; wide ones have 30 tags and a comment
//! of 4 KB.

mod events;
mod requests;

use events::narrow_event;

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use http::{HeaderMap, Method};
use plaudit_dialects::{Action, Call, Content, Delivery, Fates, VENDORS};
use plaudit_event::{
    Dialect, Event, Limits, Micros, Operation, Receipt, Registries, RowVersion, codec,
};
use plaudit_store::{ClickhouseConfig, RowPosition, Store, Table, encode_feedback};

/// One piece, ready to run any number of times.
pub struct Piece {
    /// What it is called.
    pub name: String,
    /// How many events a run handles.
    pub events: u32,
    run: Box<dyn FnMut()>,
}

/// Rows of a block.
const BLOCK: u32 = 1000;

impl Piece {
    /// Runs it once.
    pub fn run(&mut self) {
        (self.run)();
    }

    fn new(name: impl Into<String>, events: u32, run: impl FnMut() + 'static) -> Self {
        Self {
            name: name.into(),
            events,
            run: Box::new(run),
        }
    }
}

/// All of them.
pub fn all() -> Vec<Piece> {
    let mut pieces: Vec<Piece> = requests::SINGLE
        .iter()
        .map(|(dialect, path, body)| take(dialect.name(), *dialect, path, (*body).to_owned(), 1))
        .collect();
    let (dialect, path, body) = requests::SINGLE[0];
    let hundred = format!("[{}]", vec![body; 100].join(","));
    pieces.push(take("native-100", dialect, path, hundred, 100));
    for (size, record) in [("narrow", narrow as fn(u64) -> Vec<u8>), ("wide", wide)] {
        pieces.extend(carry(size, record));
    }
    pieces
}

/// What the intake does with a body, but for HTTP and Kafka.
fn take(name: &str, dialect: Dialect, path: &'static str, body: String, events: u32) -> Piece {
    let endpoint = VENDORS
        .into_iter()
        .filter(|vendor| vendor.dialect == dialect)
        .flat_map(|vendor| vendor.endpoints)
        .find(|endpoint| endpoint.method == Method::POST && endpoint.path == path);
    let Some(Action::Take { parse, answer, .. }) = endpoint.map(|endpoint| endpoint.action) else {
        panic!("{path} takes events");
    };
    let project: Arc<str> = "bench".into();
    let (limits, registries) = (Limits::default(), Registries::default());
    let headers = HeaderMap::new();
    let deliveries: Vec<Delivery> = (0..events)
        .map(|offset| {
            Delivery::Confirmed(Receipt {
                topic: "plaudit.feedback".into(),
                partition: 3,
                offset: 1042 + i64::from(offset),
            })
        })
        .collect();
    Piece::new(format!("take.{name}"), events, move || {
        let call = Call {
            project: &project,
            received_at: Micros(1_795_000_000_000_000),
            idempotency_key: None,
            path: &[],
            query: "",
            headers: &headers,
            content: Content::Json,
            limits: &limits,
            registries: &registries,
            max_events: 1000,
            tokens: None,
            public_url: None,
            mount: "",
        };
        let Ok(parsed) = parse(&call, body.as_bytes()) else {
            panic!("the request is good");
        };
        assert_eq!(parsed.batch.len(), deliveries.len());
        let fates = Fates {
            deliveries: &deliveries,
            states: &[],
            request_id: "r-1",
        };
        black_box(answer(&parsed, &fates));
    })
}

/// A record through the codec, into a row, and into a block.
fn carry(size: &str, make: fn(u64) -> Vec<u8>) -> Vec<Piece> {
    // An event borrows from its record, and the pieces live as long as the program.
    let record: &'static [u8] = make(0).leak();
    let (decoded, mut buffer) = (event(record), Vec::new());
    let encode = Piece::new(format!("encode.{size}"), 1, move || {
        buffer.clear();
        codec::encode(&decoded, &mut buffer);
        black_box(&buffer);
    });
    let decode = Piece::new(format!("decode.{size}"), 1, || {
        black_box(event(record));
    });
    let mut buffer = Vec::new();
    let row = Piece::new(format!("row.{size}"), 1, move || {
        buffer.clear();
        push_row(&mut buffer, record, 0);
        black_box(&buffer);
    });
    let mut rows = Vec::new();
    for offset in 0..BLOCK {
        push_row(&mut rows, &make(offset.into()), i64::from(offset));
    }
    let store = Store::new(ClickhouseConfig::default()).expect("plain HTTP needs no certificates");
    let close = Piece::new(format!("close.{size}"), BLOCK, move || {
        black_box(store.payload(Table::Feedback, BLOCK as usize, &rows));
    });
    vec![encode, decode, row, close]
}

fn event(record: &[u8]) -> Event<'_> {
    codec::decode(record, || Some(1)).unwrap_or_else(|_| unreachable!("it was encoded here"))
}

fn push_row(rows: &mut Vec<u8>, record: &[u8], offset: i64) {
    let event = event(record);
    let Operation::Put(feedback) = &event.operation else {
        unreachable!("it is a put");
    };
    let position = RowPosition {
        dialect: event.dialect,
        received_at: event.received_at,
        topic: "plaudit.feedback",
        partition: 3,
        offset,
    };
    let version = RowVersion::new(event.version_time, 0);
    encode_feedback(rows, &event.project, feedback, version, false, position);
}

fn narrow(index: u64) -> Vec<u8> {
    let mut record = Vec::new();
    let now = Micros(1_795_000_000_000_000_i64.saturating_add_unsigned(index));
    narrow_event(index, now, &mut record);
    record
}

fn wide(index: u64) -> Vec<u8> {
    let record = narrow(index);
    let mut event = event(&record);
    if let Operation::Put(feedback) = &mut event.operation {
        for tag in 0..30 {
            let text = format!("value-{}", (index + tag) % 50);
            feedback.tags.insert(format!("tag-{tag}"), text);
        }
        let mut comment = String::new();
        for word in 0..1024 {
            // A String takes every write.
            write!(comment, "{:03} ", (index + word) * 7919 % 1000).ok();
        }
        feedback.comment = Some(comment.into());
    }
    let mut wide = Vec::new();
    codec::encode(&event, &mut wide);
    wide
}
