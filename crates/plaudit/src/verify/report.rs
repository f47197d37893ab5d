//! What a verification found, as text: a table, and what does not add up.

use std::fmt::Write;
use std::ops::Range;

use plaudit_event::Outcome;

use super::balance::Balance;
use super::deep::Proof;
use super::receipts::Receipts;

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) balances: Vec<Balance>,
    /// Offsets that have rows of their own.
    pub(super) with_rows: u64,
    /// Dead-lettered by the ledger, without a letter.
    pub(super) no_letters: Vec<(i32, i64)>,
    /// Dead-lettered by the ledger, and with a row that readers see.
    pub(super) dead_with_rows: Vec<(i32, i64)>,
    /// Ledgered, and beyond the end of the log.
    pub(super) beyond: Vec<(i32, Range<i64>)>,
    pub(super) receipts: Receipts,
    /// Acknowledged, and no offset of the topic.
    pub(super) no_offsets: Vec<(i32, i64)>,
    pub(super) proof: Option<Proof>,
}

/// The most offsets or ranges of one kind that are named.
const NAMED: usize = 20;

impl Report {
    /// One line a partition, then one line a source.
    pub(super) fn table(&self) -> String {
        let mut text = String::from(
            "partition        from         end      stored   duplicate  dead letter     expired     \
             pending   in flight        gaps\n",
        );
        let mut totals = [0; 7];
        for balance in &self.balances {
            let counts = counts(balance);
            for (total, count) in totals.iter_mut().zip(counts) {
                *total += count;
            }
            let span = balance.span;
            let name = format!(
                "{:>9}  {:>10}  {:>10}",
                span.partition, span.first, span.end
            );
            line(&mut text, &name, counts);
        }
        line(
            &mut text,
            &format!("{:>9}  {:>10}  {:>10}", "all", "", ""),
            totals,
        );
        // A String takes every write.
        writeln!(text, "offsets with rows of their own: {}", self.with_rows).ok();
        if self.receipts.acknowledged > 0 {
            let Receipts {
                acknowledged,
                without,
                of_others,
                ..
            } = &self.receipts;
            writeln!(
                text,
                "acknowledged: {acknowledged}, of them without a receipt: {without}, of other topics: {of_others}"
            )
            .ok();
        }
        if let Some(proof) = &self.proof {
            writeln!(
                text,
                "records read: {}; with rows of their own: {}, with rows of later versions: {}, \
                 changes: {}, past the retention: {}",
                proof.read, proof.own_rows, proof.later_rows, proof.changes, proof.too_old
            )
            .ok();
        }
        text
    }

    /// Everything that does not add up, a line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let gaps = self.balances.iter().flat_map(|balance| {
            let partition = balance.span.partition;
            balance.gaps.ranges().map(move |gap| (partition, gap))
        });
        named(&mut problems, gaps, |(partition, gap)| {
            format!(
                "{} committed and without an outcome; `plaudit rebuild --partition {partition} \
                 --from {} --to {}` stores them again",
                described(partition, &gap),
                gap.start,
                gap.end
            )
        });
        named(&mut problems, self.beyond.iter(), |(partition, range)| {
            format!(
                "{} in the ledger and not in the log: the topic was made anew",
                described(*partition, range)
            )
        });
        let mut places = |places: &[(i32, i64)], what: &str| {
            named(&mut problems, places.iter(), |(partition, offset)| {
                format!("partition {partition}, offset {offset}: {what}")
            });
        };
        places(&self.no_offsets, "acknowledged, and no offset of the topic");
        places(&self.no_letters, "dead-lettered, and without its letter");
        places(&self.dead_with_rows, "dead-lettered, and has a row");
        if let Some(proof) = &self.proof {
            places(&proof.missing, "stored by the ledger, and not there");
            places(&proof.other_ids, "has another id than was acknowledged");
        }
        if self.receipts.twice > 0 {
            problems.push(format!(
                "{} receipts were acknowledged more than once",
                self.receipts.twice
            ));
        }
        problems
    }
}

fn counts(balance: &Balance) -> [u64; 7] {
    [
        balance.count(Outcome::Stored),
        balance.count(Outcome::Duplicate),
        balance.count(Outcome::DeadLettered),
        balance.count(Outcome::Expired),
        balance.count(Outcome::Pending),
        balance.in_flight.len(),
        balance.gaps.len(),
    ]
}

fn line(text: &mut String, name: &str, counts: [u64; 7]) {
    text.push_str(name);
    for (count, width) in counts.into_iter().zip([10, 10, 11, 10, 10, 10, 10]) {
        write!(text, "  {count:>width$}").ok();
    }
    text.push('\n');
}

/// Adds a line for each, or for the first few and one for the others.
fn named<T>(
    problems: &mut Vec<String>,
    found: impl Iterator<Item = T>,
    line: impl Fn(T) -> String,
) {
    let mut further = 0_u64;
    for (number, one) in found.enumerate() {
        if number < NAMED {
            problems.push(line(one));
        } else {
            further += 1;
        }
    }
    if further > 0 {
        problems.push(format!("and {further} more of this kind"));
    }
}

fn described(partition: i32, range: &Range<i64>) -> String {
    format!(
        "partition {partition}, offsets {} to {} ({}):",
        range.start,
        range.end - 1,
        range.end - range.start
    )
}
