//! What came of each disturbance, and whether it may be so: as a table of Markdown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use plaudit::drill::Count;
use plaudit::load::Answered;

use crate::traffic::Ended;

/// One disturbance.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    count: Count,
    answers: BTreeMap<Answered, u64>,
    reads: BTreeMap<u16, u64>,
    took: Duration,
}

/// All of them, and what is said beside.
#[derive(Debug)]
pub(crate) struct Table {
    of: &'static str,
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// What may be answered while something is disturbed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failures {
    /// No 5xx, and an answer to every request.
    None,
    /// What was killed is not there.
    Some,
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
    pub(crate) fn new(name: &str, count: Count, ended: Ended, took: Duration) -> Self {
        Self {
            name: name.to_owned(),
            count,
            answers: ended.answers,
            reads: ended.reads,
            took,
        }
    }

    /// Nothing is lost, nothing is seen twice, and all that was acknowledged is seen.
    fn judge(&self, may_fail: Failures) -> Result<()> {
        let Self {
            name,
            count,
            answers,
            reads,
            ..
        } = self;
        let problems = count.problems().join("; ");
        ensure!(problems.is_empty(), "{name}: {problems}: {count:?}");
        ensure!(
            count.visible == count.acknowledged,
            "{name}: what was acknowledged is not seen: {count:?}"
        );
        ensure!(
            may_fail == Failures::Some || self.failures() == 0,
            "{name}: {} answers were 5xx: {answers:?}, reads {reads:?}",
            self.failures()
        );
        ensure!(
            may_fail == Failures::Some || self.unanswered() == 0,
            "{name}: {} requests had no answer: {answers:?}, reads {reads:?}",
            self.unanswered()
        );
        Ok(())
    }

    /// Answers that say that it is our fault, to writers and to readers.
    fn failures(&self) -> u64 {
        let is_failure = |status: u16| (500..600).contains(&status);
        let written = self.answers.iter().filter(
            |(answered, _)| matches!(answered, Answered::Status(status) if is_failure(*status)),
        );
        let read = self.reads.iter().filter(|(status, _)| is_failure(**status));
        written.map(|(_, count)| count).sum::<u64>() + read.map(|(_, count)| count).sum::<u64>()
    }

    /// Requests whose connection broke. A client sends them again, and still nobody who drains
    /// breaks one.
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
    pub(crate) fn of(of: &'static str) -> Self {
        Self {
            of,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// How many disturbances there are so far.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Judges what came of one, and keeps it.
    ///
    /// # Errors
    /// With what must not be.
    pub(crate) fn add(&mut self, row: Row, may_fail: Failures) -> Result<()> {
        row.judge(may_fail)?;
        self.rows.push(row);
        Ok(())
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.rows.iter().map(|row| row.name.len());
        let first = names.max().unwrap_or(0).max(self.of.len());
        write!(f, "| {:<first$} |", self.of)?;
        for heading in HEADINGS {
            write!(f, " {heading:>12} |")?;
        }
        write!(f, "\n| {:-<first$} |", "")?;
        for _ in HEADINGS {
            write!(f, " {:->11}: |", "")?;
        }
        for row in &self.rows {
            write!(f, "\n| {:<first$} |", row.name)?;
            for cell in row.cells() {
                write!(f, " {cell:>12} |")?;
            }
        }
        let mut between = "\n\n";
        for note in &self.notes {
            write!(f, "{between}- {note}")?;
            between = "\n";
        }
        Ok(())
    }
}
