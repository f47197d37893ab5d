//! What is checked: the records of a small topic, the sinks, and what may go wrong.
//!
//! A scenario is a question; all that can happen in it is explored.

use crate::bits::Bits;

/// What a record does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Put,
    /// A put that takes back.
    Withdraw,
    /// Sets these of the two fields.
    Patch([bool; 2]),
    Retract,
}

/// A record of the topic. Its number is its place in the scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) partition: u8,
    pub(crate) offset: u8,
    pub(crate) id: u8,
    pub(crate) trace: u8,
    /// When the intake had it; Kafka's timestamp too.
    pub(crate) received: u8,
    pub(crate) version_time: u8,
    /// What it writes into the fields that it sets.
    pub(crate) value: u8,
    /// ClickHouse cannot take it.
    pub(crate) poison: bool,
}

/// What becomes of rows whose attempts are used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnExhausted {
    DeadLetter,
    Hold,
}

/// What can go wrong, each taken from one budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// A sink is killed, perhaps with a request on its way.
    Crash,
    /// A partition is taken from a sink, which works on as a zombie.
    Lose,
    /// A request goes without an answer: it lands later, or never.
    Unanswered,
    /// An error answers a request, which may leave rows without their other orders.
    Refused,
    /// The group's offset of a partition is set back, or lost.
    Reset,
}

/// A topic, the sinks that read it, and what may go wrong.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) records: Vec<Record>,
    pub(crate) partitions: u8,
    pub(crate) sinks: u8,
    pub(crate) max_in_flight: usize,
    pub(crate) budget: u8,
    pub(crate) faults: Vec<Fault>,
    pub(crate) on_exhausted: OnExhausted,
    pub(crate) clock_skew: u8,
    /// Whether the patience with patches may end.
    pub(crate) gives_up: bool,
}

pub(crate) const ALL_FAULTS: [Fault; 5] = [
    Fault::Crash,
    Fault::Lose,
    Fault::Unanswered,
    Fault::Refused,
    Fault::Reset,
];

/// A record of the id received at this time.
fn record(kind: Kind, id: u8, time: u8) -> Record {
    Record {
        kind,
        partition: 0,
        offset: 0,
        id,
        trace: 0,
        received: time,
        version_time: time,
        value: 0,
        poison: false,
    }
}

pub(crate) fn put(id: u8, time: u8) -> Record {
    record(Kind::Put, id, time)
}

pub(crate) fn withdraw(id: u8, time: u8) -> Record {
    record(Kind::Withdraw, id, time)
}

pub(crate) fn retract(id: u8, time: u8) -> Record {
    record(Kind::Retract, id, time)
}

/// A patch of both fields.
pub(crate) fn patch(id: u8, time: u8) -> Record {
    record(Kind::Patch([true, true]), id, time)
}

/// A patch of the first field alone.
pub(crate) fn patch_first(id: u8, time: u8) -> Record {
    record(Kind::Patch([true, false]), id, time)
}

impl Record {
    pub(crate) fn in_trace(self, trace: u8) -> Self {
        Self { trace, ..self }
    }

    /// The client says when it was modified.
    pub(crate) fn of_version(self, version_time: u8) -> Self {
        Self {
            version_time,
            ..self
        }
    }

    pub(crate) fn poisoned(self) -> Self {
        Self {
            poison: true,
            ..self
        }
    }

    pub(crate) fn is_put(&self) -> bool {
        matches!(self.kind, Kind::Put | Kind::Withdraw)
    }

    pub(crate) fn is_change(&self) -> bool {
        !self.is_put()
    }
}

impl Scenario {
    /// One sink, nothing that goes wrong.
    pub(crate) fn new(name: &'static str, topic: &[&[Record]]) -> Self {
        let mut records = Vec::new();
        for (partition, log) in (0..).zip(topic) {
            for (offset, record) in (0..).zip(*log) {
                let value = u8::try_from(records.len()).unwrap() + 1;
                // A put that comes a second time says the same.
                let value = records
                    .iter()
                    .find(|earlier: &&Record| earlier.is_same_version(record))
                    .map_or(value, |earlier| earlier.value);
                records.push(Record {
                    partition,
                    offset,
                    value,
                    ..*record
                });
            }
        }
        Self {
            name,
            records,
            partitions: u8::try_from(topic.len()).unwrap(),
            sinks: 1,
            max_in_flight: 1,
            budget: 0,
            faults: Vec::new(),
            on_exhausted: OnExhausted::Hold,
            clock_skew: 0,
            gives_up: false,
        }
    }

    pub(crate) fn sinks(self, sinks: u8) -> Self {
        Self { sinks, ..self }
    }

    pub(crate) fn in_flight(self, max_in_flight: usize) -> Self {
        Self {
            max_in_flight,
            ..self
        }
    }

    /// At most so many faults, of these kinds.
    pub(crate) fn faults(self, budget: u8, faults: &[Fault]) -> Self {
        Self {
            budget,
            faults: faults.to_vec(),
            ..self
        }
    }

    pub(crate) fn dead_letters_exhausted(self) -> Self {
        Self {
            on_exhausted: OnExhausted::DeadLetter,
            ..self
        }
    }

    pub(crate) fn clock_skew(self, clock_skew: u8) -> Self {
        Self { clock_skew, ..self }
    }

    pub(crate) fn gives_up(self) -> Self {
        Self {
            gives_up: true,
            ..self
        }
    }

    pub(crate) fn record(&self, number: u8) -> &Record {
        &self.records[usize::from(number)]
    }

    /// All records for which this holds.
    pub(crate) fn those(&self, keep: impl Fn(&Record) -> bool) -> Bits {
        let numbered = (0..).zip(&self.records);
        numbered
            .filter(|(_, record)| keep(record))
            .map(|(number, _)| number)
            .collect()
    }

    /// The offset after the last of a partition.
    pub(crate) fn end(&self, partition: u8) -> u8 {
        let of = self.records.iter().filter(|r| r.partition == partition);
        u8::try_from(of.count()).unwrap()
    }

    /// The feedbacks, as (id, trace).
    pub(crate) fn identities(&self) -> Vec<(u8, u8)> {
        let puts = self.records.iter().filter(|record| record.is_put());
        let mut identities: Vec<_> = puts.map(|put| (put.id, put.trace)).collect();
        identities.sort_unstable();
        identities.dedup();
        identities
    }
}

impl Record {
    /// Whether both are puts of one version of one feedback.
    pub(crate) fn is_same_version(&self, other: &Self) -> bool {
        let of = |r: &Self| (r.id, r.trace, r.version_time, r.kind == Kind::Withdraw);
        self.is_put() && other.is_put() && of(self) == of(other)
    }
}
