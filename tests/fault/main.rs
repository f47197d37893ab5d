//! Faults, one after another, on the built binary, a real broker and a real engine.
//!
//! Each case starts services of its own, sends feedback all the while and knows every id
//! and every answer, breaks something, and waits until all is well again. Then the
//! oracle counts (`plaudit::drill`), what was changed is looked at (`edits`), and
//! `plaudit verify --deep` must agree: nothing acknowledged is lost (**P1**, **P2**),
//! nothing is seen twice (**P3**), the later one wins (**P4**).
//!
//! `cargo test --test fault` runs the short form, with `-- --long` the long one. It has a
//! runner of its own: the cases break what they share. A part that cannot be had is a
//! failure, never a skip. Whatever happens, no process or mount is left behind, and no
//! directory but the logs of a case that failed.

mod arguments;
mod cases;
mod edits;
mod flood;
mod load;
mod namespace;
mod part;
mod random;
mod receipts;
mod report;
mod scene;
mod site;
mod tap;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use tokio::time::{Instant, timeout};

use arguments::Arguments;
use cases::Case;
use random::Random;
use report::{Outcome, Report, say};
use scene::{Form, Stage};
use site::Site;

/// What is promised for the long form, with its parts' start and end.
const LONG: Duration = Duration::from_secs(1800);

/// Far beyond what a case takes: the longest is twelve minutes.
const CASE: Duration = Duration::from_secs(1500);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let chosen = cases::ALL.iter().copied().flatten();
    let mut chosen: Vec<&Case> = chosen.filter(|case| arguments.choose(case.name)).collect();
    if arguments.cases.is_empty() && !arguments.long && !arguments.list {
        chosen.retain(|case| !cases::LONG_ONLY.contains(&case.name));
        let left = cases::LONG_ONLY.join(", ");
        say(&format!("left to the long form: {left}"));
    }
    if arguments.list {
        for case in chosen {
            say(&format!("{}: {}", case.name, case.about));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if chosen.is_empty() {
        // `cargo test NAME` offers the name to every test program.
        say("no case is called that: see --list");
        return Ok(if arguments.long || arguments.table.is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = plaudit_service::stop_signal()?;
        tokio::select! {
            code = run_all(&chosen, &arguments) => code,
            // Dropping the parts kills them.
            () = stop => Ok(ExitCode::FAILURE),
        }
    })
}

async fn run_all(chosen: &[&Case], arguments: &Arguments) -> Result<ExitCode> {
    let seed = arguments
        .seed
        .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 32);
    let form = if arguments.long {
        Form::Long
    } else {
        Form::Short
    };
    say(&format!("{} cases, --seed {seed}", chosen.len()));
    let began = Instant::now();
    let mut stage = Stage {
        site: Site::start().await.context("start broker and engine")?,
        form,
        random: Random::new(seed),
        name: "",
    };
    let mut report = Report::default();
    for case in chosen {
        stage.name = case.name;
        stage.random = Random::of(seed, case.name);
        let began = Instant::now();
        let result = timeout(CASE, (case.run)(&mut stage)).await;
        let result = result.unwrap_or_else(|_| Err(anyhow!("it does not end")));
        let outcome = match result {
            Ok(row) => Outcome::Held(Box::new(row)),
            Err(error) => {
                let logs = report::keep_logs(&stage.site.directory, case.name)?;
                Outcome::Failed(error, logs)
            }
        };
        report.add(case, outcome, began.elapsed());
    }
    stage.site.end().await?;
    report.print(seed);
    if let Some(file) = &arguments.table {
        std::fs::write(file, report.to_markdown())?;
    }
    let took = began.elapsed();
    let overran = form == Form::Long && took > LONG;
    if overran {
        say(&format!("FAIL  {took:.0?} in all: {LONG:?} are promised"));
    }
    Ok(if report.failed() == 0 && !overran {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
