//! The cases, by name.

mod broker;
mod cluster;
mod disasters;
mod endurance;
mod engine;
mod freezes;
mod kills;
mod steps;
mod topic;

use std::pin::Pin;

use anyhow::Result;

use crate::scene::{Row, Stage};

/// One fault and what must hold after it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What is done, in a line.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Stage) -> Running<'_>,
}

/// A case under way.
pub(crate) type Running<'s> = Pin<Box<dyn Future<Output = Result<Row>> + 's>>;

/// All of them, in the order in which they run.
pub(crate) const ALL: &[&[Case]] = &[
    kills::CASES,
    freezes::CASES,
    engine::CASES,
    steps::CASES,
    topic::CASES,
    disasters::CASES,
    broker::CASES,
    endurance::CASES,
    cluster::CASES,
];

/// Those that the short form leaves out, which has six minutes: what they do for seconds,
/// others do too.
pub(crate) const LONG_ONLY: &[&str] = &[
    "sink-killed-often",
    "clickhouse-away-long",
    // A broker whose disk is full is gone as well; too few in sync is too few.
    "one-of-three-gone",
    "two-of-three-gone",
    "full-disk-of-two",
    "full-disk-of-one",
    // A frozen broker says nothing either, and is slower than a slow one.
    "broker-silent",
    "broker-slow",
    // In tests/integration, by services in the test's own process.
    "clickhouse-overloaded",
    "poison",
    "message-too-large",
    "retention-overtakes",
    "replay",
    "rebuild",
    // `crash-between-steps` is between more steps.
    "crash-giving-up",
    // A version that the clock sets back is the model's and the units' too; what tells that
    // a topic was made anew, the units'.
    "clock-back",
    "topic-made-anew",
];

/// A case of an `async fn(&mut Stage) -> Result<Row>`.
macro_rules! case {
    ($name:literal, $run:path, $about:literal) => {
        $crate::cases::Case {
            name: $name,
            about: $about,
            run: |stage| Box::pin($run(stage)),
        }
    };
}
use case;
