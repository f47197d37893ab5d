//! The protocol with one thing wrong, and what breaks by it.
//!
//! A model that finds nothing wrong with these would find nothing wrong with
//! anything.

use crate::properties::{
    GOES_ON, P2_BALANCE, P2_BURIED, P2_COMMITTED, P2_TRUE, P3_ONCE, P3_ORDERS, P4_FINAL,
    P4_GIVEN_UP, P4_LATER,
};
use crate::scenario::{Fault, Record, Scenario, patch, put, retract, withdraw};

/// One thing that is done wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mutation {
    /// Step 1 skips what is stored, ledgered or not.
    StoredIsDone,
    /// What is stored is not inserted again, but goes through the later steps.
    StoredIsWhole,
    /// An offset has the weakest of its outcomes.
    WeakestOutcome,
    /// Nobody looks again whether the feedback of a waiting patch has come.
    NeverLooksAgain,
    /// An attempt without an answer is a failed one.
    UnansweredCounts,
    /// What is exhausted is dead-lettered while an attempt can land.
    BuryWithoutKill,
    /// What is exhausted is dead-lettered unseen.
    BuryWithoutReadBack,
    /// A batch commits its own end, whatever is before it.
    CommitOwnEnd,
    /// A batch's offsets are committed, then ledgered.
    CommitBeforeLedger,
    /// Its outcomes are written before its rows.
    LedgerBeforeRows,
    /// Its outcomes are written before its dead letters.
    LedgerBeforeDeadLetters,
    /// Who gets a partition does not look what was stored before.
    NoReadBack,
    /// Who gets a partition begins after what the ledger has first, though records
    /// before that have no outcome.
    StartAfterGap,
    /// A block is named by its batch's offsets, not by its own.
    TokenOfRange,
    /// A block is named, and one of a name that came before is not inserted.
    TokenOfBlock,
    /// A copy of what could not be stored is called a duplicate.
    CopyOfDeadIsDuplicate,
    /// A copy of what could not be stored is dead-lettered unseen.
    BuryCopyUnseen,
    /// Changes are looked up before the rows are in.
    LookUpBeforeRows,
    /// Changes are not looked up for puts.
    PutIgnoresChanges,
    /// Rows are folded before the batch's changes are durable.
    FoldBeforeChanges,
    /// The row that was read is patched with the batch's own changes.
    FoldOwnChangesOnly,
    /// Changes apply to puts that are later than they.
    FoldAnyAge,
    /// Changes are applied in the order of partitions and offsets.
    FoldInTopicOrder,
    /// A fold has its put's version.
    VersionWithoutCount,
    /// A fold has its last change's time.
    VersionOfChange,
    /// A patch of what was withdrawn brings it back.
    PatchReopens,
    /// A retraction is a withdrawal.
    RetractionAsWithdrawal,
    /// A retraction whose feedback does not come is given up.
    RetractionGivenUp,
    /// A patch is given up when it is old, wherever its feedback is.
    GiveUpEarly,
    /// A patch is given up in the ledger before it is marked.
    GiveUpMarkedLast,
}

impl Mutation {
    pub(crate) const ALL: [Self; 30] = [
        Self::StoredIsDone,
        Self::StoredIsWhole,
        Self::WeakestOutcome,
        Self::NeverLooksAgain,
        Self::UnansweredCounts,
        Self::BuryWithoutKill,
        Self::BuryWithoutReadBack,
        Self::CommitOwnEnd,
        Self::CommitBeforeLedger,
        Self::LedgerBeforeRows,
        Self::LedgerBeforeDeadLetters,
        Self::NoReadBack,
        Self::StartAfterGap,
        Self::TokenOfRange,
        Self::TokenOfBlock,
        Self::CopyOfDeadIsDuplicate,
        Self::BuryCopyUnseen,
        Self::LookUpBeforeRows,
        Self::PutIgnoresChanges,
        Self::FoldBeforeChanges,
        Self::FoldOwnChangesOnly,
        Self::FoldAnyAge,
        Self::FoldInTopicOrder,
        Self::VersionWithoutCount,
        Self::VersionOfChange,
        Self::PatchReopens,
        Self::RetractionAsWithdrawal,
        Self::RetractionGivenUp,
        Self::GiveUpEarly,
        Self::GiveUpMarkedLast,
    ];

