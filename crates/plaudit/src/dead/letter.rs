//! A dead letter as its headers tell it, and which record it is of.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use plaudit_event::Micros;
use plaudit_kafka::Message;
use plaudit_sink::dead_letter_header as header;

/// Partition and offset of a record of the topic of events: what names its letter.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// The text is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be PARTITION:OFFSET")]
pub(crate) struct NoPlace;

/// What the headers of a dead letter say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Letter {
    pub(super) place: Place,
    pub(super) reason: String,
    pub(super) attempts: u64,
    /// When the record was given up.
    pub(super) time: Micros,
}

/// The letters that were read, each once.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    counts: HashMap<Place, u32>,
    /// Records of the dead-letter topic that are no letters of this topic.
    pub(super) foreign: u64,
}

impl Letter {
    /// Reads the headers; `None` where this is no dead letter of `topic`.
    pub(super) fn of(message: &Message<'_>, topic: &str) -> Option<Self> {
        let text = |name| std::str::from_utf8(message.header(name)?).ok();
        if text(header::TOPIC)? != topic {
            return None;
        }
        let millis: i64 = text(header::TIME)?.parse().ok()?;
        Some(Self {
            place: Place {
                partition: text(header::PARTITION)?.parse().ok()?,
                offset: text(header::OFFSET)?.parse().ok()?,
            },
            reason: text(header::REASON)?.to_owned(),
            attempts: text(header::ATTEMPTS)?.parse().ok()?,
            time: Micros(millis.saturating_mul(1000)),
        })
    }
}

impl Copies {
    /// Counts a copy; whether it is the first of its letter.
    pub(super) fn is_first(&mut self, place: Place) -> bool {
        let count = self.counts.entry(place).or_insert(0);
        *count = count.saturating_add(1);
        *count == 1
    }

    /// Whether the record at this place has a letter.
    pub(crate) fn contains(&self, partition: i32, offset: i64) -> bool {
        self.counts.contains_key(&Place { partition, offset })
    }

    /// Copies of this letter.
    pub(super) fn of(&self, place: Place) -> u32 {
        self.counts.get(&place).copied().unwrap_or(0)
    }

    /// Copies beyond the first of each letter.
    pub(super) fn further(&self) -> u64 {
        let further = self.counts.values().map(|count| u64::from(count - 1));
        further.sum()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (partition, offset) = text.split_once(':').ok_or(NoPlace)?;
        let place = Self {
            partition: partition.parse().map_err(|_| NoPlace)?,
            offset: offset.parse().map_err(|_| NoPlace)?,
        };
        let is_one = place.partition >= 0 && place.offset >= 0;
        is_one.then_some(place).ok_or(NoPlace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_second_copy_of_a_letter_counts_once() {
        let (one, other): (Place, Place) = ("0:7".parse().unwrap(), "1:7".parse().unwrap());
        let mut copies = Copies::default();
        assert!(copies.is_first(one));
        assert!(copies.is_first(other));
        assert!(!copies.is_first(one));
        assert_eq!((copies.of(one), copies.of(other)), (2, 1));
        assert_eq!(copies.further(), 1);
    }

    #[test]
    fn a_place_is_a_partition_and_an_offset() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(
            place("3:1042").map(|place| place.to_string()),
            Ok("3:1042".into())
        );
        for text in ["", "3", "3:", ":4", "3:-1", "-3:1", "3:4:5"] {
            assert_eq!(place(text), Err(NoPlace), "{text}");
        }
    }
}
