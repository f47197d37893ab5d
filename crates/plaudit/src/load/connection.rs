//! One connection: a request at a time, and what became of each event of it.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use plaudit_client::{Answer, AnswerItem, Api, ItemStatus, Micros, Reply, RequestError, Wait};
use serde::Deserialize;
use tokio::time::Instant;

use super::acked::{Acked, Lines};
use super::encode::Batch;
use super::event::{Dialect, Event, Events};
use super::pace::Pace;
use super::report::{Answered, Report};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) events: Events,
    pub(crate) pace: Pace,
    pub(crate) acked: Option<Acked>,
    pub(crate) live: Live,
}

/// What can be seen while the load runs.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) accepted: AtomicU64,
    pub(crate) missing: AtomicU64,
}

/// One connection's state.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    wait: Wait,
    lines: Lines,
    report: Report,
}

/// The answer to a Portkey create; ids of the server's making, in input order.
#[derive(Deserialize)]
struct Created<'a> {
    #[serde(borrow)]
    feedback_ids: Vec<Cow<'a, str>>,
}

const PORTKEY_PATH: &str = "portkey/v1/feedback";

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, wait: Wait) -> Self {
        Self {
            shared,
            wait,
            lines: Lines::default(),
            report: Report::default(),
        }
    }

    /// Takes turns until there are none, and says what it saw.
    ///
    /// # Errors
    /// When an acknowledged id cannot be written down.
    pub(crate) async fn run(mut self) -> io::Result<Report> {
        let shared = Arc::clone(&self.shared);
        while let Some(turn) = shared.pace.turn() {
            let mut batch = Batch::new(&shared.events, turn.first, turn.count, now());
            let body = Bytes::from(std::mem::take(&mut batch.body));
            let Some(sent) = shared.pace.wait(&turn).await else {
                break;
            };
            let reply = self.request(body).await;
            let latency = sent.elapsed();
            self.settle(&batch.events, reply, latency)?;
        }
        self.report.elapsed = Instant::now() - shared.pace.start_time();
        Ok(self.report)
    }

    async fn request(&self, body: Bytes) -> Result<Reply, RequestError> {
        let api = &self.shared.api;
        match self.shared.events.dialect {
            Dialect::Native => api.post_feedback(body, self.wait).await,
            Dialect::Portkey => api.post(PORTKEY_PATH, body).await,
        }
    }

    fn settle(
        &mut self,
        events: &[Event],
        reply: Result<Reply, RequestError>,
        latency: Duration,
    ) -> io::Result<()> {
        let (before, hidden) = (self.report.accepted, self.report.not_visible);
        let settled = match &reply {
            Ok(reply) => self.answered(events, reply),
            Err(_) => Ok(()),
        };
        let accepted = self.report.accepted - before;
        match reply.as_ref().map_err(Answered::from) {
            Ok(reply) => self.count(Answered::Status(reply.status)),
            Err(answered) => self.count(answered),
        }
        if let Err(error) = reply.map(drop).and(settled) {
            self.failed(&error, events.len() as u64);
        }
        // A refusal that comes at once is no fast acknowledgement.
        if accepted > 0 && self.report.not_visible == hidden {
            self.time(latency);
        }
        let live = &self.shared.live;
        live.accepted.fetch_add(accepted, Ordering::Relaxed);
        live.missing
            .fetch_add(events.len() as u64 - accepted, Ordering::Relaxed);
        match &self.shared.acked {
            Some(acked) => acked.append(&mut self.lines),
            None => Ok(()),
        }
    }

    fn count(&mut self, answered: Answered) {
        *self.report.answers.entry(answered).or_default() += 1;
    }

    fn time(&mut self, latency: Duration) {
        match self.wait {
            Wait::Durable => self.report.ack.record(latency),
            Wait::Visible(_) => self.report.visible.record(latency),
        }
    }

    /// The request failed as a whole.
    fn failed(&mut self, error: &RequestError, events: u64) {
        if error.is_transient() {
            self.report.unconfirmed += events;
        } else {
            self.report.rejected += events;
        }
        self.report.fault(error.to_string(), events);
    }

    fn answered(&mut self, events: &[Event], reply: &Reply) -> Result<(), RequestError> {
        match self.shared.events.dialect {
            Dialect::Native => self.native(events, &reply.answer()?),
            Dialect::Portkey => self.portkey(events, &created(reply)?),
        }
        Ok(())
    }

    fn native(&mut self, events: &[Event], answer: &Answer<'_>) {
        let mut open = events.len() as u64;
        for item in &answer.items {
            let Some(event) = events.get(item.index) else {
                continue;
            };
            open = open.saturating_sub(1);
            match (item.status, &item.receipt) {
                (ItemStatus::Accepted, Some(receipt)) if item.id == Some(event.id) => {
                    self.lines.push(event.id, receipt);
                    self.accepted(event, item.index);
                    if matches!(self.wait, Wait::Visible(_)) && !is_readable(item) {
                        self.report.not_visible += 1;
                    }
                }
                (ItemStatus::Rejected, _) => {
                    self.report.rejected += 1;
                    let error = item.error.as_ref();
                    let code = error.map_or("without a code", |error| &error.code);
                    let field = error
                        .and_then(|error| error.field.as_deref())
                        .unwrap_or("-");
                    self.report.fault(format!("rejected: {code} ({field})"), 1);
                }
                (ItemStatus::Accepted, _) => {
                    self.report.unconfirmed += 1;
                    self.report
                        .fault("accepted without receipt, or as another id".to_owned(), 1);
                }
                _ => {
                    self.report.unconfirmed += 1;
                    self.report.fault("unconfirmed".to_owned(), 1);
                }
            }
        }
        if open > 0 {
            self.report.unconfirmed += open;
            self.report.fault("not in the answer".to_owned(), open);
        }
    }

    fn portkey(&mut self, events: &[Event], created: &Created<'_>) {
        let ids = created.feedback_ids.iter().map(|id| id.parse().ok());
        for (index, (event, id)) in events
            .iter()
            .zip(ids.chain(std::iter::repeat(None)))
            .enumerate()
        {
            if let Some(id) = id {
                self.lines.push(id, "-");
                self.accepted(&Event { id, ..*event }, index);
            } else {
                self.report.unconfirmed += 1;
                self.report.fault("not in the answer".to_owned(), 1);
            }
        }
    }

    fn accepted(&mut self, event: &Event, index: usize) {
        self.report.accept(event);
        if index == 0 {
            self.report.sample.see(event.id);
        }
    }
}

/// Whether a read finds the item, be it by this record or by an earlier one.
fn is_readable(item: &AnswerItem<'_>) -> bool {
    let state = item.state.as_deref();
    matches!(state, Some("visible" | "duplicate"))
}

fn created(reply: &Reply) -> Result<Created<'_>, RequestError> {
    match reply.status {
        200 => serde_json::from_slice(&reply.body).map_err(|source| RequestError::Malformed {
            status: reply.status,
            source,
        }),
        _ => Err(reply.refusal()),
    }
}

fn now() -> Micros {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
