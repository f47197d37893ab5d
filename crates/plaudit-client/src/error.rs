//! How a call, a request and a feedback can fail: three questions, three types.
//!
//! No text here repeats what was sent (promise **P7**); the server's own messages
//! name fields only.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

/// Why a call on the client failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue is at its bound: drop the feedback, or wait with
    /// [`flush`](crate::Client::flush) and call again.
    #[error("the queue of unsent feedback is full")]
    QueueFull,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The feedback holds what JSON cannot, such as a NaN.
    #[error("the feedback cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// It was sent, and will not be sent again.
    #[error("the feedback was given up")]
    GivenUp(#[from] Reason),
}

/// A feedback that the client no longer tries to deliver.
///
/// The item is what was sent, so that a callback can keep it for a later import.
#[derive(Clone, Copy)]
pub struct GivenUp<'a> {
    /// The id of the feedback.
    pub id: Uuid,
    /// Why.
    pub reason: &'a Reason,
    /// The native item, as JSON. It holds comments: not for a log.
    pub item: &'a str,
}

/// Why a feedback was given up.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The intake will never take it as it is.
    #[error("rejected with {code}{}", complaint(field.as_deref(), message.as_deref()))]
    Rejected {
        /// Such as `out_of_range`.
        code: String,
        /// The field, where there is one.
        field: Option<String>,
        /// For people.
        message: Option<String>,
    },
    /// The request as a whole was refused, and would be again.
    #[error("the request was refused")]
    Refused(#[source] Arc<RequestError>),
    /// Every attempt failed; the feedback may or may not be stored.
    #[error("not confirmed in {attempts} attempts")]
    Exhausted {
        /// Requests that carried it.
        attempts: u32,
        /// How the last one failed.
        #[source]
        last: Arc<RequestError>,
    },
    /// The client was dropped without `close`.
    #[error("the client was dropped before it was sent")]
    Dropped,
}

/// Why one HTTP exchange had no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody took the connection: nothing was sent.
    #[error("cannot connect")]
    Connect(#[source] reqwest::Error),
    /// No answer in time: what was sent may have arrived.
    #[error("no answer in time")]
    Timeout(#[source] reqwest::Error),
    /// The connection broke: what was sent may have arrived.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// An answer that the API does not document, from a proxy for instance.
    #[error("cannot read the answer with status {status}")]
    Malformed {
        /// The HTTP status.
        status: u16,
        /// Where the body goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The server refused the request as a whole.
    #[error("status {status}{}", refusal(code, message.as_deref()))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Such as `body_too_large`; empty where the body is not the API's.
        code: String,
        /// For people.
        message: Option<String>,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server answered, and could not say that the items are durable.
    #[error("the intake could not confirm the items")]
    Unconfirmed {
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
}

// === impl RequestError ===

impl RequestError {
    /// Whether the same request may succeed later: 408, 429, 5xx, and whatever
    /// left no answer at all.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => true,
        }
    }

    /// How long the server asked to wait before another request.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Unconfirmed { retry_after } => *retry_after,
            _ => None,
        }
    }
}

impl From<reqwest::Error> for RequestError {
    /// Tells apart whether the request can have arrived. The URL is left out: a
    /// trace id may be part of it.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() {
            Self::Connect(error)
        } else if error.is_timeout() {
            Self::Timeout(error)
        } else {
            Self::Broken(error)
        }
    }
}

fn complaint(field: Option<&str>, message: Option<&str>) -> String {
    match (field, message) {
        (Some(field), Some(message)) => format!(": {field} {message}"),
        (Some(text), None) | (None, Some(text)) => format!(": {text}"),
        (None, None) => String::new(),
    }
}

fn refusal(code: &str, message: Option<&str>) -> String {
    match (code, message) {
        ("", None) => String::new(),
        ("", Some(text)) | (text, None) => format!(": {text}"),
        (code, Some(message)) => format!(" ({code}): {message}"),
    }
}
