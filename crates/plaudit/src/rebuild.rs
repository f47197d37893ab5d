//! `plaudit rebuild`: a range of a partition, stored anew from the topic.
//!
//! For rows that were lost or spoiled behind Plaudit's back, and for gaps that
//! `plaudit verify` names. It refuses a range that the log does not hold whole, and to
//! work while a sink runs. Until it is done, readers may miss what it takes out.
//!
//! What happens to the records is `plaudit-sink`'s business; here they are read.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::Args;
use plaudit_event::Outcome;
use plaudit_sink::{Rebuild, RebuildRange};
use plaudit_store::{LedgerRange, Store};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::config::{Config, Sources};
use crate::console::{bar, print};
use crate::topic::{self, Span};

/// Options of `plaudit rebuild`.
#[derive(Args, Clone, Debug)]
pub struct RebuildOptions {
    /// The partition
    #[arg(long, value_name = "PARTITION")]
    partition: i32,
    /// The first offset
    #[arg(long, value_name = "OFFSET")]
    from: i64,
    /// The offset after the last
    #[arg(long, value_name = "OFFSET")]
    to: i64,
}

impl RebuildOptions {
    /// These offsets of a partition, `to` not among them.
    pub(crate) fn of(partition: i32, from: i64, to: i64) -> Self {
        Self {
            partition,
            from,
            to,
        }
    }
}

/// How many records ended how.
#[derive(Debug, Default)]
struct Counts(BTreeMap<Outcome, i64>);

/// Runs `plaudit rebuild`.
///
/// # Errors
/// When the range cannot be rebuilt now, or not to its end: then run it again.
pub async fn run(options: RebuildOptions, sources: &Sources) -> anyhow::Result<()> {
    let config = Config::load(sources)?;
    let RebuildOptions {
        partition,
        from,
        to,
    } = options;
    if from < 0 || to <= from {
        bail!("--to must be an offset after --from");
    }
    let span = Span {
        partition,
        first: from,
        end: to,
    };
    let range = RebuildRange {
        partition,
        first: from,
        end: to,
    };
    let (kafka, store) = (config.kafka, Store::new(config.clickhouse)?);
    let mut rebuild = Rebuild::open(config.sink, &kafka, store, range).await?;
    let (handle, bar) = (Handle::current(), bar(span.len(), "records"));
    let rebuilt = spawn_blocking(move || {
        let mut counts = Counts::default();
        topic::read(&kafka, &kafka.topic, &[span], |message| {
            if rebuild.push(message)? {
                counts.add(&handle.block_on(rebuild.store())?);
                bar.set_position(counts.total());
            }
            Ok(())
        })?;
        counts.add(&handle.block_on(rebuild.store())?);
        bar.finish_and_clear();
        anyhow::Ok(counts)
    });
    let counts = rebuilt
        .await?
        .context("not rebuilt to its end: run it again")?;
    for (outcome, records) in &counts.0 {
        print(format_args!("{}: {records}", outcome.code()));
    }
    Ok(())
}

impl Counts {
    fn add(&mut self, ranges: &[LedgerRange]) {
        for range in ranges {
            *self.0.entry(range.outcome).or_default() += range.last - range.first + 1;
        }
    }

    fn total(&self) -> u64 {
        u64::try_from(self.0.values().sum::<i64>()).unwrap_or(0)
    }
}
