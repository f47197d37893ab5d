//! The judgement at the end of every case.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plaudit::drill::{Count, Line, Oracle, Sent};
use plaudit::load::{Answered, Report};
use plaudit_event::{Outcome, Receipt};
use plaudit_store::ClickhouseConfig;
use support::wait_until;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::ask::{ASK, LOOK, PATIENCE};
use super::{Form, Scene};
use crate::edits;
use crate::load::TRACES;
use crate::watch::Watch;

/// How soon after a fault the intake has to acknowledge again.
const ACKNOWLEDGED: Duration = Duration::from_secs(5);

/// A case that held.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: Line,
    pub(crate) notes: Vec<String>,
    /// Requests of the load by what came back.
    pub(crate) answers: BTreeMap<Answered, u64>,
}

/// What must become of an acknowledged event that is not to be seen: of its id and
/// receipt, `None` where it is to be seen.
pub(crate) type Fate<'f> = dyn Fn(Uuid, &Receipt) -> Option<Outcome> + 'f;

impl Row {
    /// The same, with something more to be said.
    pub(crate) fn with(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }
}

impl Scene<'_> {
    /// Waits until what is sent now is acknowledged and stored; says how long that took
    /// since the fault ended.
    pub(crate) async fn recovered(&mut self) -> Result<Duration> {
        if let Some(recovered) = self.recovered {
            return Ok(recovered);
        }
        let began = self.fault_ended.unwrap_or_else(Instant::now);
        if let Ok(url) = self.intake_url(0)
            && self.options.rate > 0.0
        {
            let http = support::http().no_proxy().build()?;
            let probe = r#"{"trace_id":"probe","metric":"probe","value":1}"#;
            wait_until("the intake to acknowledge", async || {
                let request = http.post(format!("{url}/v1/feedback")).body(probe);
                let request = request.header("content-type", "application/json");
                let answer = request.timeout(ASK).send().await;
                Ok(answer.is_ok_and(|answer| answer.status() == 200))
            })
            .await?;
            self.acknowledged = Some(began.elapsed());
        }
        let ends = self.ends().await?;
        self.caught_up(&ends, PATIENCE).await?;
        Ok(*self.recovered.insert(began.elapsed()))
    }

    /// Waits until all is well, and counts. Nothing may be lost or seen twice.
    pub(crate) async fn judge(self) -> Result<Row> {
        self.judge_with(&|_, _| None).await
    }

    /// The same, and what clients saw of the intake must be as promised: with refusals,
    /// if the fault makes acknowledging impossible.
    pub(crate) async fn judge_watched(mut self, watch: Watch, must_refuse: bool) -> Result<Row> {
        // Until all is well again, and no longer.
        self.recovered().await.context("recover")?;
        let acknowledged = self.acknowledged.context("nobody was asked")?;
        // In the short form the machine has other things to do.
        ensure!(
            self.form == Form::Short || acknowledged < ACKNOWLEDGED,
            "the intake acknowledges again after {acknowledged:?} only"
        );
        let seconds = acknowledged.as_secs_f64();
        self.note(format!("acknowledged after {seconds:.1} s"));
        let seen = watch.end().await?;
        seen.judge(must_refuse)?;
        self.note(seen.to_string());
        self.judge().await
    }

    /// The same where the case makes some records dead or expired, on purpose: which,
    /// exactly.
    pub(crate) async fn judge_with(mut self, fate: &Fate<'_>) -> Result<Row> {
        let recovered = self.recovered().await.context("recover")?;
        let (sent, report) = self.end_load().await?;
        let sent = self.with_own(sent);
        let edits = match self.edits.take() {
            Some(edits) => Some(edits.finish().await?),
            None => None,
        };
        let ends = self.ends().await?;
        self.caught_up(&ends, PATIENCE).await?;
        let mut files = Vec::new();
        if let Some(edits) = &edits {
            self.folded(edits).await?;
            files.push(edits.acked.clone());
        }
        for part in self.intakes.iter_mut().chain(&mut self.sinks) {
            part.stop().await?;
        }
        let count = match &sent {
            Some(sent) => {
                files.extend(sent.acked.iter().cloned());
                let count = self.oracle()?.count(sent).await?;
                judge_count(&count, &sent.acked, fate)?;
                count
            }
            None => Count::default(),
        };
        let mut arguments = vec!["verify", "--deep"];
        for file in &files {
            arguments.extend(["--receipts", file.to_str().context("a path is text")?]);
        }
        self.tool(&arguments).await?;
        self.no_panics()?;
        if let Some(edits) = &edits {
            self.notes.push(format!("{} edited", edits.len()));
        }
        self.database.execute("DROP DATABASE {db} SYNC").await?;
        std::fs::remove_dir_all(&self.directory)?;
        Ok(Row {
            line: Line {
                name: self.name.to_owned(),
                count,
                recovered,
            },
            notes: self.notes,
            answers: report.answers,
        })
    }

    /// Ends the edits, and waits until readers see what they must.
    pub(crate) async fn end_edits(&mut self) -> Result<()> {
        let Some(edits) = self.edits.take() else {
            return Ok(());
        };
        let edits = edits.finish().await?;
        self.folded(&edits).await
    }

    /// Ends the load, waits until all of it is stored, and counts.
    pub(crate) async fn count(&mut self) -> Result<Count> {
        let (sent, _) = self.end_load().await?;
        let sent = sent.context("there is no load")?;
        let ends = self.ends().await?;
        self.caught_up(&ends, PATIENCE).await?;
        let count = self.oracle()?.count(&sent).await?;
        judge_count(&count, &sent.acked, &|_, _| None)?;
        Ok(count)
    }

    async fn end_load(&mut self) -> Result<(Option<Sent>, Report)> {
        Ok(match self.load.take() {
            Some(load) => {
                let (sent, report) = load.stop().await?;
                (Some(sent), report)
            }
            None => (None, Report::default()),
        })
    }

    /// The same, with what the case itself has sent.
    fn with_own(&self, load: Option<Sent>) -> Option<Sent> {
        let events = self.own.sent();
        if events == 0 {
            return load;
        }
        let mut sent = load.unwrap_or_else(|| Sent {
            events: 0,
            acked: Vec::new(),
            traces: TRACES.to_owned(),
        });
        sent.events += events;
        sent.acked.push(self.own.path().to_owned());
        Some(sent)
    }

    pub(crate) fn oracle(&self) -> Result<Oracle> {
        Oracle::new(&ClickhouseConfig {
            url: self.site.clickhouse_url(),
            database: self.database.name().to_owned(),
            ..ClickhouseConfig::default()
        })
    }

    /// Waits until every change has been folded. A patch that came before its feedback
    /// is tried again every second.
    async fn folded(&self, edits: &edits::Expected) -> Result<()> {
        let give_up = Instant::now() + support::DEADLINE;
        loop {
            match edits.check(&self.database).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= give_up => return Err(error),
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    fn no_panics(&self) -> Result<()> {
        for part in self.intakes.iter().chain(&self.sinks) {
            let log = part.log()?;
            let panicked = log.lines().find(|line| line.contains("panicked at"));
            ensure!(
                panicked.is_none(),
                "{}: {panicked:?}",
                part.log_path().display()
            );
        }
        Ok(())
    }
}

fn judge_count(count: &Count, acked: &[PathBuf], fate: &Fate<'_>) -> Result<()> {
    let problems = count.problems();
    ensure!(problems.is_empty(), "{}: {count:?}", problems.join("; "));
    ensure!(
        count.acknowledged > 0,
        "nothing was acknowledged: {count:?}"
    );
    let (mut dead, mut expired) = (0, 0);
    for file in acked {
        for line in std::fs::read_to_string(file)?.lines() {
            let (id, receipt) = line.split_once(' ').context("a line is `ID RECEIPT`")?;
            match fate(id.parse()?, &receipt.parse()?) {
                Some(Outcome::DeadLettered) => dead += 1,
                Some(Outcome::Expired) => expired += 1,
                _ => {}
            }
        }
    }
    ensure!(
        (count.dead, count.expired) == (dead, expired),
        "{dead} dead and {expired} expired were expected: {count:?}"
    );
    ensure!(
        count.visible + dead + expired == count.acknowledged,
        "what was acknowledged is not seen: {count:?}"
    );
    Ok(())
}
