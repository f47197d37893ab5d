//! What became of a request's events, and the answer that says so.

use http::{HeaderName, HeaderValue, StatusCode};
use plaudit_event::{Outcome, Receipt};

/// What became of one event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// It is durable (promise **P1**).
    Confirmed(Receipt),
    /// It may be durable, or come to be: nobody said in time.
    Unconfirmed,
    /// It certainly is not, and never will be by itself.
    Refused(Refused),
}

/// Why an event was certainly not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// There is no room now; the same event may be sent again in so many seconds.
    Busy {
        /// For `Retry-After`.
        retry_after: u32,
    },
    /// The event is larger than what may be written: sending it again is no use.
    TooLarge,
    /// The store cannot take the event: sending it again is no use.
    Unstorable,
}

/// What became of a request's events, in the order of its batch.
#[derive(Clone, Copy, Debug)]
pub struct Fates<'a> {
    /// One for each event.
    pub deliveries: &'a [Delivery],
    /// For each event what readers see of it; empty when nobody asked. What is
    /// said of an event that is not confirmed counts for nothing.
    pub states: &'a [Outcome],
    /// Names the request.
    pub request_id: &'a str,
}

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; empty is none.
    pub body: String,
    /// What the body is.
    pub content_type: &'static str,
    /// Seconds after which the client may try again.
    pub retry_after: Option<u32>,
    /// A header beside content type and `Retry-After`.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// Headers that every answer of its kind has, in lower case.
    pub fixed_headers: &'static [(&'static str, &'static str)],
}

/// Seconds after which an event that was not confirmed is worth sending again.
/// A whole number: LangSmith's client takes no other.
pub(crate) const RETRY_AFTER: u32 = 1;

impl Fates<'_> {
    /// The delivery of the event at `index` of the batch. One that nobody
    /// reported may be durable for all we know.
    pub(crate) fn delivery(&self, index: usize) -> &Delivery {
        self.deliveries.get(index).unwrap_or(&Delivery::Unconfirmed)
    }

    /// Seconds to wait, when at least one event is worth sending again.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        self.deliveries
            .iter()
            .filter_map(|delivery| match delivery {
                Delivery::Unconfirmed => Some(RETRY_AFTER),
                Delivery::Refused(Refused::Busy { retry_after }) => Some(*retry_after),
                Delivery::Refused(Refused::TooLarge | Refused::Unstorable)
                | Delivery::Confirmed(_) => None,
            })
            .max()
    }
}

impl Answer {
    /// An answer in JSON, without further headers.
    pub(crate) fn new(status: StatusCode, body: String) -> Self {
        Self {
            status,
            body,
            content_type: "application/json",
            retry_after: None,
            header: None,
            fixed_headers: &[],
        }
    }
}
