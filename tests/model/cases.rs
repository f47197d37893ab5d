//! What is checked, and what has to be caught.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use stateright::{Checker, HasDiscoveries, Model};

use crate::mutation::Mutation;
use crate::properties::RESTS;
use crate::protocol::Protocol;
use crate::scenario::{ALL_FAULTS, Fault, Scenario, patch, patch_first, put, retract, withdraw};
use crate::state::{Action, State};
use crate::work::Work;

/// From the first state to one that tells.
type Way = stateright::Path<State, Action>;

/// The protocol itself: nothing is broken, and there is rest.
fn holds(mut scenario: Scenario) {
    let at_most = at_most();
    scenario.budget += u8::from(at_most.is_some() && scenario.budget > 0);
    let protocol = Protocol {
        scenario,
        mutation: None,
    };
    let started = SystemTime::now();
    let name = protocol.scenario.name;
    let builder = protocol.checker().threads(2);
    let builder = builder.finish_when(HasDiscoveries::AnyFailures);
    // Breadth first finds a short way, and holds all of a depth in memory.
    let (states, found) = match at_most {
        Some(at_most) => explored(&builder.timeout(at_most).spawn_dfs().join()),
        None => explored(&builder.spawn_bfs().join()),
    };
    let took = started.elapsed().unwrap_or_default();
    let is_whole = at_most.is_none_or(|at_most| took < at_most);
    let whole = if is_whole { "all" } else { "as far as it got" };
    println!(
        "{name}: {states} states, {whole}, {:.1} s",
        took.as_secs_f64()
    );
    let mut broken = String::new();
    let mut rests = false;
    for (property, path) in found {
        if property == RESTS {
            rests = true;
        } else {
            write!(broken, "{property}\n{}", path_of(path)).unwrap();
        }
    }
    assert!(broken.is_empty(), "{broken}");
    assert!(rests, "there is no rest");
}

/// How long each scenario may take, with one more thing that goes wrong in it.
fn at_most() -> Option<Duration> {
    let seconds = std::env::var("PLAUDIT_MODEL").ok()?;
    let seconds = seconds
        .parse()
        .expect("PLAUDIT_MODEL is a number of seconds");
    Some(Duration::from_secs(seconds))
}

