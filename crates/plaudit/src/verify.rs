//! `plaudit verify`: whether every record of the topic has its one outcome.
//!
//! For each partition, the offsets of its log are those with an outcome and those in
//! flight, without a gap; what was acknowledged is an offset of the topic; what was
//! dead-lettered has its letter. With `--deep` the records are read too, and each that
//! is stored is looked for.
//!
//! It can run while everything else does. That rests on the order of the questions:
//! receipts, then what is committed, then where the logs end, then the ledger, then
//! letters and rows. Each was durable before what it is held against.
//!
//! It changes nothing. Start at [`run`].

mod balance;
mod deep;
mod edge;
mod offsets;
mod receipts;
mod report;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use plaudit_event::{Micros, Outcome};
use plaudit_kafka::{Admin, KafkaConfig, Watermarks};
use plaudit_store::{OutcomeRun, Store};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::config::{Config, Sources};
use crate::console::{bar, print};
use crate::dead::DeadTopic;
use crate::topic::{ASK, Span};
use balance::Balance;
use deep::{Deep, Proof};
use edge::Edge;
use receipts::Receipts;
use report::Report;

/// Options of `plaudit verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyOptions {
    /// Where to begin: offsets, such as 0:100,1:250, or a time, such as
    /// 2026-01-02T03:04:05Z or 2h [default: where the logs begin]
    #[arg(long, value_name = "WHERE")]
    from: Option<Edge>,
    /// Where to end, without it [default: where the logs end]
    #[arg(long, value_name = "WHERE")]
    to: Option<Edge>,
    /// A file of acknowledged receipts, as `plaudit load --acked` writes it; can be
    /// repeated
    #[arg(long, value_name = "FILE")]
    receipts: Vec<PathBuf>,
    /// Read the records too, and look for what was stored of each
    #[arg(long)]
    deep: bool,
}

impl VerifyOptions {
    /// All of the topic, record by record, with one file of receipts.
    pub(crate) fn deep(receipts: PathBuf) -> Self {
        Self {
            from: None,
            to: None,
            receipts: vec![receipts],
            deep: true,
        }
    }
}

/// What is asked, and of whom.
struct Verify {
    kafka: KafkaConfig,
    store: Store,
    admin: Admin,
    logs: Vec<Watermarks>,
}

/// Runs `plaudit verify`.
///
/// # Errors
/// When it does not add up, or when it cannot be told.
pub async fn run(options: VerifyOptions, sources: &Sources) -> anyhow::Result<()> {
    let config = Config::load(sources)?;
    let report = verify(&options, config).await?;
    print(report.table().trim_end());
    let problems = report.problems();
    for problem in &problems {
        print(problem);
    }
    if !problems.is_empty() {
        bail!("it does not add up");
    }
    print("it adds up");
    Ok(())
}

async fn verify(options: &VerifyOptions, config: Config) -> anyhow::Result<Report> {
    let (kafka, retention) = (config.kafka, config.clickhouse.retention);
    let mut receipts = Receipts::default();
    for file in &options.receipts {
        receipts.add(file, &kafka.topic)?;
    }
    let admin = Admin::new(&kafka)?;
    let committed = admin.committed(ASK).await.context("look at the group")?;
    let committed: BTreeMap<i32, i64> = committed
        .into_iter()
        .filter_map(|(partition, offset)| Some((partition, offset?)))
        .collect();
    let logs = admin.watermarks(&kafka.topic, ASK).await;
    let verify = Verify {
        store: Store::new(config.clickhouse)?,
        logs: logs.context("look at the topic")?,
        admin,
        kafka,
    };
    let spans = verify.spans(options, &committed).await?;
    let (balances, beyond) = verify.balances(&spans, &committed).await?;
    let mut report = Report {
        no_offsets: receipts.missing(|partition| verify.log(partition).map(|log| log.high)),
        no_letters: verify.without_letters(&balances).await?,
        with_rows: verify.with_rows(&spans).await?,
        dead_with_rows: verify.dead_with_rows(&balances).await?,
        balances,
        beyond,
        receipts,
        proof: None,
    };
    if options.deep {
        report = verify.deepen(report, Deep::kept_since(retention)).await?;
    }
    Ok(report)
}

impl Verify {
    /// What to look at in each partition. Without `--from`, from where its log begins;
    /// or before, where records left the log and were not stored by then.
    async fn spans(
        &self,
        options: &VerifyOptions,
        committed: &BTreeMap<i32, i64>,
    ) -> anyhow::Result<Vec<Span>> {
        let topic = &self.kafka.topic;
        let from = Edge::resolve(options.from.as_ref(), &self.admin, topic).await?;
        let to = Edge::resolve(options.to.as_ref(), &self.admin, topic).await?;
        for partition in from.keys().chain(to.keys()) {
            if !self.logs.iter().any(|log| log.partition == *partition) {
                bail!("topic {topic} has no partition {partition}");
            }
        }
        let span = |log: &Watermarks| {
            let partition = log.partition;
            let unread = committed
                .get(&partition)
                .map_or(log.low, |next| log.low.min(*next));
            let end = to
                .get(&partition)
                .map_or(log.high, |end| log.high.min(*end));
            let first = from.get(&partition).copied().unwrap_or(unread).min(end);
            Span {
                partition,
                first,
                end,
            }
        };
        Ok(self.logs.iter().map(span).collect())
    }

