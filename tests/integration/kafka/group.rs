//! Reading as a member of a group: where a partition starts, what is committed, who has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use plaudit_kafka::{
    Admin, Assigned, ConsumeError, GroupConsumer, Message, PartitionLag, Rebalance, StartOffset,
};
use tokio::time::Instant;

use super::{DEADLINE, keys, topics, write};

const POLL: Duration = Duration::from_millis(50);

/// A handler that starts everywhere the same and remembers what it was told.
struct Recorder {
    start: StartOffset,
    assigned: Vec<Assigned>,
    revoked: Vec<i32>,
    lost: Vec<i32>,
    /// Committed for each revoked partition, from within the call.
    commit_at: Option<i64>,
}

impl Recorder {
    fn starting(start: StartOffset) -> Self {
        Self {
            start,
            assigned: Vec::new(),
            revoked: Vec::new(),
            lost: Vec::new(),
            commit_at: None,
        }
    }
}

impl Rebalance for Recorder {
    fn on_assign(&mut self, _: &GroupConsumer, new: &[Assigned]) -> Vec<(i32, StartOffset)> {
        self.assigned.extend(new);
        new.iter().map(|new| (new.partition, self.start)).collect()
    }

    fn on_revoke(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        self.revoked.extend(partitions);
        if let Some(offset) = self.commit_at {
            let offsets: Vec<_> = partitions.iter().map(|&p| (p, offset)).collect();
            consumer.commit_sync(&offsets).unwrap();
        }
    }

    fn on_lost(&mut self, partitions: &[i32]) {
        self.lost.extend(partitions);
    }
}

/// Polls until `done`, handing each record and error to `see`.
fn poll_until(
    consumer: &GroupConsumer,
    handler: &mut Recorder,
    mut see: impl FnMut(Result<Message<'_>, ConsumeError>),
    mut done: impl FnMut(&Recorder) -> bool,
) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while !done(handler) {
        ensure!(Instant::now() < end, "nothing came of it in {DEADLINE:?}");
        if let Some(polled) = consumer.poll(POLL, handler) {
            see(polled);
        }
    }
    Ok(())
}

