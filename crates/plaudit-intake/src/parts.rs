//! Reads a multipart body: what is wanted of it is kept, the rest passes by.
//!
//! A tracing client sends its feedback between runs that are many times its size.
//! Parts are told by their names while the body arrives; of those that are not
//! wanted nothing is kept, so they cost no memory and count against no bound but
//! that of the whole body.

use std::io;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
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
    stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    boundary: String,
    keep: fn(&str) -> bool,
    mut room: Taken,
    limits: &LimitsConfig,
) -> Result<(Bytes, Taken), ApiError> {
    let mut multipart = Multipart::new(stream, boundary);
    let mut kept = BytesMut::new();
    while let Some(mut part) = multipart
        .next_field()
        .await
        .map_err(|error| fault(&error))?
    {
        if !part.name().is_some_and(keep) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(BETWEEN);
        }
        while let Some(chunk) = part.chunk().await.map_err(|error| fault(&error))? {
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
