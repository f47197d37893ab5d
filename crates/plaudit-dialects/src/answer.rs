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

/// Why a request that is taken whole or not at all is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shortfall {
    /// Some event is too large, and none was written.
    TooLarge,
    /// The store cannot take some event, and none was written.
    Unstorable,
    /// It may be taken when it is sent again; a part of it may be durable.
    Unconfirmed,
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

    /// Whether none of a request's `events` is durable or ever will be.
    pub(crate) fn none_written(&self, events: usize) -> bool {
        (0..events).all(|index| matches!(self.delivery(index), Delivery::Refused(_)))
    }

    /// What keeps a request's `events` from being durable, all of them; `None`
    /// when they are.
    pub(crate) fn shortfall(&self, events: usize) -> Option<Shortfall> {
        let any = |why| {
            let why = Delivery::Refused(why);
            (0..events).any(|index| *self.delivery(index) == why)
        };
        let confirmed = |index| matches!(self.delivery(index), Delivery::Confirmed(_));
        if (0..events).all(confirmed) {
            None
        } else if !self.none_written(events) {
            Some(Shortfall::Unconfirmed)
        } else if any(Refused::TooLarge) {
            Some(Shortfall::TooLarge)
        } else if any(Refused::Unstorable) {
            Some(Shortfall::Unstorable)
        } else {
            Some(Shortfall::Unconfirmed)
        }
    }
}

impl Shortfall {
    /// The answer: `refused` is the status for what sending it again is no use
    /// for, and `write` gives a message the vendor's shape.
    pub(crate) fn answer(
        self,
        fates: &Fates<'_>,
        refused: StatusCode,
        write: impl FnOnce(&str) -> String,
    ) -> Answer {
        match self {
            Self::TooLarge => {
                Answer::new(refused, write("the feedback must be smaller as a whole"))
            }
            Self::Unstorable => Answer::new(refused, write("the feedback cannot be stored")),
            Self::Unconfirmed => Answer {
                retry_after: fates.retry_after(),
                ..Answer::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    write("the feedback could not be confirmed"),
                )
            },
        }
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
