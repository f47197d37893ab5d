//! The oracle's counts as a table: for the terminal, and for a document.

use std::fmt::{self, Write};
use std::time::Duration;

use super::oracle::Count;

/// One fault, what became of the load, and how long until all worked again.
#[derive(Clone, Debug)]
pub struct Line {
    /// The fault.
    pub name: String,
    /// What became of what was sent.
    pub count: Count,
    /// From the end of the fault until what is sent is acknowledged and can be read.
    pub recovered: Duration,
}

/// Lines under their headings. `Display` is for the terminal.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// A line a fault, in the order of the runs.
    pub lines: Vec<Line>,
}

const HEADINGS: [&str; 10] = [
    "sent",
    "acknowledged",
    "stored",
    "visible",
    "dead",
    "expired",
    "lost",
    "seen twice",
    "copies",
    "recovered",
];

impl Line {
    fn cells(&self) -> [String; 10] {
        let Count {
            sent,
            acknowledged,
            stored,
            visible,
            dead,
            expired,
            lost,
            unacknowledged: _,
            seen_twice,
            copies,
        } = self.count;
        [
            sent.to_string(),
            acknowledged.to_string(),
            stored.to_string(),
            visible.to_string(),
            dead.to_string(),
            expired.to_string(),
            lost.to_string(),
            seen_twice.to_string(),
            copies.to_string(),
            format!("{:.1} s", self.recovered.as_secs_f64()),
        ]
    }
}

impl Table {
    /// The same as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("| fault | {} |\n| --- |", HEADINGS.join(" | "));
        text += &" ---: |".repeat(HEADINGS.len());
        for line in &self.lines {
            // A String takes every write.
            write!(text, "\n| {} | {} |", line.name, line.cells().join(" | ")).ok();
        }
        text + "\n"
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.lines.iter().map(|line| line.name.len());
        let first = names.max().unwrap_or(0).max("fault".len());
        write!(f, "{:<first$}", "fault")?;
        for heading in HEADINGS {
            write!(f, "  {heading:>12}")?;
        }
        for line in &self.lines {
            write!(f, "\n{:<first$}", line.name)?;
            for cell in line.cells() {
                write!(f, "  {cell:>12}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            lines: vec![Line {
                name: "kill-sink".to_owned(),
                count: Count {
                    sent: 1200,
                    copies: 3,
                    ..Count::default()
                },
                recovered: Duration::from_millis(1250),
            }],
        }
    }

    #[test]
    fn every_cell_is_under_its_heading() {
        let text = table().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), lines[1].len());
        assert!(lines[1].ends_with("1.2 s") && lines[1].contains(" 1200 "));
    }

    #[test]
    fn a_row_of_markdown_has_as_many_cells_as_its_head() {
        let text = table().to_markdown();
        let cells: Vec<usize> = text.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(cells, [12, 12, 12]);
    }
}
