//! Reads a request's body: whole, decompressed, and never more of it than is
//! allowed.
//!
//! Decompression runs while the body arrives, so that a bomb is found out after
//! the last byte that was allowed. Every byte that is kept is counted against the
//! room for all requests before it is kept.

use std::io;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::BoxError;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use plaudit_service::{ApiError, ErrorCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};
use tokio::time::timeout;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::LimitsConfig;
use crate::admission::Taken;

/// The bytes of a body, decompressed, and their place in the room for all bodies.
pub(crate) type Whole = (Bytes, Taken);

/// How a body is packed (`Content-Encoding`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encoding {
    Identity,
    Gzip,
    /// zlib, which is what HTTP calls deflate.
    Deflate,
    Brotli,
    Zstd,
}

/// Why reading stopped. It travels through `io::Error` where there is a decoder.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body is larger than {0} bytes when it is decompressed")]
    Bomb(usize),
    #[error("too many bytes are under way")]
    NoRoom,
    #[error("the body broke off")]
    BrokeOff,
    #[error("the body cannot be decompressed")]
    Corrupt,
}

/// Bytes that a decoder may add at once.
const STEP: usize = 64 << 10;

/// log2 of the largest window that a zstd frame may ask for: 8 MiB, which RFC
/// 8878 asks every decoder to have. The frame's word for it is not to be trusted.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Reads the body.
///
/// # Errors
/// 408, 413, 415, 400 for what cannot be decompressed, and 503 when there is no
/// room.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    room: Taken,
    limits: &LimitsConfig,
) -> Result<Whole, ApiError> {
    let announced = announced(headers);
    let encoding = encoding(headers, announced, limits.body_bytes)?;
    let body = body.into_data_stream();
    let whole = async {
        match encoding {
            Encoding::Identity => {
                plain(body, room, announced.unwrap_or_default(), limits.body_bytes).await
            }
            // Boxed: a decoder's future is far larger than what most requests need.
            packed => Box::pin(unpacked(packed, body, room, limits)).await,
        }
    };
    match timeout(limits.body_timeout, whole).await {
        Ok(whole) => whole.map_err(ApiError::from),
        Err(_) => Err(timed_out()),
    }
}

