//! `make bench`: what Plaudit does and costs, beside what the bare parts do and cost.
//!
//! One run starts a real broker and a real engine, and then floors and product in turns
//! on them, so that what a machine does to one it does to the other. CPU time an event,
//! from the kernel's counters, is the currency: it survives noisy machines. Ratios to the
//! floor of the same run are held against bars; absolute numbers say little elsewhere.
//!
//! - [`Stage`]: parts and processes; nothing of it outlives the run.
//! - [`hammer`]: the HTTP load, closed loop for throughput, open loop for latency.
//! - [`scenario`]: what is measured, one file a kind.
//! - [`report`]: lines, bars, the table.
//!
//! The floors are programs of `plaudit-floors`.

pub mod clickhouse;
pub mod feed;
pub mod fill;
pub mod hammer;
pub mod numbers;
pub mod process;
pub mod report;
pub mod results;
pub mod scenario;
mod service;
pub mod stage;

pub use service::Service;
pub use stage::{Bench, Scale, Space, Stage};

/// A client of plain HTTP, to be completed.
pub(crate) fn http() -> reqwest::ClientBuilder {
    plaudit_tls::Trust::nobody().http_client()
}

/// Writes one line of progress to standard error.
#[expect(
    clippy::print_stderr,
    reason = "progress; results go to standard output"
)]
pub fn say(line: impl std::fmt::Display) {
    eprintln!("{line}");
}
