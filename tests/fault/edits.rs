//! Feedback that changes: put, patched, put again, taken back, reopened, in any order.
//!
//! Each script works on an id of its own, an operation at a time, and sends each until it
//! is acknowledged. So it knows what a reader must see at the end (**P4**):
//!
//! - Puts say when they were modified, so the latest of them counts in whatever order
//!   they are sent; and that time is long ago, so every patch applies to every put.
//! - Of patches the last one of each field counts.
//! - A retraction hides for good, also what is put later.
//! - A rating that is unset is not seen until it is set again (Humanloop's `unset`).
//!
//! A request without an answer may arrive later than the next one, since a frozen
//! intake still has it. Then both are right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plaudit_client::{Api, Client, RequestError, Uuid, Wait};
use serde_json::{Value, json};
use support::Database;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::random::Random;
use crate::receipts::Receipts;

/// Scripts that run.
#[derive(Debug)]
pub(crate) struct Edits {
    stop: CancellationToken,
    running: JoinSet<Result<Vec<Script>>>,
    acked: Arc<Receipts>,
    traces: String,
}

/// What a reader must see of each script's feedback.
#[derive(Debug)]
pub(crate) struct Expected {
    scripts: Vec<Script>,
    /// What their traces begin with, and no others'.
    traces: String,
    /// Every receipt, for `plaudit verify`.
    pub(crate) acked: PathBuf,
}

/// One feedback's life.
#[derive(Debug)]
struct Script {
    trace: String,
    id: Uuid,
    value: Field,
    comment: Field,
    /// The latest put by the time that it says: its number.
    put: Option<u64>,
    /// Whether the rating is set; `None` when either may be.
    is_set: Option<bool>,
    retracted: bool,
}

/// What a field may say after the patches so far; nothing where none set it.
#[derive(Debug, Default)]
struct Field {
    last: Option<String>,
    /// Of requests that were never answered.
    late: BTreeSet<String>,
}

/// One step of a script. Numbers make what they say unique.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Put(u64),
    PatchValue(u64),
    PatchComment(u64),
    Retract,
    Rate(u64),
    Unset,
}

/// Between two operations of a worker: some hundred operations a second in all.
const PACE: Duration = Duration::from_millis(40);
const WORKERS: usize = 4;
/// Before an operation that was not acknowledged is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// When puts say that they were modified: before all patches.
const MODIFIED: u64 = 1_700_000_000;
const RATINGS: &str = "humanloop/v4/feedback";

// === impl Edits ===

impl Edits {
    /// Begins; each worker stays with one intake.
    pub(crate) fn start(urls: &[String], random: &mut Random, directory: &Path) -> Result<Self> {
        let stop = CancellationToken::new();
        let acked = Arc::new(Receipts::create(directory, "acked-edits")?);
        let traces = format!("edit-{:08x}-", random.next() >> 32);
        let mut running = JoinSet::new();
        for (number, url) in (0..WORKERS).zip(urls.iter().cycle()) {
            let worker = Worker {
                api: Client::builder(url).build_api().context("make a client")?,
                random: Random::new(random.next()),
                traces: format!("{traces}{number}-"),
                acked: Arc::clone(&acked),
            };
            running.spawn(worker.work(stop.clone()));
        }
        Ok(Self {
            stop,
            running,
            acked,
            traces,
        })
    }

    /// Ends the scripts that have begun, and says what is expected.
    pub(crate) async fn finish(mut self) -> Result<Expected> {
        self.stop.cancel();
        let mut scripts = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            scripts.extend(ended??);
        }
        Ok(Expected {
            scripts,
            traces: self.traces,
            acked: self.acked.path().to_owned(),
        })
    }
}

// === impl Expected ===

impl Expected {
    /// How many feedbacks there are.
    pub(crate) fn len(&self) -> usize {
        self.scripts.len()
    }

    /// Whether readers see what they must.
    pub(crate) async fn check(&self, database: &Database) -> Result<()> {
        let sql = format!(
            "SELECT trace_id, value, comment FROM {{db}}.feedback_current \
             WHERE startsWith(trace_id, '{}')",
            self.traces
        );
        let mut seen: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for row in database.rows(&sql).await? {
            let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
            let says = (text("value").to_owned(), text("comment").to_owned());
            seen.entry(text("trace_id").to_owned())
                .or_default()
                .push(says);
        }
        let wrong = self.scripts.iter().filter_map(|script| {
            let rows = seen.remove(&script.trace).unwrap_or_default();
            (!script.allows(&rows)).then(|| format!("{script:?}: seen {rows:?}"))
        });
        let wrong: Vec<String> = wrong.collect();
        ensure!(
            wrong.is_empty(),
            "{} of {} feedbacks are not what was last said of them: {}",
            wrong.len(),
            self.len(),
            wrong.iter().take(3).cloned().collect::<Vec<_>>().join("; ")
        );
        ensure!(seen.is_empty(), "{} are seen that nobody sent", seen.len());
        Ok(())
    }
}

// === impl Script ===

impl Script {
    fn new(trace: String, random: &mut Random) -> Self {
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        Self {
            trace,
            id: uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid(),
            value: Field::default(),
            comment: Field::default(),
            put: None,
            is_set: Some(false),
            retracted: false,
        }
    }

