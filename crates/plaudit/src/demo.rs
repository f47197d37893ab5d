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
    /// Each load by itself, under its title.
    parts: Vec<(&'static str, Report)>,
    acked: Vec<PathBuf>,
    /// A trace with a few feedbacks.
    trace_id: String,
}

/// Few enough that a trace has several feedbacks.
const TRACES: u32 = 200;
/// Neither a hot one nor one that hardly anybody rated.
const SHOWN_TRACE: u32 = 66;

/// Runs the demo.
///
/// # Errors
/// When the stack cannot be had, or anything is not as it should be; the demo's
/// directory, with the logs, then stays.
pub async fn run(options: DemoOptions, sources: Sources) -> anyhow::Result<()> {
    let directory = options.dir.join(format!("demo-{}", std::process::id()));
    let signal = plaudit_service::stop_signal().context("listen for signals")?;
    let mut stack = Stack::prepare(UpOptions {
        parts: options
            .parts
            .clone()
            .unwrap_or_else(|| options.dir.join("parts")),
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
    let api = load::builder(&stack.url(Listener::Intake), None)
        .query_url(stack.url(Listener::Query))
        .build_api()?;
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
    print(table::latencies(&sent.parts));
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
    let (mut parts, mut acked) = (Vec::new(), Vec::new());
    let acts = acts(directory);
    let [_, batches, ..] = &acts;
    let trace_id = load::trace_id(batches.plan.events.run, SHOWN_TRACE);
    for Act { title, plan } in acts {
        say(format_args!("sending {title}"));
        let part = load::drive(&plan, api, CancellationToken::new()).await?;
        report.add(&part);
        parts.push((title, part));
        acked.extend(plan.acked);
    }
    Ok(Sent {
        report,
        parts,
        acked,
        trace_id,
    })
}

/// Batches, singles, and a vendor's API, after a warm-up.
fn acts(directory: &Path) -> [Act; 4] {
    let act = |title, name: &str, plan: Plan| Act {
        title,
        plan: Plan {
            acked: Some(directory.join(format!("acked-{name}.txt"))),
            ..plan
        },
    };
    [
        // By itself, since it pays for a cold broker.
        act(
            "200 events to warm up",
            "first",
            plan(4, Dialect::Native, 200, 10, 200),
        ),
        act(
            "3000 events, 20 a request",
            "batches",
            plan(1, Dialect::Native, 3000, 20, 1000),
        ),
        act(
            "600 events, one a request",
            "singles",
            plan(2, Dialect::Native, 600, 1, 200),
        ),
        act(
            "1000 events by the Portkey API",
            "portkey",
            plan(3, Dialect::Portkey, 1000, 10, 500),
        ),
    ]
}

/// A load at a rate that leaves any machine idle most of the time.
fn plan(seed: u64, dialect: Dialect, events: u32, batch: u64, per_second: u32) -> Plan {
    Plan {
        events: Events {
            seed,
            run: load::new_run(),
            traces: TRACES,
            dialect,
        },
        extent: Extent::Events(events.into()),
        rate: Some(per_second.into()),
        connections: 32,
        batch: NonZeroU64::new(batch).unwrap_or(NonZeroU64::MIN),
        watchers: if dialect == Dialect::Native { 16 } else { 0 },
        acked: None,
        quiet: true,
    }
}
