//! What goes on while something is disturbed: feedback that is sent, and reads.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use plaudit::drill::Sent;
use plaudit::load::Answered;
use plaudit_client::Client;
use serde_json::json;
use support::Api;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::docker::eventually;
use crate::load::Load;

/// Where it goes, and with which key.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) intake: String,
    pub(crate) query: String,
    pub(crate) key: String,
}

/// Some that goes on.
#[derive(Debug)]
pub(crate) struct Traffic {
    sending: Load,
    stop: CancellationToken,
    reading: JoinSet<BTreeMap<u16, u64>>,
    intake: Api,
}

/// What it saw.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) sent: Sent,
    /// Requests with feedback, by what came back.
    pub(crate) answers: BTreeMap<Answered, u64>,
    /// Reads by status; 0 is no answer.
    pub(crate) reads: BTreeMap<u16, u64>,
}

/// What is asked of the intake before and after a disturbance.
const PROBES: u32 = 100;
const BETWEEN_READS: Duration = Duration::from_millis(50);

impl Addresses {
    /// Begins, and writes what is acknowledged into a file.
    ///
    /// # Errors
    /// When there is no client.
    fn start(&self, acked: &Path) -> Result<Traffic> {
        let Self { intake, query, key } = self;
        let client = Client::builder(intake).api_key(key);
        let sending = Load::start(client, acked)?;
        // Through the intake and past it.
        let apis = [intake, query].map(|url| Api::new(url).with_key(key));
        let stop = CancellationToken::new();
        let mut reading = JoinSet::new();
        reading.spawn(read(apis, stop.clone()));
        Ok(Traffic {
            sending,
            stop,
            reading,
            intake: Api::new(intake).with_key(key),
        })
    }

    /// Begins, and lets a disturbance happen while feedback is acknowledged. How long that
    /// took; what goes on, goes on.
    ///
    /// # Errors
    /// When nothing is acknowledged before it, or it cannot be carried out.
    pub(crate) async fn disturbed(
        &self,
        acked: &Path,
        disturbance: impl Future<Output = Result<()>>,
    ) -> Result<(Traffic, Duration)> {
        let traffic = self.start(acked)?;
        traffic.acknowledged().await?;
        let began = Instant::now();
        disturbance.await?;
        Ok((traffic, began.elapsed()))
    }
}

impl Traffic {
    /// Waits until the intake has acknowledged some more, one after another.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn acknowledged(&self) -> Result<()> {
        let mut acknowledged = 0;
        eventually("the intake to acknowledge", async || {
            while acknowledged < PROBES {
                let probe = json!({"trace_id": "probe", "metric": "probe", "value": acknowledged});
                let answer = self.intake.post("/v1/feedback", &probe).await;
                if answer.is_ok_and(|answer| answer.status == 200) {
                    acknowledged += 1;
                } else {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// Ends it, and waits for what is under way.
    ///
    /// # Errors
    /// When what was acknowledged could not be written down.
    pub(crate) async fn stop(mut self) -> Result<Ended> {
        self.stop.cancel();
        let (sent, report) = self.sending.stop().await?;
        let reads = self.reading.join_next().await.context("a reader")??;
        Ok(Ended {
            sent,
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
