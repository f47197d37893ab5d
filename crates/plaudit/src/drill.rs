//! `plaudit drill`: a fault on a running `plaudit up`, and what it cost.
//!
//! Feedback is sent all the while; when the fault is over and everything has caught up,
//! the oracle counts what became of each acknowledged id, and `plaudit verify` reads the
//! topic. What this drill sent is told from everything else by its traces.
//!
//! It is for a stack on one's own machine: it kills processes, and `poison` leaves dead
//! letters.
//!
//! The oracle and its table are public: every suite that breaks things counts by them.

mod harm;
mod oracle;
mod table;
mod topic;

pub use harm::Harm;
pub use oracle::{Count, Oracle, Sent};
pub use table::{Line, Table};

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use harm::Site;
use plaudit_client::{Api, Wait};
use plaudit_event::Receipt;
use plaudit_kafka::{Admin, Watermarks};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{Config, Sources};
use crate::console::{print, say};
use crate::load::{self, Acked, Dialect, Events, Extent, Lines, Plan, Random};
use crate::topic::ASK;
use crate::up::Found;
use crate::verify::{self, VerifyOptions};

/// Options of `plaudit drill`.
#[derive(Args, Clone, Debug)]
pub struct DrillOptions {
    /// The fault
    #[arg(value_enum)]
    harm: Harm,
    /// The directory of the running `plaudit up`
    #[arg(long, default_value = ".plaudit", value_name = "DIR")]
    dir: PathBuf,
    /// How often
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Chooses the random moments; the same seed chooses the same [default: a new one]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Events a second that are sent meanwhile
    #[arg(long, default_value_t = 1000, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The API key, where the stack asks for one: it has to write and to read
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
}

/// How long a part may take to be ready, and everything to catch up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Load before the fault, so that there is something to lose.
const BEFORE: Duration = Duration::from_secs(2);
/// The load ends with the fault, and by itself if that never ends.
const LONGEST: Duration = Duration::from_secs(3600);
/// One attempt to send and to read.
const ATTEMPT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// Runs `plaudit drill`.
///
/// # Errors
/// When no stack runs, when it does not work again, or when something was lost or is
/// seen twice.
pub async fn run(options: DrillOptions, sources: &Sources) -> anyhow::Result<()> {
    let stack = Found::in_directory(&options.dir)?;
    for member in options.harm.members() {
        if !stack.has(*member) {
            bail!(
                "{member} is no part of the stack in {}",
                options.dir.display()
            );
        }
    }
    let sources = stack.sources(sources)?;
    let config = Config::load(&sources)?;
    let site = Site {
        stack: &stack,
        sources: &sources,
        config: &config,
    };
    let seed = options.seed.unwrap_or_else(load::new_run);
    let name = options.harm.name();
    say(format_args!("{name}, seed {seed}: sending meanwhile"));
    let acked = options
        .dir
        .join(format!("drill-{}.txt", std::process::id()));
    let signal = plaudit_service::stop_signal().context("listen for signals")?;
    let drilled = tokio::select! {
        biased;
        () = signal => Err(anyhow::anyhow!("interrupted")),
        drilled = drill(&options, &site, seed, acked.clone()) => drilled,
    };
    let line = match drilled {
        Ok(line) => line,
        Err(error) => {
            // There is none where the load did not begin.
            std::fs::remove_file(&acked).ok();
            return Err(error);
        }
    };
    let problems = line.count.problems();
    print(Table { lines: vec![line] });
    say("reading the whole topic");
    verify::run(VerifyOptions::deep(acked.clone()), &sources).await?;
    std::fs::remove_file(&acked).context("remove the file of acknowledged ids")?;
    if !problems.is_empty() {
        bail!(problems.join("; "));
    }
    print("nothing is lost, nothing is seen twice");
    Ok(())
}

