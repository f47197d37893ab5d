//! What came of each disturbance, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use plaudit::drill::Count;
use plaudit::load::Answered;

/// One disturbance.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) count: Count,
    pub(crate) answers: BTreeMap<Answered, u64>,
    pub(crate) reads: BTreeMap<u16, u64>,
    pub(crate) took: Duration,
}

/// All of them, and what is said beside.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    notes: Vec<String>,
}

const HEADINGS: [&str; 8] = [
    "sent",
    "acknowledged",
    "stored",
    "duplicates",
    "5xx",
    "no answer",
    "lost",
    "took",
];

impl Row {
    /// Answers that say that it is our fault, to writers and to readers.
    pub(crate) fn failures(&self) -> u64 {
        let is_failure = |status: u16| (500..600).contains(&status);
        let written = self.answers.iter().filter(
            |(answered, _)| matches!(answered, Answered::Status(status) if is_failure(*status)),
        );
        let read = self.reads.iter().filter(|(status, _)| is_failure(**status));
        written.map(|(_, count)| count).sum::<u64>() + read.map(|(_, count)| count).sum::<u64>()
    }

    /// Requests whose connection broke, which a client sends again.
    fn unanswered(&self) -> u64 {
        let written = self.answers.iter();
        let written = written.filter(|(answered, _)| !matches!(answered, Answered::Status(_)));
        written.map(|(_, count)| count).sum::<u64>() + self.reads.get(&0).unwrap_or(&0)
    }

    fn cells(&self) -> [String; 8] {
        [
            self.count.sent.to_string(),
            self.count.acknowledged.to_string(),
            self.count.stored.to_string(),
            self.count.seen_twice.to_string(),
            self.failures().to_string(),
            self.unanswered().to_string(),
            self.count.lost.to_string(),
            format!("{:.1} s", self.took.as_secs_f64()),
        ]
    }
}

impl Table {
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.rows.iter().map(|row| row.name.len());
        let first = names.max().unwrap_or(0).max("Kubernetes".len());
        write!(f, "{:<first$}", "Kubernetes")?;
        for heading in HEADINGS {
            write!(f, "  {heading:>12}")?;
        }
        for row in &self.rows {
            write!(f, "\n{:<first$}", row.name)?;
            for cell in row.cells() {
                write!(f, "  {cell:>12}")?;
            }
        }
        for note in &self.notes {
            write!(f, "\n{note}")?;
        }
        Ok(())
    }
}
