//! The steps of a batch, request by request.

use plaudit_event::Outcome;

use crate::bits::Bits;
use crate::mutation::Mutation;
use crate::protocol::Protocol;
use crate::scenario::OnExhausted;
use crate::state::State;
use crate::step::Step;
use crate::tables::Tables;
use crate::work::{Doing, Folded, Notes, Request, Task, Work};

impl Protocol {
    /// The steps that a task goes through, in their order.
    fn order(&self, task: Task) -> Vec<Step> {
        use Step::{Changes, Commit, DeadLetters, Fold, Ledger, LookUp, Rows};
        let (mut order, wrong) = match task {
            Task::Pending => (vec![Fold, Ledger], None),
            Task::GiveUp => {
                let is_last = self.is(Mutation::GiveUpMarkedLast);
                // Marking them is a change.
                let order = vec![Fold, Changes, DeadLetters, Ledger];
                (order, is_last.then_some((Ledger, Changes)))
            }
            Task::Batch => {
                let wrong = match self.mutation {
                    Some(Mutation::CommitBeforeLedger) => Some((Commit, Ledger)),
                    Some(Mutation::LedgerBeforeRows) => Some((Ledger, Rows)),
                    Some(Mutation::LedgerBeforeDeadLetters) => Some((Ledger, DeadLetters)),
                    Some(Mutation::LookUpBeforeRows) => Some((LookUp, Rows)),
                    Some(Mutation::FoldBeforeChanges) => Some((Changes, DeadLetters)),
                    _ => None,
                };
                (Step::ALL.to_vec(), wrong)
            }
        };
        if let Some((step, before)) = wrong {
            order.retain(|other| *other != step);
            let at = order.iter().position(|other| *other == before);
            order.insert(at.unwrap_or(0), step);
        }
        order
    }

    /// Goes on to the next step that has something to do; after the last, it is done.
    pub(crate) fn advance(&self, state: &mut State, at: usize) {
        let order = self.order(state.works[at].task);
        let done = order.iter().position(|step| *step == state.works[at].step);
        for step in &order[done.map_or(0, |done| done + 1)..] {
            let work = &mut state.works[at];
            work.step = *step;
            work.doing = Doing::First;
            if self.has_something_to_do(work, &state.tables) {
                return;
            }
        }
        state.works.remove(at);
    }

    fn has_something_to_do(&self, work: &mut Work, tables: &Tables) -> bool {
        match work.step {
            Step::ReadBack | Step::Commit => true,
            Step::Rows => {
                let block = self.first_copies(work);
                if block.is_empty() {
                    return false;
                }
                work.doing = Doing::Blocks {
                    blocks: vec![block],
                    unanswered: false,
                    refused: Bits::NONE,
                };
                true
            }
            Step::Changes if work.task == Task::GiveUp => {
                !(work.notes.dead - tables.given_up).is_empty()
            }
            Step::Changes => !self.changes_of(work).is_empty(),
            Step::LookUp => {
                let changes = self.changes_of(work).iter();
                let ids: Bits = changes.map(|c| self.scenario.record(c).id).collect();
                work.notes.ids |= ids;
                work.records.meets(self.scenario.those(|r| r.is_put()))
            }
            Step::Fold => !work.notes.ids.is_empty(),
            Step::DeadLetters => !work.notes.dead.is_empty(),
            Step::Ledger => !self.outcomes(work).is_empty(),
        }
    }

    /// The changes of a batch that the ledger does not have.
    pub(crate) fn changes_of(&self, work: &Work) -> Bits {
        (work.records & self.scenario.those(|r| r.is_change())) - work.notes.skipped
    }

    /// Whether its next request can be sent now.
    pub(crate) fn may_go(&self, state: &State, work: &Work) -> bool {
        if work.step != Step::Commit || self.is(Mutation::CommitOwnEnd) {
            return true;
        }
        let batches = |other: &&Work| other.sink == work.sink && other.task == Task::Batch;
        let first = state.works.iter().find(batches);
        first.is_some_and(|first| first.number == work.number)
    }

