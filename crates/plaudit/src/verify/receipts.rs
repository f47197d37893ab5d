//! The file of acknowledged receipts: what senders were promised.
//!
//! A line is `ID RECEIPT`, as `plaudit load --acked` writes them, or a receipt alone.
//! `-` stands for an API that gives no receipt.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, bail};
use plaudit_event::Receipt;
use uuid::Uuid;

/// What was acknowledged, with receipts.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Lines.
    pub(super) acknowledged: u64,
    /// Lines without a receipt.
    pub(super) without: u64,
    /// The ids by where they were put, and whether the file names them.
    of_topic: HashMap<(i32, i64), Option<Uuid>>,
    /// Receipts of other topics, which cannot be looked at.
    pub(super) of_others: u64,
    /// Receipts that were given for an earlier line too.
    pub(super) twice: u64,
}

impl Receipts {
    /// Reads a file and adds what it says.
    pub(super) fn add(&mut self, file: &Path, topic: &str) -> anyhow::Result<()> {
        let open = File::open(file).with_context(|| format!("read {}", file.display()))?;
        for (number, line) in BufReader::new(open).lines().enumerate() {
            let line = line.with_context(|| format!("read {}", file.display()))?;
            if self.add_line(&line, topic).is_none() {
                let number = number + 1;
                bail!("{}:{number}: must be `ID RECEIPT`", file.display());
            }
        }
        Ok(())
    }

    fn add_line(&mut self, line: &str, topic: &str) -> Option<()> {
        let mut words = line.split_whitespace().rev();
        let Some(receipt) = words.next() else {
            return Some(());
        };
        let id = words.next().map(str::parse).transpose().ok()?;
        if words.next().is_some() {
            return None;
        }
        self.acknowledged += 1;
        if receipt == "-" {
            self.without += 1;
            return Some(());
        }
        let receipt: Receipt = receipt.parse().ok()?;
        if *receipt.topic == *topic {
            let place = (receipt.partition, receipt.offset);
            let known = self.of_topic.insert(place, id);
            self.twice += u64::from(known.is_some());
        } else {
            self.of_others += 1;
        }
        Some(())
    }

    /// Those that are no offset of the topic, by where its logs end.
    pub(super) fn missing(&self, end_of: impl Fn(i32) -> Option<i64>) -> Vec<(i32, i64)> {
        let places = self.of_topic.keys().copied();
        let missing = places.filter(|(p, offset)| end_of(*p).is_none_or(|end| *offset >= end));
        let mut missing: Vec<_> = missing.collect();
        missing.sort_unstable();
        missing
    }

    /// The id that was acknowledged with this receipt.
    pub(super) fn id_at(&self, partition: i32, offset: i64) -> Option<Uuid> {
        self.of_topic.get(&(partition, offset)).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_an_acknowledged_receipt_is_an_offset_of_the_topic_or_missing() {
        let id = Uuid::from_u128(7);
        let mut receipts = Receipts::default();
        receipts.add_line(&format!("{id} t:0:4"), "t").unwrap();
        for line in ["t:0:5", "t:1:0", "-", "other:0:1", ""] {
            receipts.add_line(line, "t").unwrap();
        }
        assert_eq!(
            (receipts.acknowledged, receipts.without, receipts.of_others),
            (5, 1, 1)
        );
        let end_of = |partition: i32| (partition == 0).then_some(5);
        assert_eq!(receipts.missing(end_of), [(0, 5), (1, 0)]);
        assert_eq!(receipts.id_at(0, 4), Some(id));
        assert_eq!((receipts.id_at(0, 5), receipts.twice), (None, 0));
        receipts.add_line("t:0:5", "t").unwrap();
        assert_eq!(receipts.twice, 1);
        for line in ["x", "x t:0:1", "t:0:1 t:0:1 t:0:1"] {
            assert_eq!(receipts.add_line(line, "t"), None, "{line}");
        }
    }
}
