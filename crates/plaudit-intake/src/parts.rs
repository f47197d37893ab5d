//! Reads a multipart body: what is wanted of it is kept, the rest passes by.
//!
//! A tracing client sends its feedback between runs that are many times its size.
//! Parts are told by their names while the body arrives; of those that are not
//! wanted no more is held than a chunk, so they count against no bound but that of
//! the whole body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use multer::Multipart;
use plaudit_service::{ApiError, ErrorCode};
use tokio::time::timeout;

use crate::LimitsConfig;
use crate::admission::Taken;
use crate::body::{self, Stopped};

/// Between the contents of two parts: neither of them can run into the other.
const BETWEEN: &[u8] = b"\x1e";

/// Reads the contents of the parts whose name `keep` holds for, in order.
///
/// # Errors
/// As [`body::read`]; 400 when it is no multipart body.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    keep: fn(&str) -> bool,
    room: Taken,
    limits: &LimitsConfig,
) -> Result<(Bytes, Taken), ApiError> {
    let boundary = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| multer::parse_boundary(value.to_str().ok()?).ok())
        .ok_or_else(|| malformed("has no boundary"))?;
    let stream = body::stream(headers, body, limits)?;
    let wanted = wanted(stream, boundary, keep, room, limits);
    match timeout(limits.body_timeout, wanted).await {
        Ok(wanted) => wanted,
        Err(_) => Err(body::timed_out()),
    }
}

async fn wanted(
    stream: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    boundary: String,
    keep: fn(&str) -> bool,
    mut room: Taken,
    limits: &LimitsConfig,
) -> Result<(Bytes, Taken), ApiError> {
    let unread = Arc::new(AtomicUsize::new(0));
    let stream = bounded(one_at_a_time(stream), Arc::clone(&unread));
    let mut multipart = Multipart::new(stream, boundary);
    let mut kept = BytesMut::new();
    while let Some(mut part) = multipart
        .next_field()
        .await
        .map_err(|error| fault(&error))?
    {
        unread.store(0, Ordering::Relaxed);
        let is_wanted = part.name().is_some_and(keep);
        if is_wanted && !kept.is_empty() {
            kept.extend_from_slice(BETWEEN);
        }
        while let Some(chunk) = part.chunk().await.map_err(|error| fault(&error))? {
            unread.store(0, Ordering::Relaxed);
            if !is_wanted {
                continue;
            }
            if kept.len() + chunk.len() > limits.decompressed_bytes {
                return Err(Stopped::Bomb(limits.decompressed_bytes).into());
            }
            if !room.grow(chunk.len()) {
                return Err(Stopped::NoRoom.into());
            }
            kept.extend_from_slice(&chunk);
        }
    }
    Ok((kept.freeze(), room))
}

/// The most that may stand before a part, or be a part's headers, in bytes. The
/// parser keeps it until it has found their end.
const MAX_UNREAD: usize = 256 << 10;

/// The same chunks, until too many have come of which nothing was made: `unread`
/// counts them, and whoever reads sets it back.
fn bounded<S>(chunks: S, unread: Arc<AtomicUsize>) -> impl Stream<Item = io::Result<Bytes>>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    chunks.map(move |chunk| {
        let chunk = chunk?;
        if unread.fetch_add(chunk.len(), Ordering::Relaxed) > MAX_UNREAD {
            return Err(io::Error::other(Stopped::NoParts));
        }
        Ok(chunk)
    })
}

/// The same chunks, each only when it is asked for: the parser takes in whatever is
/// ready, which of a body that is decompressed in memory is all of it.
fn one_at_a_time<S: Stream + Unpin>(mut chunks: S) -> impl Stream<Item = S::Item> {
    let mut has_given = false;
    stream::poll_fn(move |context| {
        if std::mem::take(&mut has_given) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = Pin::new(&mut chunks).poll_next(context);
        has_given = chunk.is_ready();
        chunk
    })
}

/// Why a body could not be read: what its stream said, or its form.
fn fault(error: &multer::Error) -> ApiError {
    if let multer::Error::StreamReadFailed(source) = error
        && let Some(source) = source.downcast_ref::<io::Error>()
    {
        return body::reason(source).into();
    }
    malformed("is not multipart/form-data")
}

fn malformed(problem: &'static str) -> ApiError {
    ApiError::new(ErrorCode::InvalidJson, problem).in_field("body")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::admission::Admission;

    fn is_wanted(name: &str) -> bool {
        name.starts_with("feedback.")
    }

    fn part(name: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    }

    async fn read_all(body: Body, limits: &LimitsConfig) -> Result<Vec<u8>, ApiError> {
        let content_type = HeaderValue::from_static("multipart/form-data; boundary=b");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        let room = Admission::new(limits).room();
        let kept = read(&headers, body, is_wanted, room, limits).await?;
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
    async fn p5_what_passes_by_is_not_held() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let whole = [part("post.1", &"x".repeat(1 << 20)), "--b--\r\n".to_owned()].concat();
        let chunks: Vec<_> = whole
            .into_bytes()
            .chunks(1000)
            .map(Bytes::copy_from_slice)
            .collect();
        let all = chunks.len();
        let chunks = chunks.into_iter().map(move |chunk| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(chunk)
        });
        let mut multipart = Multipart::new(one_at_a_time(stream::iter(chunks)), "b");
        let first = multipart.next_field().await.unwrap();
        assert_eq!(first.unwrap().name(), Some("post.1"));
        let taken = taken.load(Ordering::Relaxed);
        assert!(
            taken < 10,
            "{taken} of {all} chunks for the first part's name"
        );
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
