//! What has to hold: the promises P2, P3 and P4 as sentences about a state.
//!
//! Some hold at every moment. The others hold at rest: nothing is under way, every
//! record was read, no waiting patch has its feedback. Requests of the dead may be
//! on their way still, and are tried after that.

use plaudit_event::Outcome;
use stateright::{Model as _, Property};

use crate::bits::Bits;
use crate::mutation::Mutation;
use crate::protocol::Protocol;
use crate::scenario::Kind;
use crate::state::{Action, State};
use crate::tables::{Row, Tables};

pub(crate) const P2_COMMITTED: &str = "p2: what is committed has its outcome";
pub(crate) const P2_TRUE: &str = "p2: an outcome says what is so";
pub(crate) const P2_BURIED: &str = "p2: a dead letter is not stored as well";
pub(crate) const P2_BALANCE: &str = "p2: at rest every record has one outcome";
pub(crate) const P3_ONCE: &str = "p3: at rest a version says one thing";
pub(crate) const P3_ORDERS: &str = "p3: at rest every order has what is seen";
pub(crate) const P4_FINAL: &str = "p4: what was retracted is not seen again";
pub(crate) const P4_LATER: &str = "p4: at rest the latest put is seen with all its changes";
pub(crate) const P4_GIVEN_UP: &str = "p4: a patch is given up only for lack of its feedback";
pub(crate) const GOES_ON: &str = "until there is rest, a sink can go on";
/// Not a promise: that there is rest, so that what holds at rest is not empty.
pub(crate) const RESTS: &str = "there is rest";

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(P2_COMMITTED, committed_has_outcome),
        Property::always(P2_TRUE, outcomes_are_true),
        Property::always(P2_BURIED, buried_is_not_stored),
        Property::always(P2_BALANCE, |p, s| !is_at_rest(p, s) || balances(p, s)),
        Property::always(P3_ONCE, |p, s| !is_at_rest(p, s) || says_one_thing(p, s)),
        Property::always(P3_ORDERS, |p, s| !is_at_rest(p, s) || orders_have_it(p, s)),
        Property::always(P4_FINAL, retracted_is_unseen),
        Property::always(P4_LATER, |p, s| !is_at_rest(p, s) || latest_is_seen(p, s)),
        Property::always(P4_GIVEN_UP, given_up_for_a_reason),
        Property::always(GOES_ON, |p, s| is_at_rest(p, s) || can_go_on(p, s)),
        Property::sometimes(RESTS, is_at_rest),
    ]
}

/// The outcome of a record: of all that the ledger has the strongest (V2).
pub(crate) fn outcome(protocol: &Protocol, tables: &Tables, record: u8) -> Option<Outcome> {
    let mut outcomes = tables.outcomes(record);
    if protocol.is(Mutation::WeakestOutcome) {
        return outcomes.next();
    }
    outcomes.next_back()
}

/// The records that the ledger has as dead letters.
pub(crate) fn outcome_is_dead(protocol: &Protocol, tables: &Tables) -> Bits {
    let records = protocol.scenario.those(|_| true);
    records.filter(|record| outcome(protocol, tables, record) == Some(Outcome::DeadLettered))
}

/// Nothing is under way, and nothing is left to do.
fn is_at_rest(protocol: &Protocol, state: &State) -> bool {
    let mut partitions = 0..protocol.scenario.partitions;
    let all = partitions.clone().collect();
    let at_end = |partition: u8| {
        let reader = state.readers[usize::from(partition)];
        reader.is_some_and(|reader| reader.next == protocol.scenario.end(partition))
    };
    state.works.is_empty()
        && partitions.all(at_end)
        && protocol.come(state, all).is_empty()
        && protocol.to_give_up(state, all).is_empty()
}

/// There is something that a sink does next, and not only what befalls it.
fn can_go_on(protocol: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    actions.iter().any(|action| {
        use Action::{Assign, GiveUp, Go, Pending, Read};
        matches!(
            action,
            Assign { .. } | Read { .. } | Go(_) | Pending { .. } | GiveUp { .. }
        )
    })
}

fn committed_has_outcome(protocol: &Protocol, state: &State) -> bool {
    let ledgered = state.tables.ledgered();
    let below = protocol.scenario.those(|record| {
        let committed = state.committed[usize::from(record.partition)];
        committed.is_some_and(|committed| record.offset < committed)
    });
    (below - ledgered).is_empty()
}

fn outcomes_are_true(protocol: &Protocol, state: &State) -> bool {
    let tables = &state.tables;
    protocol.scenario.those(|_| true).iter().all(|number| {
        let record = protocol.scenario.record(number);
        match outcome(protocol, tables, number) {
            Some(Outcome::Stored | Outcome::Duplicate) if record.is_put() => tables
                .latest(record.id, record.trace)
                .any(|(row, _)| row.version.time >= record.version_time),
            Some(Outcome::Stored | Outcome::Pending) => tables.changes.has(number),
            Some(Outcome::DeadLettered) => {
                let is_final = record.is_put() || tables.given_up.has(number);
                tables.letters.has(number) && is_final
            }
            Some(_) => false,
            None => true,
        }
    })
}

