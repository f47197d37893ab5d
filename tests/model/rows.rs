//! Step 2: rows, and what cannot go in set aside, as `rows.rs` and `isolate.rs` of
//! the sink.

use crate::bits::Bits;
use crate::mutation::Mutation;
use crate::protocol::Protocol;
use crate::state::State;
use crate::work::{Doing, Notes, Request, Work};

impl Protocol {
    /// Step 2: the puts to insert, each version once; notes the further copies.
    pub(crate) fn first_copies(&self, work: &mut Work) -> Bits {
        let mut block = Bits::NONE;
        for put in (work.records & self.scenario.those(|r| r.is_put())).iter() {
            if work.notes.skipped.has(put) {
                continue;
            }
            if self.first_of(work, put).is_some() {
                work.notes.duplicate |= Bits::of(put);
            } else if !(self.is(Mutation::StoredIsWhole) && work.notes.stored.has(put)) {
                block |= Bits::of(put);
            }
        }
        block
    }

    /// The first copy in the batch of what this put says, which may be stored
    /// from before.
    fn first_of(&self, work: &Work, put: u8) -> Option<u8> {
        let Notes {
            skipped, stored, ..
        } = work.notes;
        let earlier = work.records.iter().take_while(|other| *other < put);
        let mut counted = earlier.filter(|other| !skipped.has(*other) || stored.has(*other));
        counted.find(|other| {
            let other = self.scenario.record(*other);
            other.is_same_version(self.scenario.record(put))
        })
    }

    /// A block was inserted, or refused as data: then halved, until one is to blame.
    pub(crate) fn answer_block(&self, state: &mut State, at: usize, is_refused: bool) {
        if is_refused {
            self.kill(state, at);
        }
        let Doing::Blocks {
            blocks, unanswered, ..
        } = &mut state.works[at].doing
        else {
            return;
        };
        *unanswered = false;
        let block = blocks.last().copied().unwrap_or_default();
        if is_refused && block.len() > 1 {
            let (left, right) = block.halves();
            blocks.pop();
            blocks.extend([right, left]);
        } else if is_refused {
            self.give_up_block(state, at);
        } else {
            blocks.pop();
            self.end_blocks(state, at);
        }
    }

    /// Ends every attempt at the present block: after this none of them lands.
    pub(crate) fn kill(&self, state: &mut State, at: usize) {
        let work = &state.works[at];
        let Doing::Blocks {
            blocks, unanswered, ..
        } = &work.doing
        else {
            return;
        };
        let Some(block) = blocks.last().copied().filter(|_| *unanswered) else {
            return;
        };
        state.on_its_way.retain(
            |request| !matches!(request, Request::Rows { records, .. } if *records == block),
        );
    }

    pub(crate) fn give_up_block(&self, state: &mut State, at: usize) {
        if let Doing::Blocks {
            blocks,
            unanswered,
            refused,
        } = &mut state.works[at].doing
        {
            *refused |= blocks.pop().unwrap_or_default();
            *unanswered = false;
        }
        self.end_blocks(state, at);
    }

    fn end_blocks(&self, state: &mut State, at: usize) {
        let Doing::Blocks {
            blocks, refused, ..
        } = &state.works[at].doing
        else {
            return;
        };
        if blocks.is_empty() && refused.is_empty() {
            self.leave_rows(state, at);
        } else if blocks.is_empty() {
            state.works[at].doing = Doing::SetAside(*refused);
        }
    }

    /// What was refused is read back: what is absent is dead, the rest is made whole.
    pub(crate) fn set_aside(&self, state: &mut State, at: usize, refused: Bits) {
        let mut present = refused & state.tables.stored();
        if self.is(Mutation::BuryWithoutReadBack) {
            present = Bits::NONE;
        }
        state.works[at].notes.dead |= refused - present;
        if present.is_empty() {
            self.leave_rows(state, at);
        } else {
            state.works[at].doing = Doing::Complete(present);
        }
    }

    /// A copy of what could not be stored is no duplicate of anything stored: it is
    /// set aside too. Then the next step.
    pub(crate) fn leave_rows(&self, state: &mut State, at: usize) {
        let work = &state.works[at];
        let orphans = work.notes.duplicate.filter(|copy| {
            let first = self.first_of(work, copy);
            first.is_some_and(|first| work.notes.dead.has(first))
        });
        if orphans.is_empty() || self.is(Mutation::CopyOfDeadIsDuplicate) {
            self.advance(state, at);
            return;
        }
        state.works[at].notes.duplicate -= orphans;
        if self.is(Mutation::BuryCopyUnseen) {
            state.works[at].notes.dead |= orphans;
            self.advance(state, at);
        } else {
            state.works[at].doing = Doing::SetAside(orphans);
        }
    }
}