    /// The promise that breaks, and the least in which it does.
    pub(crate) fn breaks(self) -> (&'static str, Scenario) {
        let one_put = || of(&[&[put(0, 1)]]);
        let one_poison = || of(&[&[put(0, 1).poisoned()]]);
        let put_then_patch = || of(&[&[put(0, 1)], &[patch(0, 2)]]).sinks(2);
        let patches = || of(&[&[put(0, 1), patch(0, 3)], &[patch(0, 2)]]).sinks(2);
        let two_puts = || of(&[&[put(0, 1), put(0, 2)], &[patch(0, 3)]]).sinks(2);
        let in_flight = || of(&[&[put(0, 1), put(1, 2)]]).in_flight(2);
        match self {
            Self::StoredIsDone => (P2_COMMITTED, one_put().faults(1, &[Fault::Crash])),
            Self::StoredIsWhole => {
                let faults = [Fault::Crash, Fault::Refused];
                (P3_ORDERS, one_put().faults(2, &faults))
            }
            Self::WeakestOutcome => (P2_BALANCE, put_then_patch()),
            Self::NeverLooksAgain => (GOES_ON, put_then_patch()),
            Self::UnansweredCounts => {
                let scenario = one_put().dead_letters_exhausted();
                (P2_BURIED, scenario.faults(1, &[Fault::Unanswered]))
            }
            Self::BuryWithoutKill => {
                let scenario = one_put().dead_letters_exhausted();
                let faults = [Fault::Unanswered, Fault::Refused];
                (P2_BURIED, scenario.faults(2, &faults))
            }
            Self::BuryWithoutReadBack => {
                let scenario = one_put().dead_letters_exhausted();
                (P2_BURIED, scenario.faults(1, &[Fault::Refused]))
            }
            Self::CommitOwnEnd => (P2_COMMITTED, in_flight()),
            Self::CommitBeforeLedger => (P2_COMMITTED, one_put()),
            Self::LedgerBeforeRows => (P2_TRUE, one_put()),
            Self::LedgerBeforeDeadLetters => (P2_TRUE, one_poison()),
            Self::NoReadBack => {
                let scenario = of(&[&[put(0, 1), put(1, 2)]]).dead_letters_exhausted();
                let faults = [Fault::Crash, Fault::Refused];
                (P2_BURIED, scenario.faults(2, &faults))
            }
            Self::StartAfterGap => (P2_BALANCE, in_flight().faults(1, &[Fault::Crash])),
            Self::TokenOfRange => {
                let scenario = of(&[&[put(0, 1), put(1, 2).poisoned(), put(2, 3)]]);
                (P2_TRUE, scenario)
            }
            Self::TokenOfBlock => (P2_TRUE, one_put().faults(1, &[Fault::Refused])),
            Self::CopyOfDeadIsDuplicate => {
                let poison = put(0, 1).poisoned();
                (P2_TRUE, of(&[&[poison, poison]]))
            }
            Self::BuryCopyUnseen => {
                let scenario = of(&[&[put(0, 1)], &[put(0, 1)]]).dead_letters_exhausted();
                let faults = [Fault::Crash, Fault::Refused];
                (P2_BURIED, scenario.faults(2, &faults))
            }
            Self::LookUpBeforeRows | Self::PutIgnoresChanges => (P4_LATER, two_puts()),
            Self::FoldBeforeChanges => (P4_LATER, put_then_patch()),
            Self::FoldOwnChangesOnly | Self::FoldInTopicOrder => (P4_LATER, patches()),
            Self::FoldAnyAge => (P4_LATER, of(&[&[put(0, 3)], &[patch(0, 2)]]).sinks(2)),
            Self::VersionWithoutCount => (P3_ONCE, put_then_patch()),
            Self::VersionOfChange => (P4_LATER, two_puts()),
            Self::PatchReopens => (P4_LATER, of(&[&[withdraw(0, 1)], &[patch(0, 2)]]).sinks(2)),
            Self::RetractionAsWithdrawal => {
                let scenario = of(&[&[put(0, 1), put(0, 3)], &[retract(0, 2)]]);
                (P4_FINAL, scenario.sinks(2))
            }
            Self::RetractionGivenUp => {
                let scenario = of(&[&[retract(0, 1)], &[put(1, 2), put(0, 3)]]);
                (P4_FINAL, scenario.sinks(2).gives_up())
            }
            Self::GiveUpEarly => {
                let scenario = of(&[&[patch(0, 2)], &[put(0, 1)]]);
                (P4_GIVEN_UP, scenario.sinks(2).gives_up())
            }
            Self::GiveUpMarkedLast => (P2_TRUE, of(&[&[patch(0, 1)]]).gives_up()),
        }
    }
}

fn of(topic: &[&[Record]]) -> Scenario {
    Scenario::new("the least that tells", topic)
}
