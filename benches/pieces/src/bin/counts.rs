//! How many instructions each piece of an event's way takes, held against the counts
//! that are committed.
//!
//! ```text
//! cargo run --profile counts -p plaudit-pieces            # check
//! cargo run --profile counts -p plaudit-pieces -- bless   # write them anew
//! ```
//!
//! Valgrind's callgrind runs this program and counts inside [`measured`] only. A count is
//! the same on a busy machine and on an idle one, so it can fail a build where a time
//! could not. It is no time: a cache miss counts as much as an addition.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use plaudit_pieces::{self as pieces, Piece};

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Compare with the committed counts; ends with 1 if one has risen (the default)
    Check,
    /// Write the counts anew
    Bless,
    /// Run one piece, for callgrind to count
    #[command(hide = true)]
    Measure { name: String },
}

/// Instructions an event, by piece.
type Counts = BTreeMap<String, u64>;

/// Runs before counting: caches of the allocator, tables that are made once.
const WARM: u32 = 20;
/// Runs that are counted.
const RUNS: u32 = 20;
/// A count may rise by so many percent.
const TOLERANCE: u64 = 5;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.toml");

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> anyhow::Result<ExitCode> {
    let task = Options::parse().task.unwrap_or(Task::Check);
    if let Task::Measure { name } = task {
        measure(&name)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !cfg!(target_arch = "x86_64") {
        bail!("the committed counts are those of x86_64: there is nothing to compare with here");
    }
    let counts = count_all()?;
    if matches!(task, Task::Bless) {
        std::fs::write(FILE, written(&counts)).context("write the counts")?;
        return Ok(ExitCode::SUCCESS);
    }
    let committed = std::fs::read_to_string(FILE).context("read the committed counts")?;
    let committed: Counts = toml::from_str(&committed).context("read the committed counts")?;
    println!(
        "{:<20} {:>12} {:>12}  change",
        "instructions/event", "committed", "now"
    );
    for (name, now) in &counts {
        if let Some(before) = committed.get(name) {
            let change = change(*before, *now);
            println!("{name:<20} {before:>12} {now:>12}  {change:+.1} %");
        }
    }
    let problems = problems(&committed, &counts);
    if problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{}: find out why, or commit the new counts with the reason (make counts-bless)",
        problems.join("; ")
    );
    Ok(ExitCode::FAILURE)
}

/// What has risen, by more than it may, and what is in one of the two only.
fn problems(committed: &Counts, counts: &Counts) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, &now) in counts {
        match committed.get(name) {
            Some(&before) if now * 100 > before * (100 + TOLERANCE) => {
                problems.push(format!("{name} takes {:+.1} %", change(before, now)));
            }
            Some(_) => {}
            None => problems.push(format!("{name} has no committed count")),
        }
    }
    let gone = committed.keys().filter(|name| !counts.contains_key(*name));
    problems.extend(gone.map(|name| format!("{name} is committed and is no piece")));
    problems
}

/// What callgrind counts: nothing but the piece.
#[inline(never)]
fn measured(piece: &mut Piece) {
    piece.run();
}

fn measure(name: &str) -> anyhow::Result<()> {
    let mut pieces = pieces::all();
    let found = pieces.iter_mut().find(|piece| piece.name == name);
    let piece = found.with_context(|| format!("no piece is called {name}"))?;
    (0..WARM).for_each(|_| piece.run());
    (0..RUNS).for_each(|_| measured(piece));
    Ok(())
}

fn count_all() -> anyhow::Result<Counts> {
    pieces::all()
        .iter()
        .map(|piece| Ok((piece.name.clone(), count(piece)?)))
        .collect()
}

/// Runs a piece under callgrind; returns its instructions an event.
fn count(piece: &Piece) -> anyhow::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*measured*"])
        .arg(std::env::current_exe()?)
        .args(["measure", &piece.name])
        // The sizes of the environment and of paths shift the stack.
        .env_clear()
        .current_dir(Path::new("/"));
    let output = valgrind
        .output()
        .context("run valgrind: is it installed?")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("valgrind fails on {}: {text}", piece.name);
    }
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse::<u64>().ok())
        .filter(|count| *count > 0)
        .with_context(|| format!("valgrind counted nothing of {}: {text}", piece.name))?;
    Ok(collected / u64::from(RUNS) / u64::from(piece.events))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn change(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

fn written(counts: &Counts) -> String {
    let lines = counts
        .iter()
        .map(|(name, count)| format!("\"{name}\" = {count}\n"));
    let head = "# Instructions an event by piece, counted by callgrind on x86_64: `make counts`.\n\
                # A change that raises one by more than 5 % changes it here, and says why.\n";
    head.to_owned() + &lines.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        let own = |(name, count): &(&str, u64)| ((*name).to_owned(), *count);
        counts.iter().map(own).collect()
    }

    #[test]
    fn a_count_may_rise_by_five_percent_and_no_more() {
        let committed = counts(&[("a", 1000), ("b", 1000)]);
        let good = counts(&[("a", 1050), ("b", 10)]);
        assert_eq!(problems(&committed, &good), [""; 0]);
        let bad = problems(&committed, &counts(&[("a", 1051), ("b", 1000)]));
        assert_eq!(bad, ["a takes +5.1 %"]);
    }

    #[test]
    fn a_piece_comes_and_goes_with_its_count() {
        let found = problems(&counts(&[("old", 1)]), &counts(&[("new", 1)]));
        let expected = [
            "new has no committed count",
            "old is committed and is no piece",
        ];
        assert_eq!(found, expected);
    }
}
