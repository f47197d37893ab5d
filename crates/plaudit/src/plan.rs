//! `plaudit plan`: how much of everything a load needs.
//!
//! Arithmetic on what was measured, and no more: the measured costs are in `costs`, what
//! is assumed beside them is printed with the result. It asks nobody and starts nothing.
//!
//! All of it is in whole numbers (nanoseconds, bytes, thousandths of a core), rounded up.

mod costs;
mod need;
mod table;

use std::time::Duration;

use clap::Args;

use crate::console::print;
use need::Need;

/// Options of `plaudit plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanOptions {
    /// Events a second, on an average day
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    events_per_second: u64,
    /// Bytes of an event, as JSON
    #[arg(long, default_value_t = 300, value_name = "B", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    event_bytes: u64,
    /// How long feedback is kept
    #[arg(long, default_value = "90d", value_name = "T", value_parser = humantime::parse_duration)]
    retention: Duration,
    /// Events of a request: 1 where a click is a request, 100 where an SDK collects them
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    events_per_request: u64,
    /// The busiest minute, as a multiple of the average
    #[arg(long, default_value_t = 2, value_name = "X", value_parser = clap::value_parser!(u64).range(1..=100))]
    peak: u64,
}

/// Runs `plaudit plan`.
pub fn run(options: &PlanOptions) {
    print(table::text(options, &Need::of(options)).trim_end());
}
