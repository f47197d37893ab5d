//! A load from its plan to its report.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use plaudit_client::{Api, Wait};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::acked::Acked;
use super::connection::{Connection, Live, Shared};
use super::event::Events;
use super::pace::{Extent, Pace};
use super::progress::Progress;
use super::report::Report;

/// Everything about a load but where it goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is sent.
    pub events: Events,
    /// How much.
    pub extent: Extent,
    /// Events a second; `None` is as fast as it goes.
    pub rate: Option<f64>,
    /// Requests that may be under way at once, from 1.
    pub connections: usize,
    /// Events of a request.
    pub batch: NonZeroU64,
    /// Further connections that wait until their events can be read, for the second
    /// latency. Native only.
    pub watchers: usize,
    /// Where acknowledged ids are written.
    pub acked: Option<PathBuf>,
    /// Whether progress is shown.
    pub quiet: bool,
}

/// How long a watcher waits for one request to be readable.
const VISIBLE_PATIENCE: Duration = Duration::from_secs(30);

/// Runs a load until its end, or until `stop`: then what is under way is awaited.
///
/// # Errors
/// When acknowledged ids cannot be written down. What the server does is in the
/// report, and no error.
pub async fn drive(plan: &Plan, api: &Api, stop: CancellationToken) -> anyhow::Result<Report> {
    let acked = plan.acked.as_deref().map(Acked::create).transpose();
    let shared = Arc::new(Shared {
        api: api.clone(),
        events: plan.events,
        acked: acked.context("make the file of acknowledged ids")?,
        live: Live::default(),
        pace: Pace::start(plan.extent, plan.batch, plan.rate, stop),
    });
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections.max(1) {
        connections.spawn(Connection::new(Arc::clone(&shared), Wait::Durable).run());
    }
    for _ in 0..plan.watchers {
        let wait = Wait::Visible(VISIBLE_PATIENCE);
        connections.spawn(Connection::new(Arc::clone(&shared), wait).run());
    }
    let progress = if plan.quiet {
        Progress::Silent
    } else {
        Progress::new(plan.extent)
    };
    let report = gather(connections, progress, &shared.live).await?;
    if let Some(acked) = &shared.acked {
        acked.flush().context("write the acknowledged ids")?;
    }
    Ok(report)
}

async fn gather(
    mut connections: JoinSet<std::io::Result<Report>>,
    mut progress: Progress,
    live: &Live,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let period = progress.period();
    let mut tick = interval_at(Instant::now() + period, period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = connections.join_next() => match ended {
                Some(part) => report.add(
                    &part.context("run a connection")?.context("write the acknowledged ids")?,
                ),
                None => break,
            },
            _ = tick.tick() => progress.show(live),
        }
    }
    progress.clear();
    Ok(report)
}
