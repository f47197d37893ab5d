//! The tables in ClickHouse, and the dead-letter topic: what outlives every sink.
//!
//! A table is a set: a row that is inserted twice is there once, since no reader
//! tells the copies apart. What a merge may drop, it may drop at any time.

use plaudit_event::Outcome;

use crate::bits::Bits;
use crate::scenario::{Kind, Scenario};

/// A row's version: a put's time, and how many changes are folded in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Version {
    pub(crate) time: u8,
    pub(crate) changes: u8,
}

impl Version {
    /// A retraction's: nothing is later.
    pub(crate) const FINAL: Self = Self {
        time: u8::MAX,
        changes: u8::MAX,
    };
}

/// A row of `feedback`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Row {
    pub(crate) id: u8,
    pub(crate) trace: u8,
    pub(crate) version: Version,
    /// The put behind it, which says its offset.
    pub(crate) record: u8,
    pub(crate) fields: [u8; 2],
    pub(crate) is_deleted: bool,
}

/// More make more states than can be explored.
const MOST_RECORDS: usize = 6;

impl Row {
    /// Its id and trace.
    pub(crate) fn feedback(&self) -> (u8, u8) {
        (self.id, self.trace)
    }
}

/// What is in ClickHouse and in the dead-letter topic.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Tables {
    /// `feedback`, sorted; and whether the orders by metric and tag have the row.
    pub(crate) rows: Vec<(Row, bool)>,
    /// The feedbacks that `feedback_by_id` has.
    by_id: Bits,
    /// `changes`, by record.
    pub(crate) changes: Bits,
    /// Those of them that no fold applies any more.
    pub(crate) given_up: Bits,
    /// Those whose feedback was there when they were marked: it came in between.
    pub(crate) raced: Bits,
    /// `ledger`: all the outcomes that each record was ever given.
    ledger: [Bits; MOST_RECORDS],
    /// The records that have a dead letter.
    pub(crate) letters: Bits,
    /// Rows that another sink stored, or one that is no more, after their dead letter.
    pub(crate) stored_by_zombie: Bits,
    /// The tokens of blocks that `feedback` takes for earlier ones.
    pub(crate) remembered: Vec<Bits>,
}

fn rank(outcome: Outcome) -> u8 {
    let rank = Outcome::ALL.iter().position(|one| *one == outcome);
    u8::try_from(rank.unwrap()).unwrap()
}

impl Tables {
    /// The row that a put makes.
    pub(crate) fn row_of(scenario: &Scenario, number: u8) -> Row {
        let put = scenario.record(number);
        Row {
            id: put.id,
            trace: put.trace,
            version: Version {
                time: put.version_time,
                changes: 0,
            },
            record: number,
            fields: [put.value; 2],
            is_deleted: put.kind == Kind::Withdraw,
        }
    }

    /// Whether a block counts: it has no token, or one that did not come before.
    pub(crate) fn remember(&mut self, token: Option<Bits>) -> bool {
        let Some(token) = token else {
            return true;
        };
        let place = self.remembered.binary_search(&token);
        if let Err(at) = place {
            self.remembered.insert(at, token);
        }
        place.is_err()
    }

    /// Inserts a row; unless it is `whole`, the views fail and its other orders lack it.
    pub(crate) fn insert(&mut self, row: Row, whole: bool) {
        match self.rows.binary_search_by(|(there, _)| there.cmp(&row)) {
            Ok(at) => self.rows[at].1 |= whole,
            Err(at) => self.rows.insert(at, (row, whole)),
        }
        if whole {
            self.by_id |= Bits::of(row.id * 4 + row.trace);
        }
    }

    /// The rows of a feedback with its highest version: one, or copies.
    pub(crate) fn latest(&self, id: u8, trace: u8) -> impl Iterator<Item = &(Row, bool)> {
        let of = move |(row, _): &&(Row, bool)| row.feedback() == (id, trace);
        let version = self.rows.iter().filter(of).map(|(row, _)| row.version);
        let version = version.max();
        let latest = move |(row, _): &&(Row, bool)| Some(row.version) == version;
        self.rows.iter().filter(of).filter(latest)
    }

    /// The current rows of an id, in every trace that `feedback_by_id` has.
    pub(crate) fn current_rows(&self, id: u8) -> Vec<Row> {
        let known = (0..4).filter(|trace| self.by_id.has(id * 4 + trace));
        known
            .filter_map(|trace| self.latest(id, trace).last())
            .map(|(row, _)| *row)
            .collect()
    }

    /// The records that have rows, folds among them.
    pub(crate) fn stored(&self) -> Bits {
        self.rows.iter().map(|(row, _)| row.record).collect()
    }

    /// The rows for which a merge may drop the others of their feedback.
    pub(crate) fn mergeable(&self) -> impl Iterator<Item = Row> {
        let rows = self.rows.iter().map(|(row, _)| row);
        let mergeable = rows.filter(|row| {
            let same = |(other, _): &&(Row, bool)| other.feedback() == row.feedback();
            let mut others = self.rows.iter().filter(same);
            others.clone().count() > 1 && others.all(|(other, _)| other.version <= row.version)
        });
        mergeable.copied()
    }

    /// The other orders are not merged with it: a copy's entry is as good.
    pub(crate) fn merge(&mut self, kept: &Row) {
        let (id, trace) = kept.feedback();
        let is_whole = self.latest(id, trace).any(|(_, whole)| *whole);
        self.rows
            .retain(|(row, _)| row == kept || row.feedback() != (id, trace));
        self.insert(*kept, is_whole);
    }

    pub(crate) fn give(&mut self, records: Bits, outcome: Outcome) {
        for record in records.iter() {
            self.ledger[usize::from(record)] |= Bits::of(rank(outcome));
        }
    }

    /// The records that the ledger has.
    pub(crate) fn ledgered(&self) -> Bits {
        let numbered = (0..).zip(&self.ledger);
        numbered
            .filter(|(_, outcomes)| !outcomes.is_empty())
            .map(|(record, _)| record)
            .collect()
    }

    /// The outcomes of a record in the ledger, the weakest first.
    pub(crate) fn outcomes(&self, record: u8) -> impl DoubleEndedIterator<Item = Outcome> {
        let given = self.ledger[usize::from(record)];
        Outcome::ALL
            .into_iter()
            .filter(move |outcome| given.has(rank(*outcome)))
    }
}
