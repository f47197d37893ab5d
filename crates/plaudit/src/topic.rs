//! A topic, read from here to there, for the tools.
//!
//! Without a group: nothing is committed, and no sink loses a partition. What is
//! read is what the log had when the caller asked where it ends, so that a reading
//! has an end while others write.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use plaudit_kafka::{KafkaConfig, Message, Read, TopicReader, Watermarks};
use tokio::time::Instant;

/// Offsets of one partition: from `first` up to, without, `end`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) partition: i32,
    pub(crate) first: i64,
    pub(crate) end: i64,
}

/// One question to the cluster.
pub(crate) const ASK: Duration = Duration::from_secs(15);

/// How long nothing may come before the reading is given up.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(500);

impl Span {
    /// How many offsets it covers.
    pub(crate) fn len(self) -> u64 {
        u64::try_from(self.end - self.first).unwrap_or(0)
    }
}

impl From<Watermarks> for Span {
    fn from(log: Watermarks) -> Self {
        Self {
            partition: log.partition,
            first: log.low,
            end: log.high,
        }
    }
}

/// How many offsets all of them cover.
pub(crate) fn total(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.len()).sum()
}

/// Hands each record of the spans to `take`, a partition's in their order. Blocks.
///
/// # Errors
/// When Kafka does not answer, when records left the log meanwhile, or `take` fails.
pub(crate) fn read(
    kafka: &KafkaConfig,
    topic: &str,
    spans: &[Span],
    mut take: impl FnMut(&Message<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut ends: BTreeMap<i32, i64> = spans
        .iter()
        .filter(|span| span.len() > 0)
        .map(|span| (span.partition, span.end))
        .collect();
    let starts: Vec<_> = spans
        .iter()
        .filter(|span| ends.contains_key(&span.partition))
        .map(|span| (span.partition, span.first))
        .collect();
    if ends.is_empty() {
        return Ok(());
    }
    let reader = TopicReader::open(kafka, topic, &starts)?;
    let mut last_answer = Instant::now();
    while !ends.is_empty() {
        let Some(read) = reader.poll(POLL) else {
            if last_answer.elapsed() > PATIENCE {
                bail!("read topic {topic}: nothing came for {PATIENCE:?}");
            }
            continue;
        };
        last_answer = Instant::now();
        let message = match read.with_context(|| format!("read topic {topic}"))? {
            Read::Record(message) => message,
            // Its last offsets hold no record.
            Read::End { partition } => {
                ends.remove(&partition);
                continue;
            }
        };
        let (partition, offset) = (message.partition(), message.offset());
        let Some(end) = ends.get(&partition).copied() else {
            continue;
        };
        if offset < end {
            take(&message)?;
        }
        if offset + 1 >= end {
            ends.remove(&partition);
        }
    }
    Ok(())
}
