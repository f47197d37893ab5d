//! What a vendor is, as data.

use std::sync::Arc;

use http::{HeaderMap, Method};
use plaudit_event::{Dialect, FieldError};

use crate::{Answer, Batch, Call, Fates, native, portkey};

/// One API: its paths, and how it says no.
#[derive(Clone, Copy, Debug)]
pub struct Vendor {
    /// Which it is.
    pub dialect: Dialect,
    /// The prefix that is this vendor's alone, such as `/portkey`; empty for the
    /// native API.
    pub prefix: &'static str,
    /// What it serves, under its prefix and at the root.
    pub endpoints: &'static [Endpoint],
    /// Whether a request at the root is this vendor's, by header and body. Asked
    /// only where another vendor has the same method and path.
    pub recognises: fn(&HeaderMap, &[u8]) -> bool,
    /// The body of an error that concerns the whole request, from its message.
    /// `None` is the native shape, which `plaudit-service` writes.
    pub fault: Option<fn(&str) -> String>,
}

/// One thing that a vendor's API does.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path behind the vendor's prefix; `{id}` is [`Call::path_id`].
    pub path: &'static str,
    /// Reads a body.
    pub parse: for<'a> fn(&Call<'a>, &'a [u8]) -> Result<Parsed, Refusal>,
    /// Writes the answer when every event has its fate.
    pub answer: fn(&Parsed, &Fates<'_>) -> Answer,
}

/// What a body holds: the events that are to be kept, and what is wrong with the
/// items that are not.
#[derive(Debug)]
pub struct Parsed {
    /// The good items, encoded, in the order of the request.
    pub batch: Arc<Batch>,
    /// The index and the fault of each bad item, in ascending order.
    pub rejected: Vec<(usize, FieldError)>,
}

/// Why nothing of a request is taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The body is not JSON.
    #[error("the body is not JSON: line {line}, column {column}")]
    Syntax {
        /// Line of the body, from 1.
        line: usize,
        /// Column of the line, from 1.
        column: usize,
    },
    /// The body is not text.
    #[error("the body is not UTF-8")]
    NotText,
    /// The body is empty.
    #[error("the body is empty")]
    Empty,
    /// More events than the limit.
    #[error("at most {max} events a request")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// One item is bad, in a dialect whose answers know no items.
    #[error(transparent)]
    Item(#[from] FieldError),
}

/// Every API, in the order in which they are asked whether a request is theirs.
/// The last takes what nobody else does.
pub const VENDORS: [&Vendor; 2] = [&portkey::VENDOR, &native::VENDOR];

/// The API of a dialect, where it is served.
pub fn vendor(dialect: Dialect) -> Option<&'static Vendor> {
    VENDORS.into_iter().find(|vendor| vendor.dialect == dialect)
}

impl Refusal {
    pub(crate) fn syntax(error: &serde_json::Error) -> Self {
        Self::Syntax {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// The body as text, with something in it.
pub(crate) fn text(body: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::NotText)?;
    // Some clients begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Err(Refusal::Empty);
    }
    Ok(text)
}