/// How many states there are, and what was found among them.
fn explored(checker: &impl Checker<Protocol>) -> (usize, Vec<(&'static str, Way)>) {
    let found = checker.discoveries().into_iter().collect();
    (checker.unique_state_count(), found)
}

/// The way to a state, a line an action.
fn path_of(path: Way) -> String {
    let mut text = String::new();
    for (state, action) in path.into_vec() {
        match action {
            Some(Action::Go(number)) => {
                let work = &state.works[state.work(number)];
                let Work {
                    sink, task, step, ..
                } = work;
                writeln!(
                    text,
                    "  {task:?} {number} of sink {sink}: {step:?}, {:?}",
                    work.doing
                )
            }
            Some(action) => writeln!(text, "  {action:?}"),
            None => writeln!(text, "  then: {state:?}"),
        }
        .unwrap();
    }
    text
}

/// The protocol with one thing wrong: this property breaks, and it does not otherwise.
fn catches(mutation: Mutation, property: &'static str, scenario: Scenario) {
    let mutated = Protocol {
        scenario,
        mutation: Some(mutation),
    };
    let checker = mutated
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .spawn_bfs()
        .join();
    let others: Vec<_> = checker.discoveries().into_keys().collect();
    println!(
        "{mutation:?}: {} states, broken {others:?}",
        checker.unique_state_count()
    );
    assert!(
        checker.discovery(property).is_some(),
        "{mutation:?} does not break \"{property}\" (but {others:?})"
    );
}

// === the protocol ===

const LOST: [Fault; 2] = [Fault::Crash, Fault::Lose];

#[test]
fn a_put_and_its_patch() {
    let topic: [&[_]; 2] = [&[put(0, 1)], &[patch(0, 2)]];
    holds(
        Scenario::new("a put and its patch", &topic)
            .sinks(2)
            .faults(2, &ALL_FAULTS),
    );
}

#[test]
fn a_put_and_patches_of_two_partitions() {
    let topic: [&[_]; 2] = [&[put(0, 1), patch(0, 3)], &[patch_first(0, 2)]];
    holds(
        Scenario::new("a put and two patches", &topic)
            .sinks(2)
            .faults(1, &LOST),
    );
}

#[test]
fn two_puts_and_patches_between() {
    let topic: [&[_]; 2] = [&[put(0, 4), patch(0, 5)], &[put(0, 1), patch(0, 2)]];
    holds(
        Scenario::new("two puts, patches between", &topic)
            .sinks(2)
            .faults(1, &LOST),
    );
}

#[test]
fn patches_before_their_put() {
    let topic: [&[_]; 2] = [&[patch(0, 4), put(0, 2)], &[patch_first(0, 1)]];
    let scenario = Scenario::new("patches before their put", &topic).sinks(2);
    holds(scenario.clock_skew(1).faults(1, &[Fault::Lose]));
}

#[test]
fn a_withdrawal_is_not_undone_by_a_patch() {
    let topic: [&[_]; 2] = [&[put(0, 1), withdraw(0, 2)], &[patch(0, 3)]];
    holds(
        Scenario::new("a withdrawal and a patch", &topic)
            .sinks(2)
            .faults(1, &LOST),
    );
}

#[test]
fn a_withdrawal_is_reopened_by_a_put() {
    let topic: [&[_]; 2] = [&[put(0, 1), put(0, 3)], &[withdraw(0, 2), patch(0, 4)]];
    holds(Scenario::new("a withdrawal and a put", &topic).sinks(2));
}

#[test]
fn a_retraction_is_final_in_every_trace() {
    let topic: [&[_]; 2] = [&[put(0, 1), put(0, 3).in_trace(1)], &[retract(0, 2)]];
    let scenario = Scenario::new("a retraction, two traces", &topic).sinks(2);
    holds(scenario.faults(1, &ALL_FAULTS));
}

#[test]
fn a_patch_and_a_retraction_of_one_feedback() {
    let topic: [&[_]; 2] = [&[put(0, 1), retract(0, 3)], &[patch(0, 2)]];
    let scenario = Scenario::new("a put, its patch and its retraction", &topic).sinks(2);
    holds(scenario.faults(1, &ALL_FAULTS));
}

#[test]
fn a_retraction_before_its_feedback() {
    let topic: [&[_]; 2] = [&[retract(0, 1)], &[put(0, 2), patch(0, 3)]];
    let scenario = Scenario::new("a retraction before its put", &topic).sinks(2);
    holds(scenario.faults(1, &ALL_FAULTS));
}

#[test]
fn what_cannot_be_stored_is_set_aside() {
    let poison = put(1, 2).poisoned();
    let topic: [&[_]; 1] = [&[put(0, 1), poison, poison, put(2, 3)]];
    let scenario = Scenario::new("poison, and what is exhausted", &topic).sinks(2);
    holds(scenario.dead_letters_exhausted().faults(2, &ALL_FAULTS));
}

#[test]
fn a_put_comes_again() {
    let topic: [&[_]; 2] = [&[put(0, 1), put(0, 1)], &[put(0, 1), put(0, 2)]];
    let scenario = Scenario::new("a put, again and again", &topic).sinks(2);
    holds(scenario.dead_letters_exhausted().faults(1, &ALL_FAULTS));
}

#[test]
fn batches_end_in_any_order() {
    let topic: [&[_]; 1] = [&[put(0, 1), put(1, 2), put(2, 3)]];
    let scenario = Scenario::new("batches in flight", &topic).in_flight(2);
    holds(scenario.faults(2, &ALL_FAULTS));
}

#[test]
fn a_patch_is_given_up() {
    let late = put(0, 3).of_version(1);
    let topic: [&[_]; 2] = [&[patch(0, 1)], &[put(1, 2), late]];
    let scenario = Scenario::new("a patch without its feedback", &topic).sinks(2);
    holds(scenario.gives_up().faults(1, &LOST));
}

// === the protocol with one thing wrong ===

#[test]
fn whatever_is_done_wrong_is_caught() {
    for mutation in Mutation::ALL {
        let (promise, scenario) = mutation.breaks();
        holds(scenario.clone());
        catches(mutation, promise, scenario);
    }
}
