//! What a vendor is, as data.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use plaudit_event::{Declaration, Dialect, FieldError};

use crate::{
    Answer, Batch, Call, Fates, Search, Stored, humanloop, langsmith, native, patronus, portkey,
    tensorzero,
};

/// One API: its paths, and how it says no.
#[derive(Clone, Copy, Debug)]
pub struct Vendor {
    /// Which it is.
    pub dialect: Dialect,
    /// What stands before every path of it. The first is this vendor's alone, such
    /// as `/portkey`; the empty one is the root, which all share.
    pub mounts: &'static [&'static str],
    /// What it serves, under each of its mounts.
    pub endpoints: &'static [Endpoint],
    /// Whether a request is this vendor's. Asked only where another vendor has the
    /// same method and path.
    pub recognises: fn(&Hints<'_>) -> bool,
    /// The body of an error that concerns the whole request. `None` is the native
    /// shape, which `plaudit-service` writes.
    pub fault: Option<fn(&Fault<'_>) -> String>,
}

/// One thing that a vendor's API does.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path behind a mount; what is in braces is in [`Call::path`](field@Call::path).
    pub path: &'static str,
    /// Who may ask for it.
    pub access: Access,
    /// What it comes to.
    pub action: Action,
}

/// Who may ask for something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// A key that may write.
    Write,
    /// A key that may read.
    Read,
    /// A key that may declare metrics.
    Admin,
    /// Anyone; where it matters, a signed token in the request says who.
    Public,
}