/// Polls until `count` records came, and returns where they were.
fn read(
    consumer: &GroupConsumer,
    handler: &mut Recorder,
    count: usize,
) -> Result<BTreeSet<(i32, i64)>> {
    let seen = std::cell::RefCell::new(BTreeSet::new());
    poll_until(
        consumer,
        handler,
        |polled| {
            if let Ok(message) = polled {
                seen.borrow_mut()
                    .insert((message.partition(), message.offset()));
            }
        },
        |_| seen.borrow().len() >= count,
    )?;
    Ok(seen.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_starts_where_the_sink_says_and_a_commit_is_found_again() -> Result<()> {
    let config = topics(1).await?;
    write(&config, &keys(10)).await?;
    let unknown = Assigned {
        partition: 0,
        committed: None,
    };

    let mut first = Recorder::starting(StartOffset::At(4));
    let consumer = GroupConsumer::new(&config)?;
    let seen = read(&consumer, &mut first, 6)?;
    assert_eq!(first.assigned, [unknown]);
    assert_eq!(seen.first(), Some(&(0, 4)));
    assert_eq!(consumer.positions(), BTreeMap::from([(0, 10)]));
    first.commit_at = Some(7);
    consumer.close(&mut first);
    assert_eq!(first.revoked, [0]);

    let mut second = Recorder::starting(StartOffset::Committed);
    let consumer = GroupConsumer::new(&config)?;
    let seen = read(&consumer, &mut second, 3)?;
    assert_eq!(
        second.assigned,
        [Assigned {
            committed: Some(7),
            ..unknown
        }]
    );
    assert_eq!(seen.first(), Some(&(0, 7)));
    assert_eq!(
        Admin::new(&config)?.committed(DEADLINE).await?,
        [(0, Some(7))]
    );
    consumer.close(&mut second);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_partition_is_read_only_once_it_is_started() -> Result<()> {
    let config = topics(2).await?;
    write(&config, &keys(20)).await?;
    // Nothing is committed, so `Committed` holds as well.
    let mut handler = Recorder::starting(StartOffset::Committed);
    let consumer = GroupConsumer::new(&config)?;
    poll_until(
        &consumer,
        &mut handler,
        |polled| panic!("{polled:?} of a partition that is held"),
        |handler| handler.assigned.len() == 2,
    )?;
    assert_eq!(consumer.owned(), [0, 1]);
    assert_eq!(consumer.positions(), BTreeMap::new());

    consumer.start(1, StartOffset::At(2))?;
    let seen = read(&consumer, &mut handler, 1)?;
    assert_eq!(seen, BTreeSet::from([(1, 2)]));
    // And again, from somewhere else.
    consumer.start(1, StartOffset::Beginning)?;
    consumer.start(0, StartOffset::Beginning)?;
    assert_eq!(read(&consumer, &mut handler, 20)?.len(), 20);
    assert!(
        consumer.start(2, StartOffset::Beginning).is_err(),
        "not ours"
    );
    consumer.close(&mut handler);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_partition_delivers_nothing_and_loses_nothing() -> Result<()> {
    let config = topics(2).await?;
    let written = write(&config, &keys(2000)).await?;
    let mut handler = Recorder::starting(StartOffset::Beginning);
    let consumer = GroupConsumer::new(&config)?;
    let mut seen = read(&consumer, &mut handler, 10)?;
    consumer.pause(&[0])?;
    let of_one = written
        .iter()
        .filter(|(partition, _)| *partition == 1)
        .count();
    let already = seen.iter().filter(|(partition, _)| *partition == 1).count();
    let meanwhile = read(&consumer, &mut handler, of_one - already)?;
    assert!(meanwhile.iter().all(|(partition, _)| *partition == 1));
    seen.extend(meanwhile);
    consumer.resume(&[0])?;
    let rest = read(&consumer, &mut handler, written.len() - seen.len())?;
    assert!(seen.is_disjoint(&rest));
    seen.extend(rest);
    assert_eq!(seen, written.into_iter().collect());
    consumer.close(&mut handler);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_to_a_second_member_with_what_was_committed() -> Result<()> {
    let config = topics(4).await?;
    write(&config, &keys(100)).await?;
    let mut first = Recorder::starting(StartOffset::Beginning);
    first.commit_at = Some(3);
    let one = GroupConsumer::new(&config)?;
    read(&one, &mut first, 100)?;
    // A pause must not come back with the partition.
    one.pause(&[0, 1, 2, 3])?;

    let mut second = Recorder::starting(StartOffset::Committed);
    let two = GroupConsumer::new(&config)?;
    let end = Instant::now() + DEADLINE;
    let mut seen = BTreeSet::new();
    while second.assigned.len() < 2 || seen.is_empty() {
        ensure!(Instant::now() < end, "no partition moved");
        assert!(
            !matches!(one.poll(POLL, &mut first), Some(Ok(_))),
            "a paused partition"
        );
        if let Some(Ok(message)) = two.poll(POLL, &mut second) {
            seen.insert((message.partition(), message.offset()));
        }
    }
    assert_eq!(first.revoked.len(), 2, "only what moves is revoked");
    assert_eq!(first.lost, [0; 0]);
    assert_eq!(one.owned().len(), 2);
    let moved: BTreeSet<_> = first.revoked.iter().copied().collect();
    assert_eq!(two.owned().into_iter().collect::<BTreeSet<_>>(), moved);
    assert!(
        second
            .assigned
            .iter()
            .all(|assigned| assigned.committed == Some(3))
    );
    assert!(
        seen.iter()
            .all(|(partition, offset)| moved.contains(partition) && *offset >= 3)
    );

    two.close(&mut second);
    first.assigned.clear();
    first.start = StartOffset::At(0);
    let back = read(&one, &mut first, 1)?;
    assert!(back.iter().all(|(partition, _)| moved.contains(partition)));
    one.close(&mut first);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_is_told_though_nobody_waits_for_it() -> Result<()> {
    let config = topics(1).await?;
    write(&config, &keys(1)).await?;
    let mut handler = Recorder::starting(StartOffset::Beginning);
    let consumer = GroupConsumer::new(&config)?;
    read(&consumer, &mut handler, 1)?;
    consumer.commit_async(&[(0, 1)])?;
    poll_until(
        &consumer,
        &mut handler,
        |_| (),
        |_| {
            matches!(
                consumer.committed(&[0], DEADLINE).as_deref(),
                Ok([(0, Some(1))])
            )
        },
    )?;
    assert!(!consumer.has_failed_commit());

    // The topic has no such partition.
    consumer.commit_async(&[(7, 1)])?;
    let failed = |_: &Recorder| consumer.has_failed_commit();
    poll_until(&consumer, &mut handler, |_| (), failed)?;
    assert!(!consumer.has_failed_commit(), "it is told once");
    consumer.close(&mut handler);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_the_log_does_not_have_is_said_and_nothing_is_skipped() -> Result<()> {
    let config = topics(2).await?;
    let written = write(&config, &keys(20)).await?;
    let high = written
        .iter()
        .filter(|(partition, _)| *partition == 1)
        .count();
    let mut handler = Recorder::starting(StartOffset::Beginning);
    let consumer = GroupConsumer::new(&config)?;
    read(&consumer, &mut handler, 20)?;
    consumer.start(1, StartOffset::At(1000))?;
    let error = std::cell::RefCell::new(None);
    poll_until(
        &consumer,
        &mut handler,
        |polled| *error.borrow_mut() = Some(polled.map(|message| message.offset())),
        |_| error.borrow().is_some(),
    )?;
    let Some(Err(ConsumeError::OffsetOutOfRange { partitions })) = error.into_inner() else {
        anyhow::bail!("no word of the offset");
    };
    let [gone] = partitions[..] else {
        anyhow::bail!("{partitions:?}");
    };
    assert_eq!((gone.partition, gone.position, gone.low), (1, 1000, 0));
    assert_eq!(usize::try_from(gone.high)?, high);
    consumer.start(1, StartOffset::Beginning)?;
    assert_eq!(read(&consumer, &mut handler, high)?.len(), high);
    consumer.close(&mut handler);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_known_also_while_paused() -> Result<()> {
    let config = topics(1).await?;
    write(&config, &keys(10)).await?;
    let mut handler = Recorder::starting(StartOffset::At(4));
    let consumer = GroupConsumer::new(&config)?;
    read(&consumer, &mut handler, 6)?;
    poll_until(
        &consumer,
        &mut handler,
        |polled| panic!("{polled:?}"),
        |_| {
            consumer
                .lag()
                .iter()
                .any(|lag| (lag.position, lag.records()) == (Some(10), 0))
        },
    )?;
    assert!(consumer.health().is_ready());
    consumer.pause(&[0])?;
    write(&config, &keys(5)).await?;
    consumer.refresh_lag(DEADLINE)?;
    assert_eq!(
        consumer
            .lag()
            .iter()
            .map(PartitionLag::records)
            .collect::<Vec<_>>(),
        [5]
    );
    consumer.close(&mut handler);
    Ok(())
}
