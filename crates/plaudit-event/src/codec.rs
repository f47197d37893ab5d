//! The bytes of a record: JSON, versioned, append-only.
//!
//! A record says its version, project and dialect in its first fields. Absent fields
//! are absent. Fields may be added to a version, since a decoder ignores what it
//! does not know; a change of meaning needs the next version. Old records decode
//! for ever: `fixtures/wire` holds one of each, and a test holds them to it.

use serde::{Deserialize, Serialize};

use crate::{Dialect, Event, Micros, Operation, Text};

/// The version that [`encode`] writes, and the highest that [`decode`] reads.
pub const VERSION: u16 = 1;

/// The Kafka header by which a version that is no JSON would say so, first its number.
/// Version 1 needs none: each costs as much as encoding two fields.
pub const HEADER: &str = "plaudit";
/// Where the first records of version 1 had it.
const VERSION_HEADER: &str = "plaudit-version";

/// Why a record cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A newer Plaudit wrote it: hold it, an upgrade is under way.
    #[error("record has version {0}, newer than the {VERSION} this binary knows")]
    Newer(u16),
    /// No version of Plaudit wrote it: it can never be stored.
    ///
    /// The cause names a field and a position, never content.
    #[error("record is not a Plaudit event")]
    Invalid(#[source] InvalidRecord),
}

/// Where a record stops being an event.
#[derive(Debug, thiserror::Error)]
#[error("{category} at column {column}")]
pub struct InvalidRecord {
    category: &'static str,
    column: usize,
}

/// An event behind its version. One type a direction, since writing borrows the
/// event and reading borrows the bytes.
#[derive(Serialize)]
struct Written<'e, 'a> {
    v: u16,
    project: &'e Text<'a>,
    dialect: Dialect,
    received_at: Micros,
    version_time: Micros,
    operation: &'e Operation<'a>,
}

#[derive(Deserialize)]
struct Read<'a> {
    v: u16,
    #[serde(borrow)]
    project: Text<'a>,
    dialect: Dialect,
    received_at: Micros,
    version_time: Micros,
    #[serde(borrow)]
    operation: Operation<'a>,
}

/// The version alone, which every version of the format has.
#[derive(Deserialize)]
struct VersionOnly {
    v: u16,
}

/// Appends the record's bytes to `out`.
#[expect(clippy::missing_panics_doc, reason = "cannot happen: see the expect")]
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let written = Written {
        v: VERSION,
        project: &event.project,
        dialect: event.dialect,
        received_at: event.received_at,
        version_time: event.version_time,
        operation: &event.operation,
    };
    serde_json::to_writer(&mut *out, &written)
        .expect("writing to memory cannot fail, and every key of an event is a string");
}

/// The version that a record's headers name; `content` finds one by its name.
pub fn version_in<'h>(content: impl Fn(&str) -> Option<&'h [u8]>) -> Option<u16> {
    let content = content(HEADER).or_else(|| content(VERSION_HEADER))?;
    let version = content.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(version).ok()?.parse().ok()
}

/// Reads a record, borrowing from its bytes.
///
/// `header` is [`version_in`] the headers, asked for only when the bytes are not an
/// event of a version known here.
///
/// # Errors
/// [`DecodeError::Newer`] is to be held, [`DecodeError::Invalid`] to be
/// dead-lettered.
pub fn decode<'a>(
    bytes: &'a [u8],
    header: impl FnOnce() -> Option<u16>,
) -> Result<Event<'a>, DecodeError> {
    // Checked for UTF-8 once, and not string by string: a fifth of the instructions.
    let read = match str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str::<Read<'a>>(text),
        // It says where.
        Err(_) => serde_json::from_slice(bytes),
    };
    match read {
        Ok(read) if read.v <= VERSION => Ok(Event {
            project: read.project,
            dialect: read.dialect,
            received_at: read.received_at,
            version_time: read.version_time,
            operation: read.operation,
        }),
        Ok(read) => Err(DecodeError::Newer(read.v)),
        Err(error) => {
            let inside = serde_json::from_slice::<VersionOnly>(bytes)
                .ok()
                .map(|only| only.v);
            match inside.or_else(header) {
                Some(version) if version > VERSION => Err(DecodeError::Newer(version)),
                _ => Err(DecodeError::Invalid(InvalidRecord::from(&error))),
            }
        }
    }
}

impl From<&serde_json::Error> for InvalidRecord {
    fn from(error: &serde_json::Error) -> Self {
        use serde_json::error::Category;

        Self {
            category: match error.classify() {
                Category::Data => "a field is missing or has the wrong type",
                Category::Eof => "the record ends early",
                Category::Io | Category::Syntax => "invalid JSON",
            },
            column: error.column(),
        }
    }
}

#[cfg(test)]
mod tests;