    /// What it writes next; `None` where it reads, or writes to the broker.
    pub(crate) fn request(&self, work: &Work) -> Option<Request> {
        let rows = |records: Bits| Request::Rows {
            records,
            token: self.token(work, records),
            work: work.number,
            dead: work.notes.dead_before & records,
        };
        match (&work.doing, work.step) {
            (Doing::Blocks { blocks, .. }, _) => blocks.last().map(|block| rows(*block)),
            (Doing::Complete(records), _) => Some(rows(*records)),
            (Doing::Folded(folded), _) => Some(Request::Folds(folded.folds.clone())),
            (_, Step::Changes) if work.task == Task::GiveUp => {
                Some(Request::GiveUp(work.notes.dead))
            }
            (_, Step::Changes) => Some(Request::Changes(self.changes_of(work))),
            (_, Step::Ledger) => Some(Request::Ledger(self.outcomes(work))),
            _ => None,
        }
    }

    fn token(&self, work: &Work, block: Bits) -> Option<Bits> {
        match self.mutation {
            Some(Mutation::TokenOfRange) => Some(work.records),
            Some(Mutation::TokenOfBlock) => Some(block),
            _ => None,
        }
    }

    /// Whether ClickHouse refuses this, as often as it is sent.
    pub(crate) fn is_refused(&self, request: &Request) -> bool {
        match request {
            Request::Rows { records, .. } => records.meets(self.scenario.those(|r| r.poison)),
            _ => false,
        }
    }

    /// The next request is sent, carried out and answered.
    pub(crate) fn go(&self, state: &mut State, at: usize) {
        let request = self.request(&state.works[at]);
        let is_refused = request.as_ref().is_some_and(|r| self.is_refused(r));
        if let Some(request) = request.filter(|_| !is_refused) {
            self.carry_out(state, &request);
        }
        let work = &state.works[at];
        match (work.step, work.doing.clone()) {
            (Step::ReadBack, _) => {
                self.read_back(state, at);
                self.advance(state, at);
            }
            (Step::Rows, Doing::Blocks { .. }) => self.answer_block(state, at, is_refused),
            (Step::Rows, Doing::SetAside(refused)) => self.set_aside(state, at, refused),
            (Step::Rows, _) => self.leave_rows(state, at),
            (Step::LookUp, _) => {
                let changed = self.changed_among(state, at);
                state.works[at].notes.ids |= changed;
                self.advance(state, at);
            }
            (Step::Fold, Doing::RowsRead(rows)) => self.read_changes(state, at, &rows),
            (Step::Fold, Doing::Folded(folded)) => self.end_fold(state, at, &folded),
            (Step::Fold, _) => {
                let ids = work.notes.ids.iter();
                let rows: Vec<_> = ids.flat_map(|id| state.tables.current_rows(id)).collect();
                if rows.is_empty() {
                    self.end_fold(state, at, &Folded::default());
                } else {
                    state.works[at].doing = Doing::RowsRead(rows);
                }
            }
            (Step::DeadLetters, _) => {
                publish_dead_letters(state, at);
                self.advance(state, at);
            }
            (Step::Changes | Step::Ledger, _) => self.advance(state, at),
            (Step::Commit, _) => {
                self.commit(state, at);
                self.advance(state, at);
            }
        }
    }

    /// What a request does, whoever waits for it.
    pub(crate) fn carry_out(&self, state: &mut State, request: &Request) {
        match request {
            Request::Rows {
                records,
                token,
                work,
                dead,
            } => {
                note_zombie(state, *records, *work, *dead);
                self.insert_rows(state, *records, *token, true);
            }
            Request::Changes(changes) => state.tables.changes |= *changes,
            Request::GiveUp(changes) => {
                let is_there = |change: u8| {
                    let id = self.scenario.record(change).id;
                    state.tables.rows.iter().any(|(row, _)| row.id == id)
                };
                let new = *changes - state.tables.given_up;
                state.tables.raced |= new.filter(is_there);
                state.tables.given_up |= new;
            }
            Request::Folds(rows) => rows.iter().for_each(|row| state.tables.insert(*row, true)),
            Request::Ledger(outcomes) => {
                for (records, outcome) in outcomes {
                    state.tables.give(*records, *outcome);
                }
            }
        }
    }

