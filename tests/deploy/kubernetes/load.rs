//! Feedback at a steady rate, and reads, all the while: what the oracle counts.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use plaudit::drill::Sent;
use plaudit::load::{Answered, Dialect, Events, Extent, Plan, Report, drive};
use plaudit_client::Client;
use serde_json::json;
use support::{Api, wait_until};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One that runs.
pub(crate) struct Load {
    stop: CancellationToken,
    sending: JoinSet<Result<Report>>,
    reading: JoinSet<BTreeMap<u16, u64>>,
    intake: Api,
    acked: PathBuf,
}

/// What it saw.
pub(crate) struct Ended {
    pub(crate) sent: Sent,
    /// Requests with feedback, by what came back.
    pub(crate) answers: BTreeMap<Answered, u64>,
    /// Reads by status; 0 is no answer.
    pub(crate) reads: BTreeMap<u16, u64>,
}

/// Events a second.
const RATE: f64 = 500.0;
/// What is asked of the intake before and after a disturbance.
const PROBES: u32 = 100;
const BETWEEN_READS: Duration = Duration::from_millis(50);

impl Load {
    /// Begins, as load number `number`, which writes what is acknowledged into `directory`.
    pub(crate) fn start(
        intake: &str,
        query: &str,
        key: &str,
        number: usize,
        directory: &Path,
    ) -> Result<Self> {
        let api = Client::builder(intake).api_key(key).build_api()?;
        let acked = directory.join(format!("acked-{number}"));
        let plan = Plan {
            events: Events {
                seed: 1,
                run: Uuid::new_v4().as_u64_pair().0,
                traces: 10_000,
                dialect: Dialect::Native,
            },
            extent: Extent::Duration(Duration::from_secs(24 * 3600)),
            rate: Some(RATE),
            connections: 16,
            batch: NonZeroU64::new(10).context("it is not 0")?,
            watchers: 0,
            acked: Some(acked.clone()),
            quiet: true,
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let mut sending = JoinSet::new();
        sending.spawn(async move { drive(&plan, &api, stopped).await });
        // Through the intake and past it.
        let apis = [intake, query].map(|url| Api::new(url).with_key(key));
        let mut reading = JoinSet::new();
        reading.spawn(read(apis, stop.clone()));
        Ok(Self {
            stop,
            sending,
            reading,
            intake: Api::new(intake).with_key(key),
            acked,
        })
    }

    /// Waits until the intake has acknowledged some more, one after another.
    pub(crate) async fn acknowledged(&self) -> Result<()> {
        let mut acknowledged = 0;
        wait_until("the intake to acknowledge", async || {
            let probe = json!({"trace_id": "probe", "metric": "probe", "value": acknowledged});
            let answer = self.intake.post("/v1/feedback", &probe).await;
            acknowledged += u32::from(answer.is_ok_and(|answer| answer.status == 200));
            Ok(acknowledged == PROBES)
        })
        .await
    }

    /// Ends it, and waits for what is under way.
    pub(crate) async fn stop(mut self) -> Result<Ended> {
        self.stop.cancel();
        let report = self.sending.join_next().await.context("a load")???;
        let reads = self.reading.join_next().await.context("a reader")??;
        Ok(Ended {
            sent: Sent {
                events: report.sent(),
                acked: vec![self.acked],
                traces: String::new(),
            },
            answers: report.answers,
            reads,
        })
    }
}

async fn read(apis: [Api; 2], stop: CancellationToken) -> BTreeMap<u16, u64> {
    let mut answers = BTreeMap::new();
    while !stop.is_cancelled() {
        for api in &apis {
            let answer = api.get("/v1/feedback?limit=5").await;
            let status = answer.map_or(0, |answer| answer.status);
            *answers.entry(status).or_default() += 1;
        }
        tokio::time::sleep(BETWEEN_READS).await;
    }
    answers
}
