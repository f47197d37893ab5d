//! What clients of an intake see while its brokers are in trouble: how long an answer
//! takes, and what it says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::RETRY_AFTER;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::part::resident_bytes;

/// Asks an intake all the while.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: CancellationToken,
    running: JoinSet<Result<Seen>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Answers by status; 0 is none.
    answers: BTreeMap<u16, u64>,
    /// The longest that an answer took.
    longest: Duration,
    /// Answers that took longer than is promised.
    late: u64,
    /// Refusals that do not say when to ask again.
    without_retry_after: u64,
    /// The intake's largest resident memory.
    resident_bytes: u64,
}

/// For a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(2);
/// Longer than both, so that a late answer is seen to be late.
const PATIENCE: Duration = Duration::from_secs(30);
const PACE: Duration = Duration::from_millis(100);
const AT_ONCE: usize = 4;
const MOST_RESIDENT_BYTES: u64 = 256 << 20;
const EVENT: &str = r#"{"trace_id":"watch","metric":"watched","value":true}"#;

impl Watch {
    /// Begins to watch the intake at this URL, which is this process.
    /// `timeout` is what is promised for an answer.
    pub(crate) fn start(url: &str, pid: i32, timeout: Duration) -> Result<Self> {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let http = support::http().no_proxy().build()?;
        for _ in 0..AT_ONCE {
            running.spawn(watch(
                http.clone(),
                format!("{url}/v1/feedback"),
                pid,
                timeout + SLACK,
                stop.clone(),
            ));
        }
        Ok(Self { stop, running })
    }

    /// Ends, and says what was seen.
    pub(crate) async fn end(mut self) -> Result<Seen> {
        self.stop.cancel();
        let mut seen = Seen::default();
        while let Some(ended) = self.running.join_next().await {
            seen.add(&ended??);
        }
        Ok(seen)
    }
}

impl Seen {
    /// What the intake promises while its brokers are in trouble; and that they were, if
    /// it must have refused.
    pub(crate) fn judge(&self, must_refuse: bool) -> Result<()> {
        ensure!(
            !must_refuse || self.answers.contains_key(&503),
            "nothing was refused, so there was no trouble: {self}"
        );
        ensure!(
            self.late == 0,
            "answers took longer than is promised: {self}"
        );
        ensure!(
            self.without_retry_after == 0,
            "refusals say no Retry-After: {self}"
        );
        ensure!(
            self.resident_bytes < MOST_RESIDENT_BYTES,
            "the intake's memory is not bounded: {self}"
        );
        let others = self
            .answers
            .keys()
            .find(|status| !matches!(status, 200 | 503));
        ensure!(others.is_none(), "there are other answers: {self}");
        Ok(())
    }

    fn add(&mut self, other: &Self) {
        for (status, count) in &other.answers {
            *self.answers.entry(*status).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
        self.late += other.late;
        self.without_retry_after += other.without_retry_after;
        self.resident_bytes = self.resident_bytes.max(other.resident_bytes);
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answers,
            longest,
            late,
            without_retry_after,
            resident_bytes,
        } = self;
        write!(
            f,
            "answers within {:.1} s, intake at most {} MiB",
            longest.as_secs_f64(),
            resident_bytes >> 20
        )?;
        if *late + *without_retry_after > 0 {
            write!(
                f,
                ", {late} late, {without_retry_after} without Retry-After"
            )?;
        }
        for (status, count) in answers {
            write!(f, ", {count} × {status}")?;
        }
        Ok(())
    }
}

async fn watch(
    http: reqwest::Client,
    url: String,
    pid: i32,
    promised: Duration,
    stop: CancellationToken,
) -> Result<Seen> {
    let status = PathBuf::from(format!("/proc/{pid}/status"));
    let mut seen = Seen::default();
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        pace.tick().await;
        let request = http.post(&url).header("content-type", "application/json");
        let began = Instant::now();
        let answer = request.body(EVENT).timeout(PATIENCE).send().await;
        let took = began.elapsed();
        seen.longest = seen.longest.max(took);
        seen.late += u64::from(took > promised);
        let resident = resident_bytes(&status).context("read the intake's memory")?;
        seen.resident_bytes = seen.resident_bytes.max(resident);
        let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        *seen.answers.entry(code).or_default() += 1;
        if let Ok(answer) = answer
            && code == 503
        {
            let seconds = answer.headers().get(RETRY_AFTER);
            let seconds = seconds.and_then(|text| text.to_str().ok()?.parse::<u32>().ok());
            seen.without_retry_after += u64::from(seconds.is_none());
        }
    }
    Ok(seen)
}
