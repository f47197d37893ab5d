//! `plaudit dead replay`.
//!
//! A record goes back as it was: its key, its value, so its id and its version. It is
//! a new record of the topic, with an offset and an outcome of its own, and the old
//! one's outcome stays what it is. Of two records of one version a reader sees one
//! row, so a replay can be repeated, and one that was cut short can be run again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use plaudit_event::codec;
use plaudit_kafka::{ConfirmingProducer, Delivery, KafkaConfig, Message, Record};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::{DeadTopic, Filter};
use crate::console::print;

/// Options of `plaudit dead replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayOptions {
    #[command(flatten)]
    filter: Filter,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// A replay under way.
struct Replay {
    topic: String,
    /// None when nothing is to be written.
    producer: Option<ConfirmingProducer>,
    handle: Handle,
    open: Vec<Again>,
    open_bytes: usize,
    /// Digests of the records that were taken: a record that was replayed before and
    /// died again has two letters, and goes back once.
    taken: HashSet<[u8; 32]>,
    counts: Counts,
}

/// A record that goes back.
struct Again {
    reason: String,
    key: Option<Vec<u8>>,
    payload: Vec<u8>,
}

/// What became of the letters that match.
#[derive(Debug, Default)]
struct Counts {
    written: BTreeMap<String, u64>,
    same: u64,
    no_event: u64,
}

/// The most records, and about the most bytes, that wait for their confirmation.
const ROUND_RECORDS: usize = 1000;
const ROUND_BYTES: usize = 8 << 20;

/// Beyond Kafka's own timeout for a record.
const ROUND_DEADLINE: Duration = Duration::from_secs(10);

/// Writes the records of the letters that match.
pub(super) async fn run(kafka: KafkaConfig, options: ReplayOptions) -> anyhow::Result<()> {
    let producer = if options.dry_run {
        None
    } else {
        Some(ConfirmingProducer::new(&kafka).context("make the producer")?)
    };
    let mut replay = Replay {
        topic: kafka.topic.clone(),
        producer,
        handle: Handle::current(),
        open: Vec::new(),
        open_bytes: 0,
        taken: HashSet::new(),
        counts: Counts::default(),
    };
    let topic = DeadTopic::since(kafka, &options.filter).await?;
    let filter = options.filter;
    let ended = spawn_blocking(move || {
        let read = topic.read(|letter, message| {
            if filter.takes(&letter) {
                replay.take(letter.reason, message)?;
            }
            Ok(())
        });
        let copies = read.and_then(|copies| replay.write().map(|()| copies));
        (copies, replay.counts)
    });
    let (copies, counts) = ended.await?;
    let verb = if options.dry_run {
        "would write"
    } else {
        "wrote"
    };
    for (reason, written) in &counts.written {
        print(format_args!("{verb} {written} of reason {reason}"));
    }
    let written: u64 = counts.written.values().sum();
    print(format_args!("{verb} {written} records"));
    if counts.no_event > 0 {
        print(format_args!(
            "left out, as they are no events that this Plaudit knows: {}",
            counts.no_event
        ));
    }
    if counts.same > 0 {
        print(format_args!(
            "further letters of the same records: {}",
            counts.same
        ));
    }
    copies.map(drop)
}

impl Replay {
    fn take(&mut self, reason: String, message: &Message<'_>) -> anyhow::Result<()> {
        let payload = message.payload().unwrap_or_default();
        if codec::decode(payload, || None).is_err() {
            self.counts.no_event += 1;
            return Ok(());
        }
        if !self.taken.insert(Sha256::digest(payload).into()) {
            self.counts.same += 1;
            return Ok(());
        }
        self.open_bytes += payload.len();
        self.open.push(Again {
            reason,
            key: message.key().map(<[u8]>::to_vec),
            payload: payload.to_vec(),
        });
        if self.open.len() >= ROUND_RECORDS || self.open_bytes >= ROUND_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what is open and waits until the brokers have it.
    fn write(&mut self) -> anyhow::Result<()> {
        let open = std::mem::take(&mut self.open);
        self.open_bytes = 0;
        if let Some(producer) = &self.producer {
            self.confirm(producer, &open)?;
        }
        for again in open {
            *self.counts.written.entry(again.reason).or_default() += 1;
        }
        Ok(())
    }

    fn confirm(&self, producer: &ConfirmingProducer, open: &[Again]) -> anyhow::Result<()> {
        let records = open.iter().map(|again| Record {
            key: again.key.as_deref(),
            payload: Some(&again.payload),
            headers: &[],
            // Now: retention and lag count from here.
            timestamp_ms: 0,
        });
        let pending = producer.send_all(&self.topic, records);
        let deliveries = self.handle.block_on(pending.wait(ROUND_DEADLINE));
        let mut lost = deliveries
            .iter()
            .filter(|delivery| !matches!(delivery, Delivery::Confirmed { .. }));
        match lost.next() {
            None => Ok(()),
            Some(first) => bail!(
                "of the last {} records, {} are not confirmed ({first:?}): run it again, which \
                 shows nothing twice",
                deliveries.len(),
                lost.count() + 1
            ),
        }
    }
}
