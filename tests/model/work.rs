//! What a sink has under way: batches, and its rounds over patches that wait.

use plaudit_event::Outcome;

use crate::bits::Bits;
use crate::step::Step;
use crate::tables::Row;

/// Why the steps are gone through.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Task {
    /// Records that were read.
    Batch,
    /// Patches whose feedback may have come.
    Pending,
    /// Patches whose feedback did not come.
    GiveUp,
}

/// Something that goes through the steps.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Work {
    /// Tells it from everything else that is under way.
    pub(crate) number: u8,
    pub(crate) sink: u8,
    pub(crate) task: Task,
    pub(crate) records: Bits,
    /// Partitions that are no longer its sink's: nothing of them is committed.
    pub(crate) lost: Bits,
    pub(crate) step: Step,
    pub(crate) doing: Doing,
    pub(crate) notes: Notes,
}

/// How far the step is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Doing {
    /// The step's first request is to be sent, if it has one.
    First,
    /// Rows: these blocks are to be inserted, the last one first.
    Blocks {
        blocks: Vec<Bits>,
        /// Whether an attempt at the present block went without an answer.
        unanswered: bool,
        refused: Bits,
    },
    /// Rows: those that were refused are to be read back.
    SetAside(Bits),
    /// Rows: those that were refused and are stored are to be made whole.
    Complete(Bits),
    /// Fold: the rows are read, their changes are not.
    RowsRead(Vec<Row>),
    /// Fold: the folds are to be inserted.
    Folded(Folded),
}

/// What folding some ids comes to.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Folded {
    pub(crate) folds: Vec<Row>,
    /// The ids that have a row.
    pub(crate) found: Bits,
    /// Their changes that were given up.
    pub(crate) given_up: Bits,
}

/// What is known of the records.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Notes {
    /// The ledger has them from before.
    pub(crate) skipped: Bits,
    /// They had rows when they were read back.
    pub(crate) stored: Bits,
    pub(crate) duplicate: Bits,
    pub(crate) dead: Bits,
    pub(crate) pending: Bits,
    /// The ids to be folded.
    pub(crate) ids: Bits,
    /// They were dead-lettered in the ledger before this began.
    pub(crate) dead_before: Bits,
}

/// A request that writes. It may land after its sink is gone.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Request {
    Rows {
        records: Bits,
        /// What ClickHouse is told to know the block by when it comes again; the sink
        /// tells it nothing.
        token: Option<Bits>,
        /// Whose it is.
        work: u8,
        /// Records that must not land any more: its sink found them absent and
        /// wrote their dead letters, now or before.
        dead: Bits,
    },
    Changes(Bits),
    GiveUp(Bits),
    Folds(Vec<Row>),
    Ledger(Vec<(Bits, Outcome)>),
}
