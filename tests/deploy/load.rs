//! Feedback at a steady rate, all the while: what the oracle counts.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use plaudit::drill::Sent;
use plaudit::load::{Dialect, Events, Extent, Plan, Report, drive};
use plaudit_client::ClientBuilder;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A load that runs.
#[derive(Debug)]
pub(crate) struct Load {
    stop: CancellationToken,
    running: JoinSet<Result<Report>>,
    acked: PathBuf,
}

/// What its traces begin with.
const TRACES: &str = "trace-";
/// Events a second: enough to have some in every moment.
const RATE: f64 = 300.0;
const EVENTS_A_REQUEST: NonZeroU64 = NonZeroU64::new(10).expect("it is not 0");
const CONNECTIONS: usize = 16;
/// Until it is told to stop.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

impl Load {
    /// Begins to send through this client, and writes what is acknowledged into `acked`.
    ///
    /// # Errors
    /// When there is no client.
    pub(crate) fn start(client: ClientBuilder, acked: &Path) -> Result<Self> {
        let api = client.build_api().context("make a client")?;
        let plan = Plan {
            events: Events {
                seed: 1,
                run: uuid::Uuid::new_v4().as_u64_pair().0,
                traces: 10_000,
                dialect: Dialect::Native,
            },
            extent: Extent::Duration(FOR_EVER),
            rate: Some(RATE),
            connections: CONNECTIONS,
            batch: EVENTS_A_REQUEST,
            watchers: 0,
            acked: Some(acked.to_owned()),
            quiet: true,
        };
        let stop = CancellationToken::new();
        let told = stop.clone();
        let mut running = JoinSet::new();
        running.spawn(async move { drive(&plan, &api, told).await });
        Ok(Self {
            stop,
            running,
            acked: acked.to_owned(),
        })
    }

    /// Stops, waits for what is under way, and says what was sent.
    ///
    /// # Errors
    /// When what was acknowledged could not be written down.
    pub(crate) async fn stop(mut self) -> Result<(Sent, Report)> {
        self.stop.cancel();
        let ended = self.running.join_next().await;
        let report = ended.context("the load is gone")???;
        let sent = Sent {
            events: report.sent(),
            acked: vec![self.acked],
            traces: TRACES.to_owned(),
        };
        Ok((sent, report))
    }
}
