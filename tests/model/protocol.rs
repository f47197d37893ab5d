//! What can happen next, and what becomes of it.
//!
//! Every step of the sink is one action a request, so that anything can happen
//! between two requests. What a request does, it does at once, as the engine does:
//! a block is in the table whole or not at all, a query reads one moment.

use plaudit_event::Outcome;
use stateright::{Model, Property};

use crate::bits::Bits;
use crate::mutation::Mutation;
use crate::properties;
use crate::scenario::{Fault, OnExhausted, Scenario};
use crate::state::{Action, MOST_PARTITIONS, Reader, State};
use crate::step::Step;
use crate::tables::Tables;
use crate::work::{Doing, Notes, Request, Task, Work};

/// The protocol in a scenario, as it is or with one thing wrong.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    pub(crate) scenario: Scenario,
    pub(crate) mutation: Option<Mutation>,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            tables: Tables::default(),
            committed: [None; MOST_PARTITIONS],
            readers: [None; MOST_PARTITIONS],
            works: Vec::new(),
            on_its_way: Vec::new(),
            faults_left: self.scenario.budget,
            is_late: false,
        };
        for partition in 0..self.scenario.partitions {
            self.assign(&mut state, partition, partition % self.scenario.sinks);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut going = state.works.iter().filter(|work| self.may_go(state, work));
        // Where nothing more goes wrong, nobody asks what is committed: when it is
        // makes no difference.
        let commits = |work: &&Work| work.step == Step::Commit && state.faults_left == 0;
        if let Some(work) = going.clone().find(commits) {
            actions.push(Action::Go(work.number));
            return;
        }
        actions.extend(going.by_ref().map(|work| Action::Go(work.number)));
        for sink in 0..self.scenario.sinks {
            self.reads(state, sink, actions);
            let owned = state.owned(sink);
            let busy = |task| {
                let mut works = state.works.iter();
                works.any(|work| work.sink == sink && work.task == task)
            };
            let looks =
                self.is(Mutation::NeverLooksAgain) || busy(Task::Pending) || busy(Task::GiveUp);
            if !looks && !self.come(state, owned).is_empty() {
                actions.push(Action::Pending { sink });
            }
            if !looks && !self.to_give_up(state, owned).is_empty() {
                actions.push(Action::GiveUp { sink });
            }
        }
        for partition in 0..self.scenario.partitions {
            if state.readers[usize::from(partition)].is_none() {
                let sinks = 0..self.scenario.sinks;
                actions.extend(sinks.map(|sink| Action::Assign { partition, sink }));
            }
        }
        actions.extend(state.on_its_way.iter().cloned().map(Action::Land));
        actions.extend(state.tables.mergeable().map(Action::Merge));
        if self.scenario.gives_up && !state.is_late {
            actions.push(Action::TimePasses);
        }
        if state.faults_left > 0 {
            self.faults(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Assign { partition, sink } => self.assign(&mut state, partition, sink),
            Action::Read { sink, records } => self.read(&mut state, sink, records),
            Action::Go(work) => {
                let at = state.work(work);
                self.go(&mut state, at);
            }
            Action::Pending { sink } => {
                let come = self.come(&state, state.owned(sink));
                self.look(&mut state, sink, Task::Pending, come);
            }
            Action::GiveUp { sink } => {
                let late = self.to_give_up(&state, state.owned(sink));
                self.look(&mut state, sink, Task::GiveUp, late);
            }
            Action::Land(request) => {
                state.on_its_way.retain(|other| *other != request);
                self.carry_out(&mut state, &request);
            }
            Action::Merge(row) => state.tables.merge(&row),
            Action::TimePasses => state.is_late = true,
            fault => {
                state.faults_left -= 1;
                self.go_wrong(&mut state, &fault);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Protocol {
    pub(crate) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// A sink gets a partition: it begins at the committed offset; without one, after
    /// the ledger's prefix; else at the log's start.
    fn assign(&self, state: &mut State, partition: u8, sink: u8) {
        let of = self.scenario.those(|r| r.partition == partition);
        let offsets = |records: Bits| {
            let offset = |record| self.scenario.record(record).offset;
            (records & of).iter().map(offset).collect::<Bits>()
        };
        let tables = &state.tables;
        let ledgered = offsets(tables.ledgered());
        let committed = state.committed[usize::from(partition)];
        let from = committed.unwrap_or(0);
        let begin = if self.is(Mutation::StartAfterGap) {
            ledgered.iter().next().unwrap_or(0)
        } else {
            0
        };
        let prefix = (begin..).find(|offset| !ledgered.has(*offset));
        let stored = ledgered | offsets(tables.stored()) | offsets(tables.changes);
        let highest = stored.iter().filter(|offset| *offset >= from).last();
        let read_back_until = highest.map_or(0, |offset| offset + 1);
        let dead = properties::outcome_is_dead(self, tables) & of;
        state.readers[usize::from(partition)] = Some(Reader {
            sink,
            next: committed.or(prefix).unwrap_or(0),
            read_back_until: if self.is(Mutation::NoReadBack) {
                0
            } else {
                read_back_until
            },
            dead,
        });
    }

    /// The batches that a sink can make: of each of its partitions nothing, one
    /// record, or all that is left.
    fn reads(&self, state: &State, sink: u8, actions: &mut Vec<Action>) {
        let works = state.works.iter();
        let batches = works.filter(|work| work.sink == sink && work.task == Task::Batch);
        if batches.count() >= self.scenario.max_in_flight {
            return;
        }
        let mut batches = vec![Bits::NONE];
        for (partition, reader) in (0..).zip(state.readers) {
            let Some(reader) = reader.filter(|reader| reader.sink == sink) else {
                continue;
            };
            let one =
                |r: &crate::scenario::Record| r.partition == partition && r.offset == reader.next;
            let rest =
                |r: &crate::scenario::Record| r.partition == partition && r.offset >= reader.next;
            let mut takes = vec![self.scenario.those(one), self.scenario.those(rest)];
            takes.dedup();
            takes.retain(|take| !take.is_empty());
            let with = batches
                .iter()
                .flat_map(|batch| takes.iter().map(|take| *batch | *take));
            let with: Vec<Bits> = with.collect();
            batches.extend(with);
        }
        let batches = batches.into_iter().filter(|batch| !batch.is_empty());
        actions.extend(batches.map(|records| Action::Read { sink, records }));
    }

    fn read(&self, state: &mut State, sink: u8, records: Bits) {
        let mut read_back = false;
        let mut dead_before = Bits::NONE;
        for record in records.iter() {
            let record = self.scenario.record(record);
            if let Some(reader) = &mut state.readers[usize::from(record.partition)] {
                read_back |= record.offset < reader.read_back_until;
                reader.next = reader.next.max(record.offset + 1);
                dead_before |= reader.dead;
            }
        }
        let number = state.free_number();
        state.begin(Work {
            number,
            sink,
            task: Task::Batch,
            records,
            lost: Bits::NONE,
            step: Step::ReadBack,
            doing: Doing::First,
            notes: Notes {
                dead_before: dead_before & records,
                ..Notes::default()
            },
        });
        if !read_back {
            let at = state.work(number);
            self.advance(state, at);
        }
    }

    /// A sink looks after patches that wait.
    fn look(&self, state: &mut State, sink: u8, task: Task, records: Bits) {
        let ids = records.iter().map(|r| self.scenario.record(r).id).collect();
        state.begin(Work {
            number: state.free_number(),
            sink,
            task,
            records,
            lost: Bits::NONE,
            step: Step::Fold,
            doing: Doing::First,
            notes: Notes {
                ids,
                ..Notes::default()
            },
        });
    }

    /// Waiting patches whose feedback is there.
    pub(crate) fn come(&self, state: &State, partitions: Bits) -> Bits {
        let is_there = |record| {
            let id = self.scenario.record(record).id;
            !state.tables.current_rows(id).is_empty()
        };
        (self.waiting(state, partitions) - state.tables.given_up).filter(is_there)
    }

    /// Waiting patches that are marked, or that are late, and every partition is
    /// past them.
    pub(crate) fn to_give_up(&self, state: &State, partitions: Bits) -> Bits {
        let waiting = self.waiting(state, partitions);
        let mut late = waiting - self.come(state, partitions);
        if !state.is_late {
            late = Bits::NONE;
        } else if !self.is(Mutation::GiveUpEarly) {
            late = self.reached(state, late);
        }
        late | (waiting & state.tables.given_up)
    }

    /// Records that the ledger has as pending.
    fn waiting(&self, state: &State, partitions: Bits) -> Bits {
        let of = self.scenario.those(|r| partitions.has(r.partition));
        of.filter(|record| state.tables.outcomes(record).next_back() == Some(Outcome::Pending))
    }

    /// Those of these records that every partition is past.
    fn reached(&self, state: &State, records: Bits) -> Bits {
        let partitions = 0..self.scenario.partitions;
        let reached = partitions.map(|partition| self.reached_in(state, partition));
        let reached = reached.min().unwrap_or(0);
        records.filter(|record| self.scenario.record(record).received < reached)
    }

    /// The time up to which a partition is ledgered.
    fn reached_in(&self, state: &State, partition: u8) -> u8 {
        let ledgered = state.tables.ledgered();
        let of = self.scenario.those(|r| r.partition == partition);
        let run = of.iter().take_while(|record| ledgered.has(*record));
        let run: Vec<u8> = run.collect();
        if run.len() == usize::from(self.scenario.end(partition)) {
            return u8::MAX;
        }
        let times = run.iter().map(|r| self.scenario.record(*r).received);
        times.max().unwrap_or(0)
    }

    /// What can go wrong now.
    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        for fault in &self.scenario.faults {
            match fault {
                Fault::Crash => {
                    for sink in 0..self.scenario.sinks {
                        let of = state.works.iter().filter(|work| work.sink == sink);
                        let sent = of.clone().filter(|work| self.is_sendable(state, work));
                        let sent = sent.map(|work| Some(work.number));
                        let busy = of.count() > 0 || !state.owned(sink).is_empty();
                        let crash = |sent| Action::Crash { sink, sent };
                        actions.extend(busy.then_some(None).into_iter().chain(sent).map(crash));
                    }
                }
                Fault::Lose => {
                    let owned = (0..self.scenario.partitions)
                        .filter(|p| state.readers[usize::from(*p)].is_some());
                    actions.extend(owned.map(|partition| Action::Lose { partition }));
                }
                Fault::Unanswered => {
                    let sent = state.works.iter().filter(|w| self.is_sendable(state, w));
                    actions.extend(sent.map(|work| Action::Unanswered(work.number)));
                }
                Fault::Refused => {
                    for work in &state.works {
                        let refused = |leaves_rows| Action::Refused {
                            work: work.number,
                            leaves_rows,
                        };
                        let rows = |r: &Request| {
                            matches!(r, Request::Rows { .. } | Request::Folds(_))
                                && !self.is_refused(r)
                        };
                        let writes_rows = self.request(work).filter(rows);
                        actions.extend(writes_rows.map(|_| refused(true)));
                        let is_block = matches!(work.doing, Doing::Blocks { .. });
                        let dies = self.scenario.on_exhausted == OnExhausted::DeadLetter;
                        // Else nothing comes of it, but that the block is remembered.
                        let is_named =
                            |r: &Request| matches!(r, Request::Rows { token: Some(_), .. });
                        let tells = dies || self.request(work).as_ref().is_some_and(is_named);
                        actions.extend((is_block && tells).then(|| refused(false)));
                    }
                }
                Fault::Reset => {
                    for partition in 0..self.scenario.partitions {
                        let at = usize::from(partition);
                        let committed = state.committed[at];
                        if state.readers[at].is_none() && committed.is_some() {
                            let reset = |to| Action::Reset { partition, to };
                            actions.extend([None, Some(0)].map(reset));
                        }
                    }
                }
            }
        }
    }

    /// Whether there is a request that can be on its way without its sink knowing.
    fn is_sendable(&self, state: &State, work: &Work) -> bool {
        self.request(work).is_some_and(|request| {
            !self.is_refused(&request) && !state.on_its_way.contains(&request)
        })
    }

    fn go_wrong(&self, state: &mut State, fault: &Action) {
        match *fault {
            Action::Crash { sink, sent } => {
                if let Some(sent) = sent
                    && let Some(request) = self.request(&state.works[state.work(sent)])
                {
                    state.send(request);
                }
                state.works.retain(|work| work.sink != sink);
                for reader in &mut state.readers {
                    *reader = reader.filter(|reader| reader.sink != sink);
                }
            }
            Action::Lose { partition } => {
                let reader = state.readers[usize::from(partition)].take();
                let of = self.scenario.those(|r| r.partition == partition);
                for work in &mut state.works {
                    if reader.is_some_and(|r| r.sink == work.sink) && work.records.meets(of) {
                        work.lost |= Bits::of(partition);
                    }
                }
            }
            Action::Unanswered(work) => {
                let at = state.work(work);
                self.go_unanswered(state, at);
            }
            Action::Refused { work, leaves_rows } => {
                let at = state.work(work);
                self.be_refused(state, at, leaves_rows);
            }
            Action::Reset { partition, to } => state.committed[usize::from(partition)] = to,
            _ => unreachable!("no fault"),
        }
    }
}
