//! Everything at once: intake, sink, query, broker, engine and load on the same cores.
//!
//! At full load, where memory is the question; then at a steady rate with reads beside
//! it, where cost and latency are. At the end every event that was acknowledged has to
//! be a row.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use crate::feed::{self, Width};
use crate::hammer::{Load, Plan, Target, Wire, fire};
use crate::numbers::Numbers;
use crate::process::{Meter, Process};
use crate::report::Side;
use crate::service::Service;
use crate::stage::Space;
use crate::{Bench, say};

use super::requests::{FIRST_ROUND, Requests, get};

/// The services of one space.
pub(super) struct Everything {
    pub(super) space: Space,
    pub(super) intake: Service,
    pub(super) sink: Service,
    pub(super) query: Service,
}

/// Requests a second, of 100 events each.
pub(super) const STEADY: f64 = 200.0;
const READS: f64 = 20.0;
const SECONDS: u32 = 20;
const LAG_PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let all = Everything::start(bench).await?;
    let full = Plan {
        connections: 64,
        rate: None,
        length: bench.scale.seconds(SECONDS),
        wire: Wire::Kept,
    };
    let steady = Plan {
        rate: Some(STEADY),
        ..full
    };
    let mut sent = 0;
    for (subject, plan) in [("full load", full), ("steady, 20 k/s", steady)] {
        let meter = Meter::start(&all.processes(bench))?;
        let (written, read) = tokio::join!(all.write(bench, plan), all.read(bench, plan.length));
        let (written, read) = (written?, read?);
        let events = written.requests * 100;
        sent += events;
        let lag = Instant::now();
        all.stored(bench, sent).await?;
        let mut numbers = Numbers::default();
        numbers.set_rate(written.requests, events, written.took);
        numbers.set_latency(&written.latency);
        for usage in meter.read()? {
            numbers.add_usage(&usage, events);
        }
        let mut reads = Numbers::default();
        reads.set_latency(&read.latency);
        let (intake, sink) = (numbers.peak("intake"), numbers.peak("sink"));
        numbers
            .other
            .insert("seconds behind", lag.elapsed().as_secs_f64());
        numbers
            .peak_mib
            .retain(|name, _| matches!(*name, "intake" | "sink" | "query"));
        say(format_args!(
            "{subject}: {events} events, intake {intake:.0} MiB, sink {sink:.0} MiB"
        ));
        for (who, peak) in [("intake", intake), ("sink", sink)] {
            let what = format!("everything at once, {subject}: {who}'s peak MiB");
            bench.report.bar(what, peak, Side::Below, 200.0);
        }
        bench.report.line("together", subject, numbers);
        bench
            .report
            .line("together", &format!("{subject}: reads of a trace"), reads);
    }
    all.stop(bench).await
}

impl Everything {
    pub(super) async fn start(bench: &Bench) -> anyhow::Result<Self> {
        let stage = &bench.stage;
        let space = stage.space(12).await?;
        Ok(Self {
            sink: stage.service("sink", &space, &[]).await?,
            query: stage.service("query", &space, &[]).await?,
            intake: stage.service("intake", &space, &[]).await?,
            space,
        })
    }

    pub(super) async fn stop(self, bench: &Bench) -> anyhow::Result<()> {
        self.intake.stop().await?;
        self.query.stop().await?;
        self.sink.stop().await?;
        bench
            .stage
            .clickhouse
            .drop_database(&self.space.database)
            .await
    }

    fn processes(&self, bench: &Bench) -> [Process; 6] {
        [
            self.intake.process,
            self.sink.process,
            self.query.process,
            bench.stage.engine,
            bench.stage.kafka,
            Process::load(),
        ]
    }

    /// Native requests of 100 events, four to a trace however many there are.
    pub(super) async fn write(&self, bench: &Bench, plan: Plan) -> anyhow::Result<Load> {
        let requests = Requests::native(&bench.stage.key, 100, Width::Narrow).of_new_traces();
        let target = Target {
            address: self.intake.address,
            requests: requests.all,
            status: requests.status,
        };
        fire(target, plan).await
    }

    /// Reads of the traces that are written about.
    async fn read(&self, bench: &Bench, length: Duration) -> anyhow::Result<Load> {
        let path = |index: u64| {
            let trace = feed::trace(index * 40).to_string();
            let (own, _) = trace.split_at(trace.len() - FIRST_ROUND.len());
            format!("/v1/traces/{own}{FIRST_ROUND}/feedback")
        };
        let requests: Vec<_> = (0..1000)
            .map(|index| get(&path(index), &bench.stage.key))
            .collect();
        let target = Target {
            address: self.query.address,
            requests: requests.into(),
            status: 200,
        };
        let plan = Plan {
            connections: 4,
            rate: Some(READS),
            length,
            wire: Wire::Kept,
        };
        fire(target, plan).await
    }

    /// Waits until every event that was acknowledged is a row.
    pub(super) async fn stored(&self, bench: &Bench, events: u64) -> anyhow::Result<()> {
        let sql = format!("SELECT count() FROM {}.feedback", self.space.database);
        let deadline = Instant::now() + LAG_PATIENCE;
        loop {
            let rows = bench.stage.clickhouse.number(&sql).await?;
            ensure!(
                rows <= events,
                "{rows} rows of {events} acknowledged events"
            );
            if rows == events {
                return Ok(());
            }
            let late = Instant::now() > deadline;
            ensure!(
                !late,
                "{rows} rows of {events} acknowledged events after {LAG_PATIENCE:?}"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
}