/// Sends, breaks, waits, counts.
async fn drill(
    options: &DrillOptions,
    site: &Site<'_>,
    seed: u64,
    acked: PathBuf,
) -> anyhow::Result<Line> {
    let config = site.config;
    site.stack.ready(PATIENCE).await?;
    let intake = format!("http://{}", config.intake.listen);
    let api = load::builder(&intake, options.api_key.as_deref()).build_api()?;
    let plan = plan(options, seed, acked.clone());
    let stop = CancellationToken::new();
    let load = load::drive(&plan, &api, stop.clone());
    let fault = async {
        // However it ends: the load has no end of its own.
        let _ended = stop.clone().drop_guard();
        sleep(BEFORE).await;
        let (mut random, mut dead) = (Random::new(seed, 0), Vec::new());
        for _ in 0..options.times {
            dead.extend(options.harm.inflict(site, &mut random).await?);
        }
        let over = Instant::now();
        readable(&api).await?;
        anyhow::Ok((over.elapsed(), dead))
    };
    let (report, fault) = tokio::join!(load, fault);
    let (report, (recovered, dead)) = (report?, fault?);
    say("waiting until the sink has caught up");
    caught_up(config).await?;
    // Counted with what was acknowledged, and not verified with it: they have no ids.
    let with_dead = acked.with_extension("dead");
    write_acked(&with_dead, &dead)?;
    let sent = Sent {
        events: report.sent() + dead.len() as u64,
        acked: vec![acked, with_dead.clone()],
        traces: load::trace_prefix(plan.events.run),
    };
    let counted = Oracle::new(&config.clickhouse)?.count(&sent).await;
    std::fs::remove_file(with_dead).context("remove the file of dead letters")?;
    Ok(Line {
        name: options.harm.name(),
        count: counted?,
        recovered,
    })
}

/// Receipts as a file of acknowledged ids: each with an id that nothing else has.
fn write_acked(file: &Path, receipts: &[Receipt]) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    for receipt in receipts {
        lines.push(Uuid::new_v4(), &receipt.to_string());
    }
    let mut write = || {
        let acked = Acked::create(file)?;
        acked.append(&mut lines)?;
        acked.flush()
    };
    write().with_context(|| format!("write {}", file.display()))
}

fn plan(options: &DrillOptions, seed: u64, acked: PathBuf) -> Plan {
    Plan {
        events: Events {
            seed,
            run: load::new_run(),
            traces: 1000,
            dialect: Dialect::Native,
        },
        extent: Extent::Duration(LONGEST),
        rate: Some(options.rate.into()),
        connections: 16,
        batch: NonZeroU64::new(20).unwrap_or(NonZeroU64::MIN),
        watchers: 0,
        acked: Some(acked),
        quiet: true,
    }
}

/// Sends one feedback, again and again, until it is acknowledged and can be read.
async fn readable(api: &Api) -> anyhow::Result<()> {
    const BODY: &[u8] = br#"{"trace_id":"drill","metric":"drill","value":true}"#;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answered = api.post_feedback(BODY.into(), Wait::Visible(ATTEMPT)).await;
        let answer = answered.as_ref().map(|reply| reply.answer());
        let seen = matches!(&answer, Ok(Ok(answer)) if answer.items.iter().all(|item| {
            matches!(item.state.as_deref(), Some("visible" | "duplicate"))
        }));
        if seen {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("{PATIENCE:?} after the fault a feedback still cannot be sent and read");
        }
        sleep(PAUSE).await;
    }
}

/// Waits until the sinks have committed all that the topic had when this began.
async fn caught_up(config: &Config) -> anyhow::Result<()> {
    let kafka = &config.kafka;
    let admin = Admin::new(kafka)?;
    let deadline = Instant::now() + PATIENCE;
    let mut logs = None;
    loop {
        // A broker that has just come back may not answer yet.
        let asked = async {
            if logs.is_none() {
                logs = Some(admin.watermarks(&kafka.topic, ASK).await?);
            }
            admin.committed(ASK).await
        };
        let why = match asked.await {
            Ok(committed) if all_committed(logs.as_deref().unwrap_or_default(), &committed) => {
                return Ok(());
            }
            Ok(_) => anyhow!("the sink is behind"),
            Err(error) => error.into(),
        };
        if Instant::now() >= deadline {
            return Err(why.context(format!("it has not caught up after {PATIENCE:?}")));
        }
        sleep(PAUSE).await;
    }
}

fn all_committed(logs: &[Watermarks], committed: &[(i32, Option<i64>)]) -> bool {
    logs.iter().filter(|log| log.high > log.low).all(|log| {
        let mut of = committed.iter().filter(|(of, _)| *of == log.partition);
        of.any(|(_, offset)| *offset >= Some(log.high))
    })
}