    /// The balance of each partition, and what the ledger has beyond the logs.
    async fn balances(
        &self,
        spans: &[Span],
        committed: &BTreeMap<i32, i64>,
    ) -> anyhow::Result<(Vec<Balance>, Vec<(i32, Range<i64>)>)> {
        let topic = &self.kafka.topic;
        let bar = bar(spans.len().try_into().unwrap_or(u64::MAX), "partitions");
        let mut balances = Vec::with_capacity(spans.len());
        let mut ends = BTreeMap::new();
        for span in spans {
            let runs = self.store.ledger_runs(topic, span.partition, span.first);
            let runs: Vec<OutcomeRun> = runs.await.context("read the ledger")?;
            if let Some(last) = runs.iter().map(|run| run.last).max() {
                ends.insert(span.partition, last + 1);
            }
            let committed = committed.get(&span.partition).copied();
            balances.push(Balance::of(*span, committed, &runs));
            bar.inc(1);
        }
        bar.finish_and_clear();
        // The logs have grown meanwhile, and the ledger with them.
        let logs = self.admin.watermarks(topic, ASK).await?;
        let beyond = logs.iter().filter_map(|log| {
            let committed = committed.get(&log.partition).copied();
            let ledgered = ends.get(&log.partition).copied().max(committed)?;
            (ledgered > log.high).then_some((log.partition, log.high..ledgered))
        });
        Ok((balances, beyond.collect()))
    }

    /// The dead-lettered offsets that have no letter.
    async fn without_letters(&self, balances: &[Balance]) -> anyhow::Result<Vec<(i32, i64)>> {
        let dead = || {
            balances.iter().flat_map(|balance| {
                let offsets = balance.with(Outcome::DeadLettered).flatten();
                offsets.map(|offset| (balance.span.partition, offset))
            })
        };
        if dead().next().is_none() {
            return Ok(Vec::new());
        }
        let topic = DeadTopic::open(self.kafka.clone()).await?;
        let letters = spawn_blocking(move || topic.read(|_, _| Ok(()))).await??;
        let missing = dead().filter(|(partition, offset)| !letters.contains(*partition, *offset));
        Ok(missing.collect())
    }

    /// How many offsets have rows of their own.
    async fn with_rows(&self, spans: &[Span]) -> anyhow::Result<u64> {
        let mut with_rows = 0;
        for span in spans {
            let Span {
                partition,
                first,
                end,
            } = *span;
            let topic = &self.kafka.topic;
            let asked = self.store.offsets_with_rows(topic, partition, first, end);
            with_rows += asked.await.context("read rows")?;
        }
        Ok(with_rows)
    }

    /// The dead-lettered offsets that have a row all the same.
    async fn dead_with_rows(&self, balances: &[Balance]) -> anyhow::Result<Vec<(i32, i64)>> {
        let dead: Vec<_> = balances
            .iter()
            .flat_map(|balance| {
                let ranges = balance.with(Outcome::DeadLettered);
                ranges.map(|range| (balance.span.partition, range.start, range.end - 1))
            })
            .collect();
        let rows = self.store.stored_offsets(&self.kafka.topic, &dead);
        let rows = rows.await.context("read rows")?;
        Ok(rows.iter().map(|row| (row.partition, row.offset)).collect())
    }

    fn log(&self, partition: i32) -> Option<&Watermarks> {
        self.logs.iter().find(|log| log.partition == partition)
    }

    /// Reads the records, one partition after the other.
    async fn deepen(self, mut report: Report, kept_since: Micros) -> anyhow::Result<Report> {
        let spans: Vec<Span> = report.balances.iter().map(|balance| balance.span).collect();
        let bar = bar(crate::topic::total(&spans), "records");
        let handle = Handle::current();
        let looked = spawn_blocking(move || {
            let mut proof = Proof::default();
            let deep = Deep {
                kafka: &self.kafka,
                store: &self.store,
                receipts: &report.receipts,
                handle: &handle,
                bar: &bar,
                kept_since,
            };
            for balance in &report.balances {
                let log = self.log(balance.span.partition);
                let low = log.map_or(balance.span.end, |log| log.low);
                deep.look(balance, low, &mut proof)?;
            }
            bar.finish_and_clear();
            report.proof = Some(proof);
            Ok(report)
        });
        looked.await?
    }
}
