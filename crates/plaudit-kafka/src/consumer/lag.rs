//! How far reading is behind.
//!
//! librdkafka learns a partition's end from the records it fetches and puts it into
//! its statistics. Of a partition that is not read it learns nothing, and that is
//! when lag matters most: those are asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Statistics;
use rdkafka::consumer::Consumer;

use super::GroupConsumer;
use super::assignment::State;
use crate::error::KafkaError;

/// How far reading has come in a partition, as of half a second ago. The end of a
/// partition that is not read is as of [`GroupConsumer::refresh_lag`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartitionLag {
    /// Which one.
    pub partition: i32,
    /// The next offset that [`GroupConsumer::poll`] returns, once one was read.
    pub position: Option<i64>,
    /// The first offset that the log has.
    pub low: i64,
    /// The offset that the next record written will get.
    pub high: i64,
}

impl GroupConsumer {
    /// Lag of the owned partitions as far as it is known, without asking the cluster.
    #[must_use]
    pub fn lag(&self) -> Vec<PartitionLag> {
        let mut lag: BTreeMap<_, _> = self.base.context().lag();
        for (partition, asked) in self.asked.borrow().iter() {
            let unread = PartitionLag {
                partition: *partition,
                position: None,
                low: asked.low,
                high: asked.high,
            };
            let known = lag.entry(*partition).or_insert(unread);
            known.high = known.high.max(asked.high);
        }
        let owned = self.owned.borrow();
        lag.retain(|partition, _| owned.contains_key(partition));
        lag.into_values().collect()
    }

    /// Asks for the ends of the partitions that are paused or held.
    ///
    /// Those that are read are told by their records; of the others librdkafka hears
    /// nothing. A millisecond or two each, on this thread: every few seconds, then.
    ///
    /// # Errors
    /// At the first leader that does not answer within `timeout`.
    pub fn refresh_lag(&self, timeout: Duration) -> Result<(), KafkaError> {
        let unread = self.in_state(|state| !matches!(state, State::Fetching { paused: false, .. }));
        for partition in unread {
            let asked = self.watermarks(partition, timeout)?;
            self.asked.borrow_mut().insert(partition, asked);
        }
        Ok(())
    }
}

impl PartitionLag {
    /// Records that are still to be read; all of the log until one was.
    #[must_use]
    pub fn records(&self) -> u64 {
        let behind = self.high - self.position.unwrap_or(self.low);
        u64::try_from(behind).unwrap_or(0)
    }
}

pub(super) fn lag_of(statistics: &Statistics, topic: &str) -> BTreeMap<i32, PartitionLag> {
    let partitions = statistics.topics.get(topic).map(|topic| &topic.partitions);
    partitions
        .into_iter()
        .flat_map(|partitions| partitions.values())
        // Minus one is the partition that records without a leader wait in.
        .filter(|known| known.partition >= 0 && known.desired && known.hi_offset >= 0)
        .map(|known| {
            let lag = PartitionLag {
                partition: known.partition,
                position: (known.app_offset >= 0).then_some(known.app_offset),
                low: known.lo_offset.max(0),
                high: known.hi_offset,
            };
            (known.partition, lag)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::{Partition, Topic};

    use super::*;

    fn partition(partition: i32, app_offset: i64, hi_offset: i64) -> (i32, Partition) {
        let value = Partition {
            partition,
            app_offset,
            hi_offset,
            lo_offset: 3,
            desired: true,
            ..Partition::default()
        };
        (partition, value)
    }

    #[test]
    fn lag_counts_what_is_still_to_be_read() {
        let topic = Topic {
            partitions: [
                partition(1, 10, 25),
                partition(0, -1001, 7),
                partition(2, -1001, -1001),
                partition(-1, -1001, 0),
            ]
            .into(),
            ..Topic::default()
        };
        let statistics = Statistics {
            topics: [("events".to_owned(), topic)].into(),
            ..Statistics::default()
        };
        let lag = lag_of(&statistics, "events");
        let records: Vec<_> = lag
            .values()
            .map(|lag| (lag.partition, lag.records()))
            .collect();
        assert_eq!(records, [(0, 4), (1, 15)]);
        assert!(lag_of(&statistics, "other").is_empty());
    }
}
