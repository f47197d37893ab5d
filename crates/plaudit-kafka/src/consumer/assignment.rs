//! Which partitions are owned, which of them are read, and from where.
//!
//! A partition goes from `New` (the sink has not been asked) by way of `Starting` (it
//! said where) to `Fetching`, or it is `Held`. Each step may need an answer from
//! the cluster; while there is none, the step is tried again by later polls, and
//! the group is not kept waiting.
//!
//! Invariant: librdkafka reads exactly the partitions that are `Fetching`, and each
//! of them started at an absolute offset.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as Native;
use tokio::time::Instant;

use super::{ASK, Assigned, GroupConsumer, Rebalance, StartOffset, unstarted, with_offsets};
use crate::error::KafkaError;

/// How far an owned partition has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// The sink does not know of it yet.
    New,
    /// The sink said where, and it is not read yet.
    Starting(StartOffset, Option<i64>),
    /// The sink does not want it read yet.
    Held,
    Fetching {
        start: i64,
        paused: bool,
    },
}

/// Between two tries of a step that the cluster did not answer.
const RETRY: Duration = Duration::from_secs(1);

impl GroupConsumer {
    pub(super) fn assign(&self, partitions: &[i32], rebalance: &mut dyn Rebalance) {
        tracing::info!(kafka.partitions = ?partitions, "partitions assigned");
        // This ends the rebalance for the group; reading may begin at any time after.
        if let Err(error) = self.base.incremental_assign(&unstarted(&self.topic, &[])) {
            tracing::warn!(%error, "could not take the assigned partitions");
        }
        let new = partitions.iter().map(|partition| (*partition, State::New));
        self.owned.borrow_mut().extend(new);
        self.start_assigned(rebalance);
    }

    pub(super) fn revoke(&self, partitions: &[i32], rebalance: &mut dyn Rebalance) {
        let new = self.in_state(|state| *state == State::New);
        let known: Vec<_> = partitions
            .iter()
            .copied()
            .filter(|p| !new.contains(p))
            .collect();
        let lost = self.base.assignment_lost();
        tracing::info!(kafka.partitions = ?partitions, lost, "partitions revoked");
        match (known.is_empty(), lost) {
            (true, _) => {}
            (false, true) => rebalance.on_lost(&known),
            (false, false) => rebalance.on_revoke(self, &known),
        }
        self.stop_fetching(partitions);
        let mut owned = self.owned.borrow_mut();
        owned.retain(|partition, _| !partitions.contains(partition));
        let mut asked = self.asked.borrow_mut();
        asked.retain(|partition, _| !partitions.contains(partition));
    }

    /// Tries again what the cluster did not answer, when it is time.
    pub(super) fn retry_start(&self, rebalance: &mut dyn Rebalance) {
        if self.retry_at.get().is_some_and(|at| at <= Instant::now()) {
            self.start_assigned(rebalance);
        }
    }

    fn start_assigned(&self, rebalance: &mut dyn Rebalance) {
        let started = self
            .ask_sink(rebalance)
            .and_then(|()| self.start_answered());
        self.retry_at.set(None);
        if let Err(error) = started {
            tracing::warn!(%error, "assigned partitions are not read yet");
            self.retry_at.set(Some(Instant::now() + RETRY));
        }
    }

    /// Takes the new partitions from `New` to `Starting` or `Held`.
    fn ask_sink(&self, rebalance: &mut dyn Rebalance) -> Result<(), KafkaError> {
        let new = self.in_state(|state| *state == State::New);
        if new.is_empty() {
            return Ok(());
        }
        let assigned: Vec<_> = self
            .committed(&new, ASK)?
            .into_iter()
            .map(|(partition, committed)| Assigned {
                partition,
                committed,
            })
            .collect();
        let answer = rebalance.on_assign(self, &assigned);
        let mut owned = self.owned.borrow_mut();
        for new in assigned {
            let start = answer
                .iter()
                .find(|(partition, _)| *partition == new.partition);
            let next = match start.map(|(_, start)| *start) {
                None | Some(StartOffset::Hold) => State::Held,
                Some(StartOffset::Committed) if new.committed.is_none() => State::Held,
                Some(start) => State::Starting(start, new.committed),
            };
            // The sink may have started it by itself by now.
            if let Some(state @ State::New) = owned.get_mut(&new.partition) {
                *state = next;
            }
        }
        Ok(())
    }