/// What a request comes to.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Events are kept, and the answer says what became of them.
    Take {
        /// How the body comes.
        body: Form,
        /// Reads a body.
        parse: for<'a> fn(&Call<'a>, &'a [u8]) -> Result<Parsed, Refusal>,
        /// Writes the answer when every event has its fate.
        answer: fn(&Parsed, &Fates<'_>) -> Answer,
    },
    /// Like [`Take`](Self::Take), of something that was given out before. What the
    /// request says of it by itself is signed, and good without a key.
    Redeem {
        /// How the body comes.
        body: Form,
        /// What has to be looked up, when the request does not say it all: then it
        /// needs a key that may write, and the search is in that key's project. What
        /// was just given out may not be there yet, so nothing found is worth asking
        /// again for some seconds.
        ask: fn(&Call<'_>) -> Result<Option<Search>, Refusal>,
        /// Reads a body, with the one that was found.
        parse: ParseFound,
        /// Writes the answer when every event has its fate.
        answer: fn(&Parsed, &Fates<'_>) -> Answer,
    },
    /// The answer follows from the request alone.
    Say(for<'a> fn(&Call<'a>, &'a [u8]) -> Result<Answer, Refusal>),
    /// What is stored is read, by the query service.
    Read {
        /// What is looked for.
        ask: fn(&Call<'_>) -> Result<Search, Refusal>,
        /// Writes the answer with what was found.
        show: fn(&Search, &[Stored<'_>]) -> Answer,
    },
}

/// Reads a body that is about something stored.
pub type ParseFound =
    for<'a> fn(&Call<'a>, &'a [u8], Option<&Stored<'_>>) -> Result<Parsed, Refusal>;

/// How a body comes.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// As JSON or NDJSON, and the content type has to say so when it says
    /// anything.
    Json,
    /// As whatever the content type says, or does not.
    Any,
    /// As `multipart/form-data`. `parse` gets the contents of the parts whose name
    /// this holds for, one after the other, with a record separator (`\x1e`)
    /// between them; the rest is never kept.
    Parts(fn(&str) -> bool),
}

/// What a request is told by, where its path is not enough.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'a> {
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The query string; empty when there is none.
    pub query: &'a str,
    /// The body as far as it is known.
    pub body: &'a [u8],
}

/// What is wrong with a request as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// The field or parameter at fault.
    pub field: Option<&'a str>,
    /// What is wrong.
    pub message: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The request's method and path, where nobody serves them.
    pub route: Option<(&'a Method, &'a str)>,
}

/// What a body holds: the events that are to be kept, and what is wrong with the
/// items that are not.
#[derive(Debug)]
pub struct Parsed {
    /// The good items, encoded, in the order of the request.
    pub batch: Arc<Batch>,
    /// The index and the fault of each bad item, in ascending order.
    pub rejected: Vec<(usize, FieldError)>,
    /// Metrics that the request declares, before its events are kept.
    pub declarations: Vec<Declaration>,
    /// What [`Action::Take`]'s answer has to know of the request beside that,
    /// written by its parser.
    pub note: String,
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
    /// The vendor has an answer of its own for this.
    #[error("{}", .0.body)]
    Answered(Box<Answer>),
}

/// Every API, in the order in which they are asked whether a request is theirs.
/// The last takes what nobody else does, where it has the path.
pub const VENDORS: [&Vendor; 6] = [
    &portkey::VENDOR,
    &tensorzero::VENDOR,
    &patronus::VENDOR,
    &langsmith::VENDOR,
    &humanloop::VENDOR,
    &native::VENDOR,
];

/// An endpoint at one of its paths.
#[derive(Clone, Copy, Debug)]
pub struct Mounted {
    /// Whose it is.
    pub vendor: &'static Vendor,
    /// What it is.
    pub endpoint: &'static Endpoint,
    /// What stands before [`Endpoint::path`].
    pub mount: &'static str,
}

/// The endpoints of each path and method.
pub type Table = BTreeMap<(String, &'static str), Vec<Mounted>>;

/// Every path that is served, with the endpoints that share it.
pub fn table() -> Table {
    let mut table = Table::new();
    for vendor in VENDORS {
        for endpoint in vendor.endpoints {
            for mount in vendor.mounts {
                let path = format!("{mount}{}", endpoint.path);
                let candidates = table.entry((path, endpoint.method.as_str())).or_default();
                candidates.push(Mounted {
                    vendor,
                    endpoint,
                    mount,
                });
            }
        }
    }
    table
}

/// Whose a request is, of those that share its path: the only one, else the first
/// that recognises it. `None` when it cannot be told.
pub fn choose<'c>(candidates: &'c [Mounted], hints: &Hints<'_>) -> Option<&'c Mounted> {
    match candidates {
        [only] => Some(only),
        several => several
            .iter()
            .find(|mounted| (mounted.vendor.recognises)(hints)),
    }
}

/// Whose shape an error has that is found before, or without, an endpoint.
pub fn dialect_of(path: &str, hints: &Hints<'_>) -> Dialect {
    let is_below = |prefix: &str| {
        let rest = path.strip_prefix(prefix);
        !prefix.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let by_prefix = VENDORS
        .into_iter()
        .find(|vendor| vendor.mounts.iter().any(|mount| is_below(mount)));
    by_prefix
        .or_else(|| {
            VENDORS
                .into_iter()
                .find(|vendor| (vendor.recognises)(hints))
        })
        .map_or(Dialect::Native, |vendor| vendor.dialect)
}

/// The API of a dialect, where it is served.
pub fn vendor(dialect: Dialect) -> Option<&'static Vendor> {
    VENDORS.into_iter().find(|vendor| vendor.dialect == dialect)
}

impl Vendor {
    /// The mount that is this vendor's alone; empty for the native API.
    pub fn prefix(&self) -> &'static str {
        self.mounts.first().copied().unwrap_or_default()
    }
}

impl Fault<'_> {
    /// The message, after the field where there is one.
    pub fn text(&self) -> String {
        match self.field {
            Some(field) => format!("{field}: {}", self.message),
            None => self.message.to_owned(),
        }
    }
}

impl Parsed {
    /// A request of which every item is good.
    pub(crate) fn whole(batch: Batch) -> Self {
        Self {
            batch: Arc::new(batch),
            rejected: Vec::new(),
            declarations: Vec::new(),
            note: String::new(),
        }
    }
}

impl Refusal {
    pub(crate) fn syntax(error: &serde_json::Error) -> Self {
        Self::Syntax {
            line: error.line(),
            column: error.column(),
        }
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self::Answered(Box::new(answer))
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
