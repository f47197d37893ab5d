//! `plaudit load`: realistic feedback from a seed, and what became of it.
//!
//! It measures requests, one by one, so it is built on the client's exchanges and not
//! on its queue: nothing is retried, and what was not accepted is said and counted.
//! It is no judge of the whole system: `--acked` writes down what was promised, for
//! whoever checks.
//!
//! The invariants: latency counts from the time at which a request was meant to leave,
//! so that a stall is seen by all the requests that it delays; and an id is in the file
//! only after its receipt.
//!
//! Start at [`drive`]; what is sent is in `event` and `encode`.

mod acked;
mod connection;
mod drive;
mod encode;
mod event;
mod options;
mod pace;
mod progress;
mod random;
mod report;
mod verify;

pub use drive::{Plan, drive};
pub use event::{Dialect, Events};
pub use options::LoadOptions;
pub use pace::Extent;
pub use report::{Answered, Latency, Report, Sample, Tally};

pub(crate) use acked::{Acked, Lines};
pub(crate) use encode::{trace_id, trace_prefix};
pub(crate) use options::{builder, run as new_run};
pub(crate) use random::Random;
pub(crate) use report::metric_order;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use crate::console::{print, say};

/// Runs `plaudit load`: until its end, or until a signal, then with the summary too.
///
/// # Errors
/// When anything was not accepted, or with `--verify` not readable, and which.
pub async fn run(options: LoadOptions) -> anyhow::Result<()> {
    let api = options.api()?;
    let stop = CancellationToken::new();
    let signal = plaudit_service::stop_signal().context("listen for signals")?;
    let plan = options.plan();
    let load = drive(&plan, &api, stop.clone());
    tokio::pin!(load);
    let report = tokio::select! {
        report = &mut load => report?,
        () = signal => {
            stop.cancel();
            load.await?
        }
    };
    if options.json {
        print(serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    if let Some(shortfall) = report.shortfall() {
        bail!(shortfall);
    }
    if report.not_visible > 0 {
        bail!(
            "{} acknowledged events were not readable in time",
            report.not_visible
        );
    }
    if options.verify {
        let ids = report.sample.ids();
        verify::verify(&api, ids).await?;
        say(format_args!(
            "{} acknowledged ids of {} looked up: all readable",
            ids.len(),
            report.accepted
        ));
    }
    Ok(())
}