    /// Takes partitions from `Starting` to `Fetching`.
    fn start_answered(&self) -> Result<(), KafkaError> {
        let mut starts = Vec::new();
        for partition in self.in_state(|state| matches!(state, State::Starting(..))) {
            let state = self.owned.borrow().get(&partition).copied();
            if let Some(State::Starting(start, committed)) = state {
                let at = self.resolve(partition, start, committed)?;
                starts.extend(at.map(|at| (partition, at)));
            }
        }
        self.fetch(&starts)
            .map_err(|error| KafkaError::request("read the assigned partitions", &error))
    }

    pub(super) fn resolve(
        &self,
        partition: i32,
        start: StartOffset,
        committed: Option<i64>,
    ) -> Result<Option<i64>, KafkaError> {
        Ok(match start {
            StartOffset::Committed => committed,
            StartOffset::At(offset) => Some(offset),
            StartOffset::Hold => None,
            StartOffset::Beginning => Some(self.watermarks(partition, ASK)?.low),
        })
    }

    pub(super) fn fetch(&self, starts: &[(i32, i64)]) -> Result<(), Native> {
        if starts.is_empty() {
            return Ok(());
        }
        let list = with_offsets(&self.topic, starts)?;
        self.base.incremental_assign(&list)?;
        let fetching = starts.iter().map(|&(partition, start)| {
            let paused = false;
            (partition, State::Fetching { start, paused })
        });
        self.owned.borrow_mut().extend(fetching);
        Ok(())
    }

    pub(super) fn stop_fetching(&self, partitions: &[i32]) {
        // A pause outlives the assignment inside librdkafka.
        if let Err(error) = self.resume(partitions) {
            tracing::warn!(%error, "could not resume partitions that are given back");
        }
        let fetching = self.fetching(partitions, |_| true);
        // Also when there is none: librdkafka waits for the answer.
        let list = unstarted(&self.topic, &fetching);
        if let Err(error) = self.base.incremental_unassign(&list) {
            tracing::warn!(%error, "could not give partitions back");
        }
        let held = fetching
            .into_iter()
            .map(|partition| (partition, State::Held));
        self.owned.borrow_mut().extend(held);
    }

    pub(super) fn set_paused(&self, partitions: &[i32], pause: bool) -> Result<(), KafkaError> {
        let change = self.fetching(partitions, |paused| paused != pause);
        if change.is_empty() {
            return Ok(());
        }
        let list = unstarted(&self.topic, &change);
        let (request, result) = if pause {
            ("pause partitions", self.base.pause(&list))
        } else {
            ("resume partitions", self.base.resume(&list))
        };
        result.map_err(|error| KafkaError::request(request, &error))?;
        let mut owned = self.owned.borrow_mut();
        for partition in change {
            if let Some(State::Fetching { paused, .. }) = owned.get_mut(&partition) {
                *paused = pause;
            }
        }
        Ok(())
    }

    /// The owned partitions in a state that is `wanted`.
    pub(super) fn in_state(&self, wanted: impl Fn(&State) -> bool) -> Vec<i32> {
        let owned = self.owned.borrow();
        let partitions = owned.iter().filter(|(_, state)| wanted(state));
        partitions.map(|(partition, _)| *partition).collect()
    }

    /// Those of `partitions` that are being read, and whose pause is as `wanted`.
    fn fetching(&self, partitions: &[i32], wanted: impl Fn(bool) -> bool) -> Vec<i32> {
        let mut fetching = self
            .in_state(|state| matches!(state, State::Fetching { paused, .. } if wanted(*paused)));
        fetching.retain(|partition| partitions.contains(partition));
        fetching
    }
}
