//! Where Kafka put an event.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Proof of a durable write: `topic:partition:offset`.
///
/// Kafka forbids `:` in topic names, so the text reads back unambiguously.
/// Standalone receipts have the topic `standalone`, partition 0 and the local
/// sequence as offset.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Receipt {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
    /// The offset, from 0.
    pub offset: i64,
}

/// The text is not a receipt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be topic:partition:offset")]
pub struct InvalidReceipt;

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.topic)?;
        write!(f, ":{}:{}", self.partition, self.offset)
    }
}

impl FromStr for Receipt {
    type Err = InvalidReceipt;

    fn from_str(text: &str) -> Result<Self, InvalidReceipt> {
        fn number<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, InvalidReceipt> {
            match text.parse() {
                Ok(number) if number >= T::default() => Ok(number),
                _ => Err(InvalidReceipt),
            }
        }

        let mut parts = text.split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(topic), Some(partition), Some(offset), None) if !topic.is_empty() => Ok(Self {
                topic: topic.into(),
                partition: number(partition)?,
                offset: number(offset)?,
            }),
            _ => Err(InvalidReceipt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_back() {
        let receipt: Receipt = "plaudit.feedback:3:1042".parse().unwrap();
        assert_eq!((receipt.partition, receipt.offset), (3, 1042));
        assert_eq!(receipt.to_string(), "plaudit.feedback:3:1042");
    }

    #[test]
    fn what_is_no_receipt_is_refused() {
        for text in ["", "t", "t:1", "t:1:2:3", ":1:2", "t:-1:2", "t:1:x"] {
            assert_eq!(text.parse::<Receipt>(), Err(InvalidReceipt), "{text}");
        }
    }
}