    /// Takes note of an operation that was acknowledged; `late` says that an earlier
    /// attempt at it was never answered.
    fn note(&mut self, operation: Operation, late: bool) {
        match operation {
            Operation::Put(number) => self.put = self.put.max(Some(number)),
            Operation::PatchValue(number) => self.value.say(number.to_string(), late),
            Operation::PatchComment(number) => self.comment.say(comment(number), late),
            Operation::Retract => self.retracted = true,
            Operation::Rate(number) => {
                self.value.say(rating(number), late);
                self.is_set = Some(true).filter(|_| self.is_set.is_some() && !late);
            }
            Operation::Unset => {
                self.is_set = Some(false).filter(|_| self.is_set.is_some() && !late);
            }
        }
    }

    fn allows(&self, rows: &[(String, String)]) -> bool {
        let hidden = self.retracted || (self.put.is_none() && self.is_set == Some(false));
        match rows {
            [] => hidden || (self.put.is_none() && self.is_set.is_none()),
            [(value, comment)] => {
                let put = self.put.map(|number| number.to_string());
                let commented = self.put.map_or(String::new(), self::comment);
                !hidden
                    && self.value.allows(value, put.as_deref())
                    && self.comment.allows(comment, Some(&commented))
            }
            _ => false,
        }
    }
}

impl Field {
    fn say(&mut self, text: String, late: bool) {
        if late {
            self.late.insert(text.clone());
        }
        self.last = Some(text);
    }

    fn allows(&self, seen: &str, unpatched: Option<&str>) -> bool {
        self.last.as_deref().or(unpatched) == Some(seen) || self.late.contains(seen)
    }
}

/// What a put or a patch with this number says.
fn comment(number: u64) -> String {
    format!("comment {number}")
}

/// The value of a rating with this number, as JSON.
fn rating(number: u64) -> String {
    format!("\"r{number}\"")
}

// === the workers ===

struct Worker {
    api: Api,
    random: Random,
    /// What the traces of its scripts begin with.
    traces: String,
    acked: Arc<Receipts>,
}

impl Worker {
    async fn work(mut self, stop: CancellationToken) -> Result<Vec<Script>> {
        let mut scripts = Vec::new();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            // Two at a time, so that their operations are interleaved.
            let mut both = [self.script(scripts.len()), self.script(scripts.len() + 1)];
            while both.iter().any(|(_, operations)| !operations.is_empty()) {
                for (script, operations) in &mut both {
                    let Some(operation) = operations.pop() else {
                        continue;
                    };
                    pace.tick().await;
                    let late = self.carry_out(script, operation).await?;
                    script.note(operation, late);
                }
            }
            scripts.extend(both.map(|(script, _)| script));
        }
        Ok(scripts)
    }

    /// A new feedback and what is to be done to it, the last first.
    fn script(&mut self, count: usize) -> (Script, Vec<Operation>) {
        let trace = format!("{}{count}", self.traces);
        let script = Script::new(trace, &mut self.random);
        let steps = 2 + self.random.below(5);
        if self.random.below(4) == 0 {
            let rate = |number| match self.random.below(3) {
                0 => Operation::Unset,
                _ => Operation::Rate(number),
            };
            return (script, (1..=steps).map(rate).collect());
        }
        let mut operations: Vec<Operation> = (1..=steps)
            .map(|number| match self.random.below(8) {
                0 => Operation::Retract,
                1..3 => Operation::PatchValue(number),
                3..5 => Operation::PatchComment(number),
                _ => Operation::Put(number),
            })
            .collect();
        // A patch whose feedback never came would wait for a day.
        let place = self.random.index(operations.len());
        operations.insert(place, Operation::Put(steps + 1));
        if self.random.below(4) == 0 {
            let again = self.random.index(operations.len());
            operations.extend(operations.get(again).copied());
        }
        (script, operations)
    }

    /// Sends until it is acknowledged; says whether an attempt was never answered.
    async fn carry_out(&self, script: &Script, operation: Operation) -> Result<bool> {
        let (id, trace) = (script.id, &script.trace);
        let body = match operation {
            Operation::Put(number) => json!({
                "id": id, "trace_id": trace, "metric": "edit", "value": number,
                "comment": comment(number), "modified_at": modified(number)?,
            }),
            Operation::PatchValue(number) => {
                json!({"operation": "patch", "id": id, "value": number})
            }
            Operation::PatchComment(number) => {
                json!({"operation": "patch", "id": id, "comment": comment(number)})
            }
            Operation::Retract => json!({"operation": "retract", "id": id}),
            Operation::Rate(number) => json!({
                "type": "rating", "data_id": trace, "user": "u", "value": format!("r{number}"),
            }),
            Operation::Unset => json!({
                "type": "rating", "data_id": trace, "user": "u", "unset": true,
            }),
        };
        let is_rating = matches!(operation, Operation::Rate(_) | Operation::Unset);
        let body = bytes::Bytes::from(body.to_string());
        let mut late = false;
        loop {
            let reply = if is_rating {
                self.api.post(RATINGS, body.clone()).await
            } else {
                self.api.post_feedback(body.clone(), Wait::Durable).await
            };
            match reply {
                Ok(reply) if is_rating && reply.status == 200 => return Ok(late),
                Ok(reply) if !is_rating && self.acked.take(&reply)? == 1 => return Ok(late),
                Ok(reply) if matches!(reply.status, 400..429) => {
                    let text = String::from_utf8_lossy(&reply.body).into_owned();
                    bail!("{operation:?} is refused: {} {text}", reply.status);
                }
                Ok(_) | Err(RequestError::Connect(_)) => {}
                Err(_) => late = true,
            }
            sleep(AGAIN).await;
        }
    }
}

/// When the put of this number says that it was modified.
fn modified(number: u64) -> Result<String> {
    let seconds = i64::try_from(MODIFIED + number)?;
    Ok(plaudit_client::Micros(seconds * 1_000_000).to_string())
}
