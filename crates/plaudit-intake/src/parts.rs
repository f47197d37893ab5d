//! Reads a multipart body: what is wanted of it is kept, the rest passes by.
//!
//! A tracing client sends its feedback between runs that are many times its size.
//! Parts are told by their names while the body arrives; of those that are not
//! wanted no more is held than a chunk, so they count against no bound but that of
//! the whole body.

use std::io;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use plaudit_service::{ApiError, ErrorCode};
use tokio::time::timeout;

use crate::LimitsConfig;
use crate::admission::{Admission, Taken};
use crate::body::{self, Stopped};
use crate::multipart::{Malformed, Piece, Reader, boundary};

/// Between the contents of two parts: neither of them can run into the other.
const BETWEEN: &[u8] = b"\x1e";

/// Reads the contents of the parts whose name `keep` holds for, in order, and takes room
/// for them.
///
/// # Errors
/// As [`body::read`]; 400 when it is no multipart body.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    keep: fn(&str) -> bool,
    admission: &Admission,
    limits: &LimitsConfig,
) -> Result<(Bytes, Taken), ApiError> {
    let boundary = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| boundary(value.to_str().ok()?))
        .ok_or(Malformed::NoBoundary)?;
    let stream = body::stream(headers, body, admission.room(), limits)?;
    let form = Reader::new(&boundary);
    let wanted = wanted(stream, form, keep, admission.room(), limits);
    match timeout(limits.body_timeout, wanted).await {
        Ok(wanted) => wanted,
        Err(_) => Err(body::timed_out()),
    }
}

async fn wanted(
    mut stream: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    mut form: Reader,
    keep: fn(&str) -> bool,
    mut room: Taken,
    limits: &LimitsConfig,
) -> Result<(Bytes, Taken), ApiError> {
    let mut kept = BytesMut::new();
    let mut is_wanted = false;
    loop {
        match form.next()? {
            Piece::Starved => {
                let chunk = stream.next().await.ok_or(Malformed::Form)?;
                let chunk = chunk.map_err(|error| body::reason(&error))?;
                if is_wanted || kept.is_empty() {
                    // Most of it is wanted, where anything is.
                    kept.reserve(chunk.len());
                }
                form.put(&chunk);
            }
            Piece::Part(name) => {
                is_wanted = name.is_some_and(keep);
                if is_wanted && !kept.is_empty() {
                    kept.extend_from_slice(BETWEEN);
                }
            }
            Piece::Content(_) if !is_wanted => {}
            Piece::Content(content) => {
                if kept.len() + content.len() > limits.decompressed_bytes {
                    return Err(Stopped::Bomb(limits.decompressed_bytes).into());
                }
                if !room.grow(content.len()) {
                    return Err(Stopped::NoRoom.into());
                }
                kept.extend_from_slice(content);
            }
            Piece::End => return Ok((kept.freeze(), room)),
        }
    }
}

impl From<Malformed> for ApiError {
    fn from(malformed: Malformed) -> Self {
        Self::new(ErrorCode::InvalidJson, malformed.to_string()).in_field("body")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_compression::tokio::bufread::ZstdEncoder;
    use axum::http::HeaderValue;
    use futures_util::stream;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn is_wanted(name: &str) -> bool {
        name.starts_with("feedback.")
    }

    fn part(name: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    }

    async fn read_all(body: Body, limits: &LimitsConfig) -> Result<Vec<u8>, ApiError> {
        read_packed("identity", body, limits).await
    }

    async fn read_packed(
        encoding: &'static str,
        body: Body,
        limits: &LimitsConfig,
    ) -> Result<Vec<u8>, ApiError> {
        let content_type = HeaderValue::from_static("multipart/form-data; boundary=b");
        let headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, content_type),
            (header::CONTENT_ENCODING, HeaderValue::from_static(encoding)),
        ]);
        let admission = Admission::new(limits);
        let kept = read(&headers, body, is_wanted, &admission, limits).await?;
        Ok(kept.0.to_vec())
    }

    #[tokio::test]
    async fn what_is_wanted_is_kept_and_no_more() {
        let body = [
            part("post.1", "{\"large\":1}"),
            part("feedback.1", "{\"a\":1}"),
            part("attachment.1.x", "--c"),
            part("feedback.2", "{\"b\":2}"),
            "--b--\r\n".to_owned(),
        ];
        let kept = read_all(body.concat().into(), &LimitsConfig::default()).await;
        assert_eq!(kept.unwrap(), b"{\"a\":1}\x1e{\"b\":2}");
        let broken = body[..4].concat();
        let kept = read_all(broken.into(), &LimitsConfig::default()).await;
        assert_eq!(kept.unwrap_err().code, ErrorCode::InvalidJson);
    }

    #[tokio::test]
    async fn p5_what_a_decoder_keeps_takes_room() {
        let whole = [part("post.1", &"x".repeat(1 << 20)), "--b--\r\n".to_owned()].concat();
        let mut packed = Vec::new();
        let mut encoder = ZstdEncoder::new(whole.as_bytes());
        encoder.read_to_end(&mut packed).await.unwrap();
        for (encoding, body, room, expected) in [
            ("zstd", packed.clone(), 1 << 21, None),
            ("zstd", packed, 1 << 19, Some(ErrorCode::Unavailable)),
            ("identity", whole.clone().into_bytes(), 1 << 19, None),
        ] {
            let limits = LimitsConfig {
                buffered_bytes: room,
                ..LimitsConfig::default()
            };
            let error = read_packed(encoding, body.into(), &limits).await.err();
            assert_eq!(error.map(|error| error.code), expected, "{encoding}");
        }
    }

    #[tokio::test]
    async fn p5_what_never_becomes_a_part_is_refused_early() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let endless = stream::iter(0..10_000).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(&[b'a'; 1000]))
        });
        let read = read_all(Body::from_stream(endless), &LimitsConfig::default()).await;
        assert_eq!(read.unwrap_err().code, ErrorCode::InvalidJson);
        assert!(taken.load(Ordering::Relaxed) < 1000);
    }

    proptest! {
        /// `PROPTEST_CASES` says how many; `make fuzz` says many.
        #[test]
        fn any_bytes_give_a_result(body: Vec<u8>, cut in 1..9_usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut framed = part("feedback.1", "").into_bytes();
            framed.extend(&body);
            framed.extend(b"\r\n--b--\r\n");
            for bytes in [body, framed] {
                let chunks: Vec<_> = bytes.chunks(cut).map(Bytes::copy_from_slice).collect();
                let chunks = stream::iter(chunks.into_iter().map(Ok::<_, io::Error>));
                let limits = LimitsConfig::default();
                let read = read_all(Body::from_stream(chunks), &limits);
                // A result, and no more than was sent.
                if let Ok(kept) = runtime.block_on(read) {
                    prop_assert!(kept.len() <= bytes.len());
                }
            }
        }
    }
}