    fn insert_rows(&self, state: &mut State, records: Bits, token: Option<Bits>, whole: bool) {
        if state.tables.remember(token) {
            for number in records.iter() {
                let row = Tables::row_of(&self.scenario, number);
                state.tables.insert(row, whole);
            }
        }
    }

    /// The next request is sent and not answered: it may land from now on.
    pub(crate) fn go_unanswered(&self, state: &mut State, at: usize) {
        if let Some(request) = self.request(&state.works[at]) {
            state.send(request);
        }
        if let Doing::Blocks { unanswered, .. } = &mut state.works[at].doing {
            *unanswered = true;
            if self.is(Mutation::UnansweredCounts) {
                self.give_up_block(state, at);
            }
        }
    }

    /// The next request is answered with an error; its attempts are used up.
    pub(crate) fn be_refused(&self, state: &mut State, at: usize, leaves_rows: bool) {
        match self.request(&state.works[at]) {
            // Before it has the rows: a disk may fail in between.
            Some(Request::Rows { token, .. }) if !leaves_rows => {
                state.tables.remember(token);
            }
            Some(Request::Rows {
                records,
                token,
                work,
                dead,
            }) => {
                note_zombie(state, records, work, dead);
                self.insert_rows(state, records, token, false);
            }
            Some(Request::Folds(rows)) if leaves_rows => {
                rows.iter().for_each(|row| state.tables.insert(*row, false));
            }
            _ => {}
        }
        let is_block = matches!(state.works[at].doing, Doing::Blocks { .. });
        if is_block && self.scenario.on_exhausted == OnExhausted::DeadLetter {
            if !self.is(Mutation::BuryWithoutKill) {
                self.kill(state, at);
            }
            self.give_up_block(state, at);
        }
    }

    /// Step 1.
    fn read_back(&self, state: &mut State, at: usize) {
        let work = &mut state.works[at];
        let stored = state.tables.stored() & work.records;
        let mut skipped = state.tables.ledgered() & work.records;
        if self.is(Mutation::StoredIsDone) {
            skipped |= stored;
        }
        work.notes.skipped = skipped;
        work.notes.stored = stored;
    }

    /// Step 6: what became of its records.
    fn outcomes(&self, work: &Work) -> Vec<(Bits, Outcome)> {
        let Notes {
            skipped,
            duplicate,
            dead,
            pending,
            ..
        } = work.notes;
        let outcomes = match work.task {
            Task::Pending => vec![(work.records, Outcome::Stored)],
            Task::GiveUp => vec![(dead, Outcome::DeadLettered)],
            Task::Batch => {
                let others = duplicate | dead | pending;
                vec![
                    (work.records - skipped - others, Outcome::Stored),
                    (duplicate, Outcome::Duplicate),
                    (dead, Outcome::DeadLettered),
                    (pending, Outcome::Pending),
                ]
            }
        };
        let some = outcomes.into_iter();
        some.filter(|(records, _)| !records.is_empty()).collect()
    }

    /// Step 7: up to the batch's end, of the partitions that are its sink's still.
    fn commit(&self, state: &mut State, at: usize) {
        let work = &state.works[at];
        for record in work.records.iter() {
            let record = self.scenario.record(record);
            if !work.lost.has(record.partition) {
                state.committed[usize::from(record.partition)] = Some(record.offset + 1);
            }
        }
    }
}

/// Step 5: the broker has them. What its own sink has buried must not land any more.
fn publish_dead_letters(state: &mut State, at: usize) {
    let work = &state.works[at];
    let buried = work.notes.dead;
    state.tables.letters |= buried;
    for request in &mut state.on_its_way {
        if let Request::Rows {
            records,
            work: of,
            dead,
            ..
        } = request
            && *of == work.number
        {
            *dead |= *records & buried;
        }
    }
    state.on_its_way.sort_unstable();
}

/// A sink that has lost its partition, or its life, may store what another one has
/// found absent: a zombie's row and a dead letter of the same record.
fn note_zombie(state: &mut State, records: Bits, work: u8, dead: Bits) {
    let others = state.works.iter().filter(|other| other.number != work);
    let buried = others.fold(state.tables.letters, |all, other| all | other.notes.dead);
    state.tables.stored_by_zombie |= (records & buried) - dead;
}
