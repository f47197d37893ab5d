//! A consumer group set back to the beginning.

use std::time::Duration;

use anyhow::{Result, ensure};
use plaudit_kafka::{Assigned, GroupConsumer, KafkaConfig, Rebalance, StartOffset};
use tokio::time::Instant;

use crate::wait::DEADLINE;

/// Sets the group back to the first offset of every partition.
struct Rewind;

impl Rebalance for Rewind {
    fn on_assign(&mut self, _: &GroupConsumer, _: &[Assigned]) -> Vec<(i32, StartOffset)> {
        Vec::new()
    }

    fn on_revoke(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        let first: Vec<_> = partitions.iter().map(|partition| (*partition, 0)).collect();
        consumer
            .commit_sync(&first)
            .expect("the group takes a commit");
    }

    fn on_lost(&mut self, partitions: &[i32]) {
        panic!("{partitions:?} are lost");
    }
}

/// Makes the group, of which nobody is a member, begin the topic anew. Blocks.
///
/// # Errors
/// When it is not given every partition in time.
pub fn rewind(kafka: &KafkaConfig) -> Result<()> {
    let consumer = GroupConsumer::new(kafka)?;
    let end = Instant::now() + DEADLINE;
    while i32::try_from(consumer.owned().len())? < kafka.partitions {
        ensure!(Instant::now() < end, "no partition was assigned");
        let polled = consumer.poll(Duration::from_millis(50), &mut Rewind);
        ensure!(
            !matches!(polled, Some(Ok(_))),
            "a partition that is held is read"
        );
    }
    consumer.close(&mut Rewind);
    Ok(())
}
