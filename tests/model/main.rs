//! A model of how records get from the topic into ClickHouse, explored whole.
//!
//! It is the protocol alone: sinks, their steps, the tables, and everything that can
//! go wrong between two requests. It runs none of the sink's code; its steps bear the
//! same names. Not in it: time to live, records that left the log, topics made anew,
//! replicas, changes that cannot be folded, `rebuild`.
//!
//! `scenario` says what is asked, `state` what there is, `protocol` what can happen,
//! `carry_out`, `rows` and `fold` what a step does, `properties` what has to hold,
//! `mutation` what must not be done. A failure prints a way to it, action by action.
//! `PLAUDIT_MODEL=60` lets one more thing go wrong in every scenario, and explores
//! each for at most so many seconds.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::print_stdout,
    reason = "how much was explored is a part of the result"
)]

mod bits;
mod carry_out;
mod cases;
mod fold;
mod mutation;
mod properties;
mod protocol;
mod rows;
mod scenario;
mod state;
mod step;
mod tables;
mod work;