/// Save for what a zombie stores after it.
fn buried_is_not_stored(protocol: &Protocol, state: &State) -> bool {
    let dead = outcome_is_dead(protocol, &state.tables);
    !dead.meets(state.tables.stored() - state.tables.stored_by_zombie)
}

fn balances(protocol: &Protocol, state: &State) -> bool {
    let tables = &state.tables;
    protocol.scenario.those(|_| true).iter().all(|number| {
        let id = protocol.scenario.record(number).id;
        match outcome(protocol, tables, number) {
            None => false,
            Some(Outcome::Pending) => {
                tables.current_rows(id).is_empty() && !tables.given_up.has(number)
            }
            Some(Outcome::DeadLettered) => true,
            Some(_) => !(tables.given_up - tables.raced).has(number),
        }
    })
}

fn says_one_thing(protocol: &Protocol, state: &State) -> bool {
    // Two tombstones say the same, whatever they were.
    let says = |row: &Row| (!row.is_deleted).then_some(row.fields);
    protocol.scenario.identities().iter().all(|(id, trace)| {
        let mut latest = state.tables.latest(*id, *trace).map(|(row, _)| says(row));
        let first = latest.next();
        latest.all(|other| Some(other) == first)
    })
}

/// What a reader sees of a feedback, and whether the other orders have it.
fn seen<'s>(protocol: &Protocol, state: &'s State, id: u8, trace: u8) -> Option<(&'s Row, bool)> {
    if retracted(protocol, state)
        .iter()
        .any(|c| protocol.scenario.record(c).id == id)
    {
        return None;
    }
    let is_whole = state.tables.latest(id, trace).any(|(_, whole)| *whole);
    let (row, _) = state.tables.latest(id, trace).last()?;
    (!row.is_deleted).then_some((row, is_whole))
}

/// The retractions that hide their feedback whatever its rows say.
fn retracted(protocol: &Protocol, state: &State) -> Bits {
    if protocol.is(Mutation::RetractionAsWithdrawal) {
        return Bits::NONE;
    }
    let retractions = protocol.scenario.those(|r| r.kind == Kind::Retract);
    (state.tables.changes & retractions) - state.tables.given_up
}

fn orders_have_it(protocol: &Protocol, state: &State) -> bool {
    protocol
        .scenario
        .identities()
        .iter()
        .all(|(id, trace)| seen(protocol, state, *id, *trace).is_none_or(|(_, is_whole)| is_whole))
}

fn retracted_is_unseen(protocol: &Protocol, state: &State) -> bool {
    let retractions = protocol.scenario.those(|r| r.kind == Kind::Retract);
    let done = retractions & state.tables.ledgered();
    let ids: Bits = done
        .iter()
        .map(|c| protocol.scenario.record(c).id)
        .collect();
    let mut identities = protocol.scenario.identities().into_iter();
    identities.all(|(id, trace)| !ids.has(id) || seen(protocol, state, id, trace).is_none())
}

fn latest_is_seen(protocol: &Protocol, state: &State) -> bool {
    let scenario = &protocol.scenario;
    let dead = outcome_is_dead(protocol, &state.tables);
    let puts = scenario.those(|r| r.is_put()) - (dead - state.tables.stored_by_zombie);
    let time = |put: &u8| scenario.record(*put).version_time;
    scenario.identities().iter().all(|(id, trace)| {
        let of =
            |kind: fn(&crate::scenario::Record) -> bool| scenario.those(|r| r.id == *id && kind(r));
        let is_retracted = !of(|r| r.kind == Kind::Retract).is_empty();
        let here = puts & scenario.those(|r| (r.id, r.trace) == (*id, *trace));
        let latest = here.iter().max_by_key(time);
        let latest = latest.filter(|put| scenario.record(*put).kind == Kind::Put);
        let seen = seen(protocol, state, *id, *trace).map(|(row, _)| row);
        let Some(put) = latest.filter(|_| !is_retracted) else {
            return seen.is_none();
        };
        // A patch acts on the latest: in an earlier trace it may have come in time.
        let everywhere = puts & of(|r| r.is_put());
        let is_latest = everywhere.iter().all(|other| time(&other) <= time(&put));
        let patches = of(|r| matches!(r.kind, Kind::Patch(_))) - dead;
        // One that was marked in the moment in which its feedback came may be in.
        let raced = state.tables.raced.subsets();
        let mut promised = raced
            .into_iter()
            .map(|raced| protocol.promised(put, patches | raced));
        seen.is_some_and(|row| {
            let is_promised = promised.any(|fields| fields == row.fields);
            row.version.time == time(&put) && (!is_latest || is_promised)
        })
    })
}

fn given_up_for_a_reason(protocol: &Protocol, state: &State) -> bool {
    let scenario = &protocol.scenario;
    let dead = outcome_is_dead(protocol, &state.tables);
    let puts = scenario.those(|r| r.is_put()) - dead;
    state.tables.given_up.iter().all(|number| {
        let given_up = scenario.record(number);
        !puts.iter().any(|put| {
            let put = scenario.record(put);
            put.id == given_up.id && put.received <= given_up.received
        })
    })
}
