//! What the runner says: a line when a case ends, and one table at the end.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use plaudit::drill::Table;

use crate::cases::Case;
use crate::scene::Row;

/// The cases so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    table: Table,
    /// What is said beside the counts: the case, and what.
    notes: Vec<(&'static str, String)>,
    failures: Vec<(&'static str, String)>,
    took: Duration,
}

/// How a case ended.
pub(crate) enum Outcome {
    /// As it must.
    Held(Box<Row>),
    /// Otherwise; its logs are there.
    Failed(anyhow::Error, PathBuf),
}

impl Report {
    pub(crate) fn add(&mut self, case: &Case, outcome: Outcome, took: Duration) {
        self.took += took;
        let seconds = took.as_secs_f64();
        match outcome {
            Outcome::Held(row) => {
                let answers = row.answers.iter();
                let answers: Vec<String> = answers
                    .map(|(answered, requests)| format!("{requests} × {answered}"))
                    .collect();
                let notes = row.notes.join(", ");
                say(&format!(
                    "ok    {} in {seconds:.1} s: recovered in {:.1} s, {notes} (requests: {})",
                    case.name,
                    row.line.recovered.as_secs_f64(),
                    answers.join(", ")
                ));
                self.table.lines.push(row.line);
                self.notes.push((case.name, notes));
            }
            Outcome::Failed(error, logs) => {
                let text = format!("{error:#}\n      logs: {}", logs.display());
                say(&format!("FAIL  {} in {seconds:.1} s: {text}", case.name));
                self.failures.push((case.name, text));
            }
        }
    }

    pub(crate) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// The table, and what failed.
    pub(crate) fn print(&self, seed: u64) {
        let seconds = self.took.as_secs();
        say(&format!("\n{}\n", self.table));
        for (name, text) in &self.failures {
            say(&format!("FAIL  {name}: {text}"));
        }
        say(&format!(
            "{} held, {} failed, in {seconds} s, --seed {seed}",
            self.table.lines.len(),
            self.failed()
        ));
    }

    /// The table and the notes, for a document.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = self.table.to_markdown();
        for (name, notes) in self.notes.iter().filter(|(_, notes)| !notes.is_empty()) {
            // A String takes every write.
            write!(text, "\n- {name}: {notes}").ok();
        }
        text + "\n"
    }
}

/// Puts a failed case's logs, and those of the shared parts, where they stay.
pub(crate) fn keep_logs(site: &Path, case: &str) -> Result<PathBuf> {
    let kept = site.with_file_name(format!("failed-{case}"));
    if kept.exists() {
        std::fs::remove_dir_all(&kept)?;
    }
    std::fs::create_dir_all(&kept)?;
    let own = site.join(case);
    if own.is_dir() {
        for entry in std::fs::read_dir(&own)? {
            let path = entry?.path();
            if let Some(name) = path.file_name().filter(|_| path.is_file()) {
                std::fs::copy(&path, kept.join(name))?;
            }
        }
    }
    for (log, name) in [
        ("kafka/log", "kafka.log"),
        ("clickhouse.out", "clickhouse.out"),
        ("clickhouse/clickhouse.log", "clickhouse.log"),
    ] {
        let path = site.join(log);
        if path.is_file() {
            std::fs::copy(path, kept.join(name))?;
        }
    }
    Ok(kept)
}

#[expect(clippy::print_stdout, reason = "the runner's own output")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
