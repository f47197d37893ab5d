//! What the scenarios found: lines of numbers, and bars that are held or missed.

use std::fmt::Write as _;

use serde::Serialize;

use crate::numbers::Numbers;

/// All of it, scenario by scenario.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Numbers.
    pub lines: Vec<Line>,
    /// Promises about them.
    pub bars: Vec<Bar>,
}

/// The numbers of one subject in one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The scenario.
    pub scenario: String,
    /// Who was measured.
    pub subject: String,
    /// Events a second by those of the scenario's floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_floor: Option<f64>,
    /// What was measured.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// A promise about a number.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// What is measured.
    pub what: String,
    /// What it came to; absent when it could not be measured.
    pub measured: Option<f64>,
    /// The bar.
    pub bar: f64,
    /// On which side of it the number has to be.
    pub side: Side,
    /// Whether it is.
    pub held: bool,
}

/// The side of a bar.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// No less.
    AtLeast,
    /// No more.
    AtMost,
    /// Less.
    Below,
}

/// A subject with this name is what the others are compared with.
pub const FLOOR: &str = "floor";

impl Report {
    /// Adds the numbers of a scenario's subject. The floor comes first.
    pub fn line(&mut self, scenario: &str, subject: &str, numbers: Numbers) {
        let floor = self
            .lines
            .iter()
            .find(|line| line.scenario == scenario && line.subject == FLOOR)
            .and_then(|line| line.numbers.events_per_second);
        let of_floor = numbers.events_per_second.zip(floor);
        self.lines.push(Line {
            scenario: scenario.to_owned(),
            subject: subject.to_owned(),
            of_floor: of_floor.map(|(own, floor)| own / floor),
            numbers,
        });
    }

    /// Holds a number against a bar.
    pub fn bar(&mut self, what: impl Into<String>, measured: f64, side: Side, bar: f64) {
        let held = match side {
            Side::AtLeast => measured >= bar,
            Side::AtMost => measured <= bar,
            Side::Below => measured < bar,
        };
        self.bars.push(Bar {
            what: what.into(),
            measured: measured.is_finite().then_some(measured),
            bar,
            side,
            held,
        });
    }

    /// How many bars are held.
    pub fn held(&self) -> usize {
        self.bars.iter().filter(|bar| bar.held).count()
    }

    /// Whether all are.
    pub fn all_held(&self) -> bool {
        self.held() == self.bars.len()
    }

    /// The last line.
    pub fn verdict(&self) -> String {
        format!("{} of {} bars held", self.held(), self.bars.len())
    }

    /// Both tables, in Markdown.
    pub fn tables(&self) -> String {
        let head = [
            "scenario",
            "subject",
            "events/s",
            "of floor",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "CPU µs/event",
            "peak MiB",
            "other",
        ];
        let lines = self.lines.iter().map(|line| {
            let numbers = &line.numbers;
            let named = |named: &std::collections::BTreeMap<&'static str, f64>| {
                let each = named
                    .iter()
                    .map(|(name, n)| format!("{name} {}", shown(*n)));
                each.collect::<Vec<_>>().join(", ")
            };
            vec![
                line.scenario.clone(),
                line.subject.clone(),
                maybe(numbers.events_per_second),
                line.of_floor
                    .map_or_else(String::new, |of| format!("{of:.2}")),
                maybe(numbers.requests_per_second),
                maybe(numbers.p50_ms),
                maybe(numbers.p99_ms),
                maybe(numbers.p999_ms),
                named(&numbers.cpu_us),
                named(&numbers.peak_mib),
                named(&numbers.other),
            ]
        });
        let bars = self.bars.iter().map(|bar| {
            let side = match bar.side {
                Side::AtLeast => "at least",
                Side::AtMost => "at most",
                Side::Below => "below",
            };
            vec![
                bar.what.clone(),
                bar.measured
                    .map_or_else(|| "not measured".to_owned(), shown),
                format!("{side} {}", shown(bar.bar)),
                if bar.held { "held" } else { "MISSED" }.to_owned(),
            ]
        });
        let numbers = table(&head, lines.collect());
        let bars = table(&["what", "measured", "bar", ""], bars.collect());
        format!("{numbers}\n{bars}")
    }
}

fn maybe(number: Option<f64>) -> String {
    number.map_or_else(String::new, shown)
}

/// Three digits that count; more say nothing.
fn shown(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{number:.digits$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// A Markdown table whose columns line up on a terminal too.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut all: Vec<Vec<String>> = vec![head.iter().map(|&text| text.to_owned()).collect()];
    all.extend(rows);
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for (index, row) in all.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            // A String takes every write.
            write!(text, "| {cell:width$} ").ok();
        }
        text.push_str("|\n");
        if index == 0 {
            let rules = widths
                .iter()
                .map(|width| format!("| {} ", "-".repeat(*width.max(&3))));
            text.extend(rules);
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_missed() {
        let mut report = Report::default();
        report.bar("a", f64::NAN, Side::AtMost, 1.0);
        report.bar("b", 1.0, Side::AtMost, 1.0);
        report.bar("c", 1.0, Side::Below, 1.0);
        assert_eq!(report.verdict(), "1 of 3 bars held");
        assert!(!report.all_held());
        assert!(report.tables().contains("not measured"));
    }

    #[test]
    fn a_line_is_compared_with_the_floor_of_its_scenario() {
        let rate = |rate| Numbers {
            events_per_second: Some(rate),
            ..Numbers::default()
        };
        let mut report = Report::default();
        report.line("one", FLOOR, rate(4.0));
        report.line("one", "plaudit", rate(3.0));
        report.line("two", "plaudit", rate(3.0));
        let of_floor: Vec<_> = report.lines.iter().map(|line| line.of_floor).collect();
        assert_eq!(of_floor, [None, Some(0.75), None]);
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        assert_eq!(shown(1_234_567.8), "1,234,568");
        assert_eq!(shown(12.345), "12.3");
        assert_eq!(shown(0.754), "0.75");
        assert_eq!(shown(999.9), "1,000");
    }
}
