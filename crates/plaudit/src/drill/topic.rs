//! What a drill does to the topic, and to how far the sinks' group has read it.

use anyhow::{Context, bail, ensure};
use plaudit_event::Receipt;
use plaudit_kafka::{
    Admin, Assigned, CommitError, ConfirmingProducer, Delivery, GroupConsumer, KafkaConfig,
    Rebalance, Record, StartOffset,
};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{PATIENCE, PAUSE};
use crate::config::Sources;
use crate::console::say;
use crate::load::Random;
use crate::rebuild::{self, RebuildOptions};
use crate::topic::ASK;

/// Records that are stored anew: so few that a drill is short.
const A_RANGE: i64 = 10_000;

/// Takes the place of the sinks in their group, and sets it back when it leaves.
struct Rewind {
    /// The first offset of each partition's log.
    first: Vec<(i32, i64)>,
    committed: Option<Result<(), CommitError>>,
}

/// Writes a record that is no event. Returns where it is.
pub(super) async fn poison(kafka: &KafkaConfig) -> anyhow::Result<Receipt> {
    let producer = ConfirmingProducer::new(kafka)?;
    let key = Uuid::new_v4();
    let record = Record {
        key: Some(key.as_bytes()),
        payload: Some(b"no event, written by `plaudit drill poison`"),
        ..Record::default()
    };
    let pending = producer.send_all(&kafka.topic, [record]);
    match pending.wait(PATIENCE).await.first() {
        Some(Delivery::Confirmed { partition, offset }) => {
            say(format_args!(
                "a record that is no event is at {partition}:{offset}"
            ));
            Ok(Receipt {
                topic: kafka.topic.as_str().into(),
                partition: *partition,
                offset: *offset,
            })
        }
        other => bail!("the record that is no event is not confirmed ({other:?})"),
    }
}

/// Sets the group back to where the logs begin, once its sinks do not answer it.
pub(super) async fn rewind(kafka: &KafkaConfig) -> anyhow::Result<()> {
    let logs = Admin::new(kafka)?.watermarks(&kafka.topic, ASK).await?;
    let mut rewind = Rewind {
        first: logs.iter().map(|log| (log.partition, log.low)).collect(),
        committed: None,
    };
    let interrupted = CancellationToken::new();
    let _ended = interrupted.clone().drop_guard();
    let kafka = kafka.clone();
    let rewound = spawn_blocking(move || {
        let consumer = GroupConsumer::new(&kafka)?;
        let end = Instant::now() + PATIENCE;
        while consumer.owned().len() < rewind.first.len() {
            ensure!(!interrupted.is_cancelled(), "interrupted");
            ensure!(Instant::now() < end, "another sink is in the group");
            if let Some(Err(error)) = consumer.poll(PAUSE, &mut rewind) {
                ensure!(!error.is_fatal(), error);
            }
        }
        consumer.close(&mut rewind);
        rewind.committed.context("the group took nothing back")??;
        anyhow::Ok(())
    });
    rewound.await?.context("set the group back")?;
    say("the group is set back to where the logs begin");
    Ok(())
}

/// Stores the latest of what is committed in some partition anew, once no sink is in the
/// group.
pub(super) async fn rebuild(
    kafka: &KafkaConfig,
    sources: &Sources,
    random: &mut Random,
) -> anyhow::Result<()> {
    let admin = Admin::new(kafka)?;
    let end = Instant::now() + PATIENCE;
    while admin.group_members(ASK).await? > 0 {
        ensure!(Instant::now() < end, "another sink is in the group");
        sleep(PAUSE).await;
    }
    let committed = admin.committed(ASK).await?;
    let mut ranges = Vec::new();
    for log in admin.watermarks(&kafka.topic, ASK).await? {
        let of = committed.iter().find(|(of, _)| *of == log.partition);
        let to = of.and_then(|(_, offset)| *offset).unwrap_or(log.low);
        let from = log.low.max(to - A_RANGE);
        if from < to {
            ranges.push((log.partition, from, to));
        }
    }
    let chosen = random.below(u32::try_from(ranges.len())?);
    let chosen = ranges.get(usize::try_from(chosen)?);
    let (partition, from, to) = *chosen.context("nothing is stored yet")?;
    say(format_args!(
        "partition {partition} is stored anew from {from} to {to}"
    ));
    rebuild::run(RebuildOptions::of(partition, from, to), sources).await
}

impl Rebalance for Rewind {
    /// Nothing is read.
    fn on_assign(&mut self, _: &GroupConsumer, _: &[Assigned]) -> Vec<(i32, StartOffset)> {
        Vec::new()
    }

    fn on_revoke(&mut self, consumer: &GroupConsumer, _: &[i32]) {
        self.committed = Some(consumer.commit_sync(&self.first));
    }

    fn on_lost(&mut self, _: &[i32]) {}
}
