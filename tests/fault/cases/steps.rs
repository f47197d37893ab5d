//! A crash between any two steps of a batch.
//!
//! The sink's requests to ClickHouse are the steps; a proxy stops one of them, the sink
//! gets a SIGKILL, and what it had sent is lost or has been carried out, as the point says.

use std::time::Duration;

use anyhow::{Context, Result};
use plaudit_event::{Outcome, Receipt};
use plaudit_kafka::Record;
use serde_json::json;
use support::wait_until;
use uuid::Uuid;

use super::{Case, case};
use crate::scene::{Options, Row, Scene, Stage};
use crate::tap::{Caught, Point, Tap, Trap};

pub(super) const CASES: &[Case] = &[
    case!(
        "crash-between-steps",
        crash,
        "kill -9 of the sink exactly before and after each request of a batch"
    ),
    case!(
        "crash-giving-up",
        crash_giving_up,
        "the same while it gives up a patch whose feedback does not come"
    ),
];

/// A place between two steps.
struct Between {
    name: &'static str,
    /// What the request has; `{db}` stands for the database.
    words: &'static [&'static str],
    point: Point,
    /// The request that comes before, where the words alone do not tell it.
    after: Option<&'static [&'static str]>,
}

const READ_BACK: &[&str] = &["SELECT DISTINCT partition, offset, id FROM {db}.feedback"];
const ROWS: &[&str] = &["INSERT INTO {db}.feedback "];
const CHANGES: &[&str] = &["INSERT INTO {db}.changes "];
const READ_CHANGES: &[&str] = &["FROM {db}.changes FINAL", "(project, id) IN"];
const LEDGER: &[&str] = &["INSERT INTO {db}.ledger "];

const PLACES: &[Between] = &[
    at("before the rows", ROWS, Point::Before),
    at("after the rows", ROWS, Point::After),
    // Rows without their ledger row are read back.
    at("after reading back", READ_BACK, Point::After),
    at("before the changes", CHANGES, Point::Before),
    at("after the changes", CHANGES, Point::After),
    at("after reading what to fold", READ_CHANGES, Point::After),
    Between {
        after: Some(READ_CHANGES),
        ..at("before the folds", ROWS, Point::Before)
    },
    Between {
        after: Some(READ_CHANGES),
        ..at("after the folds", ROWS, Point::After)
    },
    // The dead letters are confirmed by now.
    at("before the ledger", LEDGER, Point::Before),
    at("after the ledger", LEDGER, Point::After),
];

/// Each follows the ledger row that says that the patch waits.
const GIVING_UP: &[Between] = &[
    waiting("before the mark", CHANGES, Point::Before),
    waiting("after the mark", CHANGES, Point::After),
    // The dead letter is confirmed by now.
    waiting("before the ledger", LEDGER, Point::Before),
    waiting("after the ledger", LEDGER, Point::After),
];

const fn waiting(name: &'static str, words: &'static [&'static str], point: Point) -> Between {
    Between {
        after: Some(LEDGER),
        ..at(name, words, point)
    }
}

const fn at(name: &'static str, words: &'static [&'static str], point: Point) -> Between {
    Between {
        name,
        words,
        point,
        after: None,
    }
}

async fn crash(stage: &mut Stage) -> Result<Row> {
    let tap = Tap::start(stage.site.clickhouse_address).await?;
    let options = Options {
        rate: 500.0,
        sink_clickhouse_url: Some(tap.url()),
        ..Options::default()
    }
    // One batch at a time, so that its requests come one after the other.
    .with("sink.max_in_flight", 1)
    // The next life is the same member: its partitions are its own at once.
    .with("kafka.properties.group.instance.id", "one");
    let mut scene = Scene::set(stage, options).await?;
    scene.keep_copies().await?;
    scene.go_on(Duration::from_secs(1)).await;
    scene.sink(0)?.kill().await?;
    for round in 0..scene.form.pick(1, 2) {
        for place in PLACES {
            // Each batch has a dead letter.
            let stray = Record {
                payload: Some(b"no event"),
                ..Record::default()
            };
            scene.write(stray).await?;
            let trap = place.trap(&tap, scene.database.name());
            // Whatever it reads back was stored by its last life.
            scene.sink(0)?.launch().await?;
            let caught = place.caught(trap, &tap, scene.database.name()).await;
            let caught = caught.with_context(|| format!("round {round}, {}", place.name))?;
            scene.sink(0)?.kill().await?;
            drop(caught);
        }
    }
    scene.sink(0)?.launch().await?;
    scene.note(format!("{} places", PLACES.len()));
    scene.fault_ended();
    scene.judge().await
}

async fn crash_giving_up(stage: &mut Stage) -> Result<Row> {
    let tap = Tap::start(stage.site.clickhouse_address).await?;
    // Nothing else is written meanwhile: each request is the patch's.
    let options = Options {
        rate: 0.0,
        edits: false,
        sink_clickhouse_url: Some(tap.url()),
        ..Options::default()
    }
    .with("sink.changes.give_up_after", "500ms")
    .with("kafka.properties.group.instance.id", "one");
    let mut scene = Scene::set(stage, options).await?;
    let mut given_up = 0;
    for round in 0..scene.form.pick(1, 2) {
        for place in GIVING_UP {
            let trap = place.trap(&tap, scene.database.name());
            // Of a feedback that nobody has put.
            let patch = json!({"operation": "patch", "id": Uuid::now_v7(), "comment": "to nobody"});
            scene.post(&[patch]).await?;
            let caught = place.caught(trap, &tap, scene.database.name()).await;
            let caught = caught.with_context(|| format!("round {round}, {}", place.name))?;
            scene.sink(0)?.kill().await?;
            drop(caught);
            scene.sink(0)?.launch().await?;
            given_up += 1;
            wait_until("the patch to be given up", async || {
                let sql = "SELECT uniqExact(partition, offset) FROM {db}.ledger ARRAY JOIN \
                           range(toUInt64(first), toUInt64(last) + 1) AS offset \
                           WHERE outcome = 'dead_lettered' AND reason = 'no_feedback'";
                Ok(scene.database.number(sql).await? == given_up)
            })
            .await?;
        }
    }
    scene.note(format!("{} places", GIVING_UP.len()));
    scene.fault_ended();
    let dead = |_: Uuid, _: &Receipt| Some(Outcome::DeadLettered);
    scene.judge_with(&dead).await
}

impl Between {
    /// Waits for the request at this place, or for the one before.
    fn trap(&self, tap: &Tap, database: &str) -> Trap {
        match self.after {
            Some(before) => arm(tap, Point::After, before, database),
            None => arm(tap, self.point, self.words, database),
        }
    }

    /// The request at this place, standing still.
    async fn caught(&self, trap: Trap, tap: &Tap, database: &str) -> Result<Caught> {
        let caught = trap.caught().await?;
        if self.after.is_none() {
            return Ok(caught);
        }
        let trap = arm(tap, self.point, self.words, database);
        caught.pass();
        trap.caught().await
    }
}

fn arm(tap: &Tap, point: Point, words: &[&str], database: &str) -> Trap {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.replace("{db}", database))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    tap.trap(point, &words)
}
