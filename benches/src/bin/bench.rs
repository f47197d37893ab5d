//! `make bench` and `make soak`: measures, prints, and says which bars are held.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use plaudit_benches::report::{Report, Side};
use plaudit_benches::scenario::Scenario;
use plaudit_benches::stage::{Bench, Scale, Stage};
use plaudit_benches::{results, say};
use tokio::time::Instant;

/// Measures Plaudit beside the bare parts, on a real broker and a real engine.
#[derive(Parser)]
struct Options {
    /// These scenarios only
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SCENARIO,…")]
    only: Vec<Scenario>,
    /// Say which scenarios there are
    #[arg(long)]
    list: bool,
    /// To see that everything works: the numbers mean nothing
    #[arg(long, hide = true)]
    quick: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if options.list {
        for scenario in Scenario::of_a_run().chain(Scenario::APART) {
            print(format_args!("{:12} {}", scenario.name(), scenario.about()));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let directory = directory()?;
    let whole = options.only.is_empty() && !options.quick;
    let began = Instant::now();
    let report = tokio::select! {
        report = measure(&options, &directory) => report?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("listen for Ctrl-C")?;
            // What was started is tethered to us and goes with us.
            return Ok(ExitCode::FAILURE);
        }
    };
    let took = began.elapsed().as_secs();
    results::write(&directory, &command(&options), took, &report, whole)?;
    print(report.tables());
    print(report.verdict());
    Ok(if report.all_held() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(options: &Options, directory: &Path) -> anyhow::Result<Report> {
    let mut bench = Bench {
        stage: Stage::open(directory).await?,
        scale: if options.quick {
            Scale::QUICK
        } else {
            Scale::FULL
        },
        report: Report::default(),
    };
    let scenarios: Vec<Scenario> = match &options.only[..] {
        [] => Scenario::of_a_run().collect(),
        only => only.to_vec(),
    };
    for scenario in scenarios {
        let began = Instant::now();
        let ended = scenario.run(&mut bench).await;
        let seconds = began.elapsed().as_secs();
        say(format_args!("== {} took {seconds} s", scenario.name()));
        if let Err(error) = ended {
            say(format_args!("{}: {error:#}", scenario.name()));
            // What could not be measured is not held.
            let what = format!("{}: measured to its end", scenario.name());
            bench.report.bar(what, f64::NAN, Side::AtLeast, 1.0);
        }
    }
    let Bench { stage, report, .. } = bench;
    stage.close().await?;
    Ok(report)
}

/// Where results and data go: beside what cargo built.
fn directory() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("find the built programs")?;
    let target = this
        .ancestors()
        .nth(2)
        .context("find the target directory")?;
    Ok(target.join("bench"))
}

fn command(options: &Options) -> String {
    let names: Vec<String> = options
        .only
        .iter()
        .map(|scenario| scenario.name())
        .collect();
    match names.as_slice() {
        [] => "make bench".to_owned(),
        [soak] if soak == "soak" => "make soak".to_owned(),
        names => format!("make bench ONLY={}", names.join(",")),
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
fn print(line: impl std::fmt::Display) {
    println!("{line}");
}
