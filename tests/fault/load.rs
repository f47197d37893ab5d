//! Feedback on many traces at a steady rate, all the while: what the oracle counts.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use plaudit::drill::Sent;
use plaudit::load::{Dialect, Events, Extent, Plan, Report, drive};
use plaudit_client::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::random::Random;

/// Loads that run, one an intake.
#[derive(Debug)]
pub(crate) struct Load {
    stop: CancellationToken,
    running: JoinSet<Result<Report>>,
    acked: Vec<PathBuf>,
}

/// What its traces begin with.
pub(crate) const TRACES: &str = "trace-";

/// Until it is told to stop.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
const EVENTS_A_REQUEST: NonZeroU64 = NonZeroU64::new(50).expect("it is not 0");
/// Enough that the rate goes on while requests wait for their time to be up.
const CONNECTIONS: usize = 32;

impl Load {
    /// Begins to send `rate` events a second to each of the intakes.
    pub(crate) fn start(
        urls: &[String],
        rate: f64,
        random: &mut Random,
        directory: &Path,
    ) -> Result<Self> {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let mut acked = Vec::new();
        for (number, url) in urls.iter().enumerate() {
            let api = Client::builder(url).build_api().context("make a client")?;
            let (seed, run) = (random.next(), random.next());
            // One a load: a case may begin again.
            let file = directory.join(format!("acked-{number}-{run:x}"));
            let plan = Plan {
                events: Events {
                    seed,
                    run,
                    traces: 10_000,
                    dialect: Dialect::Native,
                },
                extent: Extent::Duration(FOR_EVER),
                rate: Some(rate),
                connections: CONNECTIONS,
                batch: EVENTS_A_REQUEST,
                watchers: 0,
                acked: Some(file.clone()),
                quiet: true,
            };
            let stop = stop.clone();
            running.spawn(async move { drive(&plan, &api, stop).await });
            acked.push(file);
        }
        Ok(Self {
            stop,
            running,
            acked,
        })
    }

    /// Stops, waits for what is under way, and says what was sent.
    pub(crate) async fn stop(mut self) -> Result<(Sent, Report)> {
        self.stop.cancel();
        let mut report = Report::default();
        while let Some(ended) = self.running.join_next().await {
            report.add(&ended??);
        }
        let sent = Sent {
            events: report.sent(),
            acked: self.acked,
            traces: TRACES.to_owned(),
        };
        Ok((sent, report))
    }
}
