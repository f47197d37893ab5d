//! Which offsets may be committed (PROTOCOL: step 7).
//!
//! Batches end in any order; offsets are committed in the order in which they
//! were read. So a commit never covers an offset without its ledger row (V5).

use std::collections::{BTreeMap, VecDeque};

/// The batches that are not committed, in the order in which they were read.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    batches: VecDeque<Open>,
    /// Per partition, the next offset to read after everything that is done.
    done: BTreeMap<i32, i64>,
    /// What was taken to be committed last.
    taken: BTreeMap<i32, i64>,
    next: u64,
}

#[derive(Debug)]
struct Open {
    number: u64,
    /// Per partition, the offset after its last.
    ends: Vec<(i32, i64)>,
    done: bool,
}

impl Offsets {
    /// A batch has begun; its number names it when it is done.
    pub(crate) fn begin(&mut self, ranges: &[(i32, i64, i64)]) -> u64 {
        let number = self.next;
        self.next += 1;
        self.batches.push_back(Open {
            number,
            ends: ranges
                .iter()
                .map(|(partition, _, last)| (*partition, last + 1))
                .collect(),
            done: false,
        });
        number
    }

    /// The batch's steps are done.
    pub(crate) fn finish(&mut self, number: u64) {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.number == number) {
            batch.done = true;
        }
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.done) {
            self.done.extend(batch.ends);
        }
    }

    /// Batches that are not ended, or wait for one before them that is not.
    pub(crate) fn open(&self) -> usize {
        self.batches.len()
    }

    /// Takes what can be committed: for each partition the next offset to read.
    pub(crate) fn take_done(&mut self) -> Vec<(i32, i64)> {
        let done = std::mem::take(&mut self.done);
        self.taken.extend(&done);
        done.into_iter().collect()
    }

    /// Makes what was taken before something to take again, beside what was not: for
    /// a commit that failed, or that nobody has heard of.
    pub(crate) fn take_again(&mut self) {
        let done = std::mem::replace(&mut self.done, std::mem::take(&mut self.taken));
        self.done.extend(done);
    }

    /// Whether there is something to commit.
    pub(crate) fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Forgets a partition that is another sink's now.
    pub(crate) fn forget(&mut self, partition: i32) {
        self.done.remove(&partition);
        self.taken.remove(&partition);
        for batch in &mut self.batches {
            batch.ends.retain(|(of, _)| *of != partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_only_a_contiguous_prefix_is_committed() {
        let mut offsets = Offsets::default();
        let first = offsets.begin(&[(0, 0, 9), (1, 0, 4)]);
        let second = offsets.begin(&[(0, 10, 19)]);
        offsets.finish(second);
        assert_eq!(offsets.take_done(), [], "the first batch is not done");
        offsets.finish(first);
        assert_eq!(offsets.take_done(), [(0, 20), (1, 5)]);
        assert!(!offsets.has_done());
    }

    #[test]
    fn what_was_not_committed_is_taken_again_with_what_came_after() {
        let mut offsets = Offsets::default();
        for ranges in [[(0, 0, 9), (1, 0, 4)], [(0, 10, 19), (2, 0, 0)]] {
            let batch = offsets.begin(&ranges);
            offsets.finish(batch);
            offsets.take_done();
        }
        let batch = offsets.begin(&[(0, 20, 29)]);
        offsets.finish(batch);
        offsets.forget(1);
        offsets.take_again();
        assert_eq!(offsets.take_done(), [(0, 30), (2, 1)]);
    }

    #[test]
    fn a_partition_that_went_away_is_not_committed() {
        let mut offsets = Offsets::default();
        let batch = offsets.begin(&[(0, 0, 9), (1, 0, 4)]);
        offsets.forget(0);
        offsets.finish(batch);
        assert_eq!(offsets.take_done(), [(1, 5)]);
    }
}
