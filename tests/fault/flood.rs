//! More at once than the intake's producer may hold, so that its queue is full.
//!
//! Each connection sends large feedback again and again, and comes back soon after a
//! refusal, as a client without manners does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use plaudit_client::{Api, Client, Wait};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::load::TRACES;
use crate::receipts::Receipts;

/// Connections that send.
#[derive(Debug)]
pub(crate) struct Flood {
    stop: CancellationToken,
    running: JoinSet<Result<Poured>>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Poured {
    /// By status.
    answers: BTreeMap<u16, u64>,
    /// Refusals that do not say when to ask again.
    without_retry_after: u64,
    /// How long the quickest refusal took.
    soonest_refusal: Option<Duration>,
}

/// All bodies together are 90 MiB: more than the producer's queue (64 MiB), and less than
/// `intake.limits.buffered_bytes`, which would refuse them before the queue does.
const CONNECTIONS: usize = 60;
const ITEMS: usize = 50;
const COMMENT_BYTES: usize = 31_000;
const AGAIN: Duration = Duration::from_millis(200);
/// Far longer than the intake promises; how long it takes is the watch's business.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a full queue a client hears before any record could have timed out.
const AT_ONCE: Duration = Duration::from_secs(2);

impl Flood {
    /// Begins to send to the intake at this URL.
    pub(crate) fn start(url: &str, receipts: &Arc<Receipts>) -> Result<Self> {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let api = Client::builder(url).timeout(PATIENCE).build_api();
        let api = api.context("make a client")?;
        for number in 0..CONNECTIONS {
            let trace = format!("{TRACES}flood-{number}");
            let comment = "flood ".repeat(COMMENT_BYTES / 6);
            let item = json!({"trace_id": trace, "metric": "flood", "comment": comment});
            let body = Value::from(vec![item; ITEMS]).to_string().into();
            running.spawn(pour(api.clone(), body, Arc::clone(receipts), stop.clone()));
        }
        Ok(Self { stop, running })
    }

    /// Sends nothing more; what is under way is waited for by [`end`](Self::end).
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends, and says what became of the requests.
    pub(crate) async fn end(mut self) -> Result<Poured> {
        self.stop();
        let mut poured = Poured::default();
        while let Some(ended) = self.running.join_next().await {
            poured.add(ended??);
        }
        Ok(poured)
    }
}

impl Poured {
    /// What the intake promises while its queue is full.
    pub(crate) fn judge(&self) -> Result<()> {
        let known = |status: &u16| matches!(status, 200 | 207 | 503);
        ensure!(
            self.answers.keys().all(known) && self.answers.contains_key(&503),
            "there are other answers: {self}"
        );
        ensure!(
            self.without_retry_after == 0,
            "refusals say no Retry-After: {self}"
        );
        ensure!(
            self.soonest_refusal.is_some_and(|took| took < AT_ONCE),
            "nothing is refused at once: {self}"
        );
        Ok(())
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.answers {
            *self.answers.entry(status).or_default() += count;
        }
        self.without_retry_after += other.without_retry_after;
        let refusals = self
            .soonest_refusal
            .into_iter()
            .chain(other.soonest_refusal);
        self.soonest_refusal = refusals.min();
    }
}

impl fmt::Display for Poured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kilobytes = (ITEMS * COMMENT_BYTES) >> 10;
        write!(f, "flood of {kilobytes} KiB a request:")?;
        for (status, count) in &self.answers {
            write!(f, " {count} × {status}")?;
        }
        if let Some(took) = self.soonest_refusal {
            write!(f, " (refused within {:.2} s)", took.as_secs_f64())?;
        }
        if self.without_retry_after > 0 {
            write!(f, " ({} without Retry-After)", self.without_retry_after)?;
        }
        Ok(())
    }
}

async fn pour(
    api: Api,
    body: Bytes,
    receipts: Arc<Receipts>,
    stop: CancellationToken,
) -> Result<Poured> {
    let mut poured = Poured::default();
    while !stop.is_cancelled() {
        receipts.sends(ITEMS);
        let began = Instant::now();
        let reply = api.post_feedback(body.clone(), Wait::Durable).await;
        let reply = reply.context("the flood is not answered")?;
        receipts.take(&reply)?;
        *poured.answers.entry(reply.status).or_default() += 1;
        if reply.status == 503 {
            let refusals = poured.soonest_refusal.into_iter().chain([began.elapsed()]);
            poured.soonest_refusal = refusals.min();
            poured.without_retry_after += u64::from(reply.retry_after.is_none());
            sleep(AGAIN).await;
        }
    }
    Ok(poured)
}
