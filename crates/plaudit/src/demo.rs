//! `plaudit demo`: the whole path once, on real parts, and whether all of it agrees.
//!
//! It starts the local stack on free ports and in a directory of its own, sends
//! feedback over HTTP as three kinds of clients would, waits until every acknowledged
//! event can be read, and compares what was acknowledged with what the query API says
//! and with what ClickHouse itself counts. Then it stops everything.
//!
//! It is no benchmark: the rates are low, so that the latencies are those of an idle
//! machine. The invariant: it ends well only if acknowledged, visible and expected are
//! the same, metric by metric and id by id.
//!
//! Start at [`run`]; what is compared is in `evidence`, how it is shown in `table`.

mod evidence;
mod table;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use plaudit_client::Api;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Sources};
use crate::console::{print, say};
use crate::load::{self, Dialect, Events, Extent, Plan, Report};
use crate::up::{Listener, Member, Ports, Stack, UpOptions};
use evidence::Evidence;

/// Options of `plaudit demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoOptions {
    /// The directory of local state; the demo makes one of its own in it, and removes it
    #[arg(long, default_value = ".plaudit", value_name = "DIR")]
    dir: PathBuf,
    /// The directory of fetched parts [default: DIR/parts]
    #[arg(long, value_name = "PARTS")]
    parts: Option<PathBuf>,
    /// Leave the demo's directory where it is, with data and logs
    #[arg(long)]
    keep: bool,
}

/// One of the loads, and what it is called.
struct Act {
    title: &'static str,
    plan: Plan,
}

/// What the loads add up to.
struct Sent {
    report: Report,
    acked: Vec<PathBuf>,
    /// A trace with a few feedbacks.
    trace_id: String,
}

/// Few enough that a trace has several feedbacks.
const TRACES: u32 = 200;

/// Runs the demo.
///
/// # Errors
/// When the stack cannot be had, or anything is not as it should be; the demo's
/// directory, with the logs, then stays.
pub async fn run(options: DemoOptions, sources: Sources) -> anyhow::Result<()> {
    let directory = options.dir.join(format!("demo-{}", std::process::id()));
    let signal = plaudit_service::stop_signal().context("listen for signals")?;
    let mut stack = Stack::prepare(UpOptions {
        parts: options.parts.clone().unwrap_or_else(|| options.dir.join("parts")),
        directory: directory.clone(),
        ports: Ports::free(),
        members: Member::ALL.to_vec(),
        binary: std::env::current_exe()?,
        sources: sources.clone(),
    })
    .await?;
    say("starting Kafka, ClickHouse, intake, sink and query");
    let shown = tokio::select! {
        biased;
        () = signal => Err(anyhow::anyhow!("interrupted")),
        shown = show(&mut stack, &sources, &directory) => shown,
    };
    stack.stop().await;
    match shown {
        Ok(()) if !options.keep => {
            std::fs::remove_dir_all(&directory).context("remove the demo's directory")
        }
        Ok(()) => Ok(()),
        Err(error) => {
            say(format_args!("data and logs are in {}", directory.display()));
            Err(error)
        }
    }
}

/// Everything between start and stop.
async fn show(stack: &mut Stack, sources: &Sources, directory: &Path) -> anyhow::Result<()> {
    stack.start().await?;
    let config = Config::load(&sources.with(stack.settings()))?;
    let api = load::api(
        &stack.url(Listener::Intake),
        Some(&stack.url(Listener::Query)),
        None,
    )?;
    tokio::select! {
        biased;
        failure = stack.failed() => Err(failure.into()),
        done = send_and_compare(&api, &config, directory) => done,
    }
}

async fn send_and_compare(api: &Api, config: &Config, directory: &Path) -> anyhow::Result<()> {
    let sent = send(api, directory).await?;
    if let Some(shortfall) = sent.report.shortfall() {
        bail!(shortfall);
    }
    say("waiting until all of it can be read");
    let evidence = Evidence::gather(api, &config.clickhouse, &sent).await?;
    print(table::metrics(&sent.report, &evidence));
    print(table::trace(&evidence.trace));
    print(table::latencies(&sent.report));
    let problems = evidence.problems(&sent.report);
    if !problems.is_empty() {
        bail!("this does not agree: {}", problems.join("; "));
    }
    print(format_args!(
        "all {} acknowledged events are in ClickHouse exactly once, as they were sent",
        sent.report.accepted
    ));
    Ok(())
}

async fn send(api: &Api, directory: &Path) -> anyhow::Result<Sent> {
    let mut report = Report::default();
    let mut acked = Vec::new();
    let acts = acts(directory);
    let trace_id = acts.first().map(|act| load::trace_id(act.plan.events.run, TRACES - 1));
    for Act { title, plan } in acts {
        say(format_args!("sending {title}"));
        let part = load::drive(&plan, api, CancellationToken::new()).await?;
        report.add(part);
        acked.extend(plan.acked);
    }
    let trace_id = trace_id.context("choose a trace")?;
    Ok(Sent { report, acked, trace_id })
}

/// Batches, singles, and a vendor's API.
fn acts(directory: &Path) -> [Act; 3] {
    let act = |title, name: &str, dialect, events: u32, batch, per_second: u32, watchers| Act {
        title,
        plan: Plan {
            events: Events {
                seed: 1,
                run: load::new_run(),
                traces: TRACES,
                dialect,
            },
            extent: Extent::Events(events.into()),
            rate: Some(per_second.into()),
            connections: 8,
            batch: NonZeroU64::new(batch).unwrap_or(NonZeroU64::MIN),
            watchers,
            acked: Some(directory.join(format!("acked-{name}.txt"))),
            quiet: true,
        },
    };
    [
        act("3000 events, 20 a request", "batch", Dialect::Native, 3000, 20, 1000, 16),
        act("1000 events, one a request", "single", Dialect::Native, 1000, 1, 500, 16),
        act("1000 events to the Portkey API", "portkey", Dialect::Portkey, 1000, 10, 1000, 0),
    ]
}