/// The body as it arrives, decompressed, for whoever does not keep the whole of it:
/// its bytes are bounded, and of the room only what their decoder keeps is taken.
///
/// # Errors
/// As [`read`], save that what happens on the way is in the stream: see [`reason`].
pub(crate) fn stream(
    headers: &HeaderMap,
    body: Body,
    room: Taken,
    limits: &LimitsConfig,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, ApiError> {
    let encoding = encoding(headers, announced(headers), limits.stream_bytes)?;
    let body = counted(
        body.into_data_stream(),
        Stopped::TooLarge,
        limits.stream_bytes,
    );
    let reader = decoder(encoding, body);
    let unpacked = ReaderStream::with_capacity(reader, STEP);
    let unpacked = counted(unpacked, Stopped::Bomb, limits.stream_bytes);
    Ok(windowed(unpacked, encoding.window(), room))
}

/// The same chunks, with room for what a decoder keeps of them: it fills its window with
/// what it has unpacked.
fn windowed(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    window: usize,
    mut room: Taken,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    let mut unfilled = window;
    chunks.map(move |chunk| {
        let chunk = chunk?;
        let more = chunk.len().min(unfilled);
        if !room.grow(more) {
            return Err(io::Error::other(Stopped::NoRoom));
        }
        unfilled -= more;
        Ok(chunk)
    })
}

pub(crate) fn timed_out() -> ApiError {
    ApiError::new(ErrorCode::BodyTimeout, "the body did not arrive in time")
}

/// How the body is packed, unless it says that it is too large.
fn encoding(
    headers: &HeaderMap,
    announced: Option<usize>,
    max_bytes: usize,
) -> Result<Encoding, ApiError> {
    if announced.is_some_and(|length| length > max_bytes) {
        return Err(Stopped::TooLarge(max_bytes).into());
    }
    Encoding::of(headers)
}

/// How long the body is, as far as its client says.
fn announced(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

async fn plain(
    mut body: BodyDataStream,
    mut room: Taken,
    announced: usize,
    max_bytes: usize,
) -> Result<Whole, Stopped> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0_usize;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Stopped::BrokeOff)?;
        length += chunk.len();
        if length > max_bytes {
            return Err(Stopped::TooLarge(max_bytes));
        }
        if !room.grow(chunk.len()) {
            return Err(Stopped::NoRoom);
        }
        // Most bodies are one chunk, which then need not be copied.
        if first.is_empty() {
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.reserve(announced.min(STEP).max(first.len() + chunk.len()));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok((bytes, room))
}

async fn unpacked(
    encoding: Encoding,
    body: BodyDataStream,
    mut room: Taken,
    limits: &LimitsConfig,
) -> Result<Whole, Stopped> {
    let mut decoder = decoder(
        encoding,
        counted(body, Stopped::TooLarge, limits.body_bytes),
    );
    let mut bytes = BytesMut::new();
    loop {
        let left = limits.decompressed_bytes - bytes.len();
        // One more than is left tells a body that ends there from one that goes on.
        let step = STEP.min(left.saturating_add(1));
        bytes.reserve(step);
        let mut part = (&mut decoder).take(u64::try_from(step).unwrap_or(u64::MAX));
        let read = part
            .read_buf(&mut bytes)
            .await
            .map_err(|error| reason(&error))?;
        match read {
            0 => break,
            read if read > left => return Err(Stopped::Bomb(limits.decompressed_bytes)),
            read if !room.grow(read) => return Err(Stopped::NoRoom),
            _ => {}
        }
    }
    Ok((bytes.freeze(), room))
}

/// The chunks, until there are too many bytes of them.
fn counted<E: Into<BoxError>>(
    chunks: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
    too_many: fn(usize) -> Stopped,
    max_bytes: usize,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin {
    let mut length = 0_usize;
    chunks.map(move |chunk| {
        let chunk = chunk.map_err(|error| match error.into().downcast::<io::Error>() {
            Ok(error) => *error,
            Err(_) => io::Error::other(Stopped::BrokeOff),
        })?;
        length += chunk.len();
        if length > max_bytes {
            return Err(io::Error::other(too_many(max_bytes)));
        }
        Ok(chunk)
    })
}

fn decoder(
    encoding: Encoding,
    body: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
) -> Box<dyn AsyncRead + Send + Unpin> {
    let reader = BufReader::new(StreamReader::new(body));
    match encoding {
        Encoding::Identity => Box::new(reader),
        Encoding::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Encoding::Deflate => Box::new(ZlibDecoder::new(reader)),
        Encoding::Brotli => Box::new(BrotliDecoder::new(reader)),
        Encoding::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
            let mut decoder = ZstdDecoder::with_params(reader, &[window]);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
    }
}

pub(crate) fn reason(error: &io::Error) -> Stopped {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .copied()
        .unwrap_or(Stopped::Corrupt)
}

// === impl Encoding ===

impl Encoding {
    /// What a decoder may keep of what it has unpacked, in bytes.
    const fn window(self) -> usize {
        match self {
            Self::Identity => 0,
            Self::Gzip | Self::Deflate => 32 << 10,
            Self::Brotli => 16 << 20,
            Self::Zstd => 1 << ZSTD_WINDOW_LOG,
        }
    }

    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(name) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Self::Identity);
        };
        match name
            .to_str()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "br" => Ok(Self::Brotli),
            "zstd" => Ok(Self::Zstd),
            _ => Err(ApiError::new(
                ErrorCode::UnsupportedMediaType,
                "Content-Encoding must be gzip, deflate, br or zstd",
            )
            .in_field("Content-Encoding")),
        }
    }
}

// === impl Stopped ===

impl From<Stopped> for ApiError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::TooLarge(_) | Stopped::Bomb(_) => {
                Self::new(ErrorCode::BodyTooLarge, stopped.to_string())
            }
            Stopped::NoRoom => Self::unavailable(stopped.to_string(), 1),
            Stopped::BrokeOff | Stopped::Corrupt => {
                Self::new(ErrorCode::InvalidJson, stopped.to_string())
            }
        }
    }
}
