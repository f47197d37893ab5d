//! A record as it was read, borrowed from librdkafka's memory.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers, Message as _};

/// A record of a partition. Nothing is copied.
///
/// It keeps the whole fetched batch it came in alive: take out what is needed and
/// drop it before polling on.
#[derive(Debug)]
pub struct Message<'a> {
    inner: BorrowedMessage<'a>,
}

impl<'a> Message<'a> {
    pub(crate) fn new(inner: BorrowedMessage<'a>) -> Self {
        Self { inner }
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.inner.partition()
    }

    /// Its offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.inner.offset()
    }

    /// Its key, if it has one.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.inner.key()
    }

    /// Its value; `None` is a tombstone.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        self.inner.payload()
    }

    /// Milliseconds since 1970, by the producer's clock or the broker's as the
    /// topic says; `None` where the record has none.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.inner.timestamp().to_millis()
    }

    /// The value of the first header called `name`. Headers are parsed here, not before.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All headers, in order; one without a value reads as empty.
    ///
    /// A header whose name is not UTF-8 is left out: it cannot be one of ours.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let headers = self.inner.headers();
        let count = headers.map_or(0, Headers::count);
        (0..count).filter_map(move |index| header_at(headers?, index))
    }
}

fn header_at(headers: &BorrowedHeaders, index: usize) -> Option<(&str, &[u8])> {
    // rdkafka panics on a name that is not UTF-8, and anybody who may write to the
    // topic can write one: that must not end the sink. Costs nothing otherwise.
    let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok()??;
    Some((header.key, header.value.unwrap_or_default()))
}
