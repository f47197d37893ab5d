//! Requests as they are written to a connection, made before the clock starts.

use std::sync::Arc;

use anyhow::Context as _;
use memchr::memmem;

use crate::feed::{self, BOUNDARY, Width};
use crate::hammer::Request;

/// Requests of one kind.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) all: Arc<[Request]>,
    /// The status that says that every event was taken.
    pub(super) status: u16,
    pub(super) events_a_request: u64,
}

/// Different bodies, so that keys spread over partitions and nothing is always the same.
const BODIES: u64 = 4096;
/// What stands before a trace's UUID.
const TRACE: &[u8] = br#""trace_id":""#;
const UUID_LENGTH: usize = 36;
/// What the traces of the first round end in.
pub(super) const FIRST_ROUND: &str = "00000000";
/// Fewer where each has many events.
const EVENTS: u64 = 40_000;

impl Requests {
    pub(super) fn native(key: &str, events_a_request: u64, width: Width) -> Self {
        let count = (EVENTS / events_a_request).clamp(8, BODIES);
        let count = if width == Width::Wide {
            count.min(400)
        } else {
            count
        };
        let body = |index: u64| match events_a_request {
            1 => feed::native(index, width),
            many => feed::native_array(index * many, many, width),
        };
        let headers = format!("authorization: Bearer {key}\r\n");
        Self::made("/v1/feedback", &headers, 200, events_a_request, count, body)
    }

    pub(super) fn portkey(key: &str) -> Self {
        let headers = format!("x-portkey-api-key: {key}\r\n");
        Self::made(
            "/portkey/v1/feedback",
            &headers,
            200,
            1,
            BODIES,
            feed::portkey,
        )
    }

    pub(super) fn tensorzero(key: &str) -> Self {
        let headers = format!("authorization: Bearer {key}\r\n");
        Self::made(
            "/tensorzero/feedback",
            &headers,
            200,
            1,
            BODIES,
            feed::tensorzero,
        )
    }

    pub(super) fn langsmith(key: &str, events_a_request: u64) -> anyhow::Result<Self> {
        let request = |index: u64| {
            let body = feed::langsmith(index * events_a_request, events_a_request)?;
            let headers = format!(
                "x-api-key: {key}\r\nuser-agent: langsmith-py/0.15.0-httpx2\r\n\
                 content-encoding: zstd\r\n\
                 content-type: multipart/form-data; boundary={BOUNDARY}\r\n"
            );
            Ok(post("/langsmith/runs/multipart", &headers, &body).into())
        };
        let all = (0..EVENTS / events_a_request).map(request);
        let all: std::io::Result<Vec<_>> = all.collect();
        Ok(Self {
            all: all.context("compress the bodies")?.into(),
            status: 202,
            events_a_request,
        })
    }

    /// The same with other traces in each round: those of the first end in
    /// [`FIRST_ROUND`].
    pub(super) fn of_new_traces(self) -> Self {
        let numbered = |request: &Request| {
            let places = memmem::find_iter(request.bytes(), TRACE);
            let places = places.map(|at| at + TRACE.len() + UUID_LENGTH - FIRST_ROUND.len());
            request.clone().numbered(places.collect())
        };
        Self {
            all: self.all.iter().map(numbered).collect(),
            ..self
        }
    }

    fn made(
        path: &str,
        headers: &str,
        status: u16,
        events_a_request: u64,
        count: u64,
        body: impl Fn(u64) -> String,
    ) -> Self {
        let headers = format!("{headers}content-type: application/json\r\n");
        let all: Vec<_> = (0..count)
            .map(|index| post(path, &headers, body(index).as_bytes()).into())
            .collect();
        Self {
            all: all.into(),
            status,
            events_a_request,
        }
    }
}

/// A POST. Each line of `headers` is ended.
pub(super) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A GET with a key.
pub(super) fn get(path: &str, key: &str) -> Request {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\r\n")
        .into_bytes()
        .into()
}
