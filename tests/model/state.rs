//! Everything there is at one moment, and all that can happen next.

use crate::bits::Bits;
use crate::tables::{Row, Tables};
use crate::work::{Request, Work};

/// More make more states than can be explored.
pub(crate) const MOST_PARTITIONS: usize = 2;

/// Who reads a partition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Reader {
    pub(crate) sink: u8,
    /// The next offset.
    pub(crate) next: u8,
    /// The offset after the highest that was stored before the sink had it.
    pub(crate) read_back_until: u8,
    /// What was dead-lettered before that.
    pub(crate) dead: Bits,
}

/// The topic's readers, the tables, what is under way.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct State {
    pub(crate) tables: Tables,
    /// The group's offset of each partition.
    pub(crate) committed: [Option<u8>; MOST_PARTITIONS],
    /// By partition; nobody while the group rebalances.
    pub(crate) readers: [Option<Reader>; MOST_PARTITIONS],
    /// By sink, and of each sink in the order in which it began.
    pub(crate) works: Vec<Work>,
    /// Requests that nobody waits for and that may land yet, sorted.
    pub(crate) on_its_way: Vec<Request>,
    pub(crate) faults_left: u8,
    /// Whether patches have waited for long enough.
    pub(crate) is_late: bool,
}

/// What can happen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// The group gives a partition to a sink, which finds where it begins.
    Assign { partition: u8, sink: u8 },
    /// A sink takes records into a batch.
    Read { sink: u8, records: Bits },
    /// A request of this piece of work is sent, carried out and answered.
    Go(u8),
    /// A sink looks whether the feedback of waiting patches has come.
    Pending { sink: u8 },
    /// A sink looks whether waiting patches are to be given up.
    GiveUp { sink: u8 },
    /// A request that nobody waits for is carried out.
    Land(Request),
    /// A merge drops the rows of a feedback for one of its latest.
    Merge(Row),
    /// Patches have waited for long enough.
    TimePasses,
    /// A sink is killed, and a request of this piece of work is on its way.
    Crash { sink: u8, sent: Option<u8> },
    /// A partition is taken from its sink, which does not stop for that.
    Lose { partition: u8 },
    /// A request of this piece of work is sent and not answered.
    Unanswered(u8),
    /// A request of this piece of work is answered with an error.
    Refused { work: u8, leaves_rows: bool },
    /// The group's offset of a partition is lost, or set to this.
    Reset { partition: u8, to: Option<u8> },
}

impl State {
    pub(crate) fn work(&self, number: u8) -> usize {
        let at = self.works.iter().position(|work| work.number == number);
        at.expect("what is under way is listed")
    }

    /// A number that nothing has that is under way.
    pub(crate) fn free_number(&self) -> u8 {
        let of = |request: &Request| match request {
            Request::Rows { work, .. } => Some(*work),
            _ => None,
        };
        let requests = self.on_its_way.iter().filter_map(of);
        let taken: Bits = self
            .works
            .iter()
            .map(|work| work.number)
            .chain(requests)
            .collect();
        (0..16)
            .find(|number| !taken.has(*number))
            .expect("few things are under way")
    }

    /// Adds what a sink begins after everything that it began before.
    pub(crate) fn begin(&mut self, work: Work) {
        let after = self.works.iter().position(|other| other.sink > work.sink);
        self.works.insert(after.unwrap_or(self.works.len()), work);
    }

    pub(crate) fn send(&mut self, request: Request) {
        if let Err(at) = self.on_its_way.binary_search(&request) {
            self.on_its_way.insert(at, request);
        }
    }

    pub(crate) fn owned(&self, sink: u8) -> Bits {
        let readers = (0..).zip(&self.readers);
        readers
            .filter(|(_, reader)| reader.is_some_and(|reader| reader.sink == sink))
            .map(|(partition, _)| partition)
            .collect()
    }
}
