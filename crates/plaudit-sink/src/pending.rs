//! Patches whose feedback is not there yet.
//!
//! Such a patch is durable in `changes`, so its offset is committed; whoever
//! stores the feedback folds it. This list is for telling the ledger so, and for
//! giving up in the end (`give_up`). It is read back from the ledger when a
//! partition begins, and when what did not fit has room: it is a cache, with a
//! bound (**P5**), of what the ledger knows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plaudit_event::{Micros, Outcome};
use plaudit_store::{Change, LedgerRange};
use tokio::time::Instant;

use crate::fold::Id;
use crate::give_up::{RECORDS_AT_A_TIME, ranges_at};
use crate::metrics;
use crate::steps::{Steps, Stop};

/// The patches that wait, of the partitions that this sink has.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    list: Mutex<List>,
    /// Held by who gives patches up: a batch and a round may both come to the same one.
    pub(crate) giving_up: tokio::sync::Mutex<()>,
}

/// A patch that waits for its feedback. Its record stays in `changes`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) id: Id,
    pub(crate) received_at: Micros,
    /// Given up, before a crash came between that and its outcome.
    pub(crate) gave_up: bool,
}

#[derive(Debug, Default)]
struct List {
    waiting: BTreeMap<(i32, i64), Waiting>,
    bytes: usize,
    /// Where the next round begins.
    next: (i32, i64),
    /// This sink's partitions, and whether the list has all that waits in them.
    whole: BTreeMap<i32, bool>,
    /// When the logs may be asked again whether late patches are to be given up.
    next_look: Option<Instant>,
}

/// What became of patches that came to the list, for the balance of **P2**: what is in it is
/// counted as gone in and waiting, and nothing else is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Added {
    new: usize,
    /// They were in it before.
    known: usize,
    /// They do not fit, or are another sink's.
    left_out: usize,
    /// Those of them that were in it before.
    dropped: usize,
}

/// Between two looks at all partitions' logs and ledgers.
const LOOK_AT_LOGS: Duration = Duration::from_secs(5);

/// What the list may take in memory. What does not fit is read from the ledger
/// when half of it is free again, at the latest when its oldest are given up.
const MOST_BYTES: usize = 16 << 20;

/// Patches that one round looks at; the next round goes on after them.
const A_ROUND: usize = 5000;

// === impl Waiting ===

impl Waiting {
    pub(crate) fn of(change: &Change) -> Self {
        Self {
            partition: change.partition,
            offset: change.offset,
            id: (change.project.clone(), change.id),
            received_at: change.received_at,
            gave_up: change.gave_up.is_some(),
        }
    }

    pub(crate) fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }

    fn bytes(&self) -> usize {
        size_of::<((i32, i64), Self)>() + self.id.0.len()
    }
}

// === impl Pending ===

impl Pending {
    /// This sink has the partition from now on; what waits in it is to be read.
    pub(crate) fn begin(&self, partition: i32) {
        self.list().whole.insert(partition, false);
    }

    /// Forgets a partition that is another sink's now.
    pub(crate) fn forget(&self, partition: i32) {
        let mut list = self.list();
        list.whole.remove(&partition);
        let gone = (partition, i64::MIN)..=(partition, i64::MAX);
        let gone: Vec<_> = list.waiting.range(gone).map(|(place, _)| *place).collect();
        list.remove(&gone);
        metrics::skipped(gone.len());
    }

    /// Takes patches of a batch in, as far as they fit and their partitions are this sink's.
    pub(crate) fn add(&self, waiting: impl IntoIterator<Item = Waiting>) {
        let added = self.list().add(waiting, MOST_BYTES);
        metrics::skipped(added.known + added.left_out + added.dropped);
    }

    /// Takes patches in that another sink, or this one, had read before.
    fn take_over(&self, waiting: impl IntoIterator<Item = Waiting>) {
        let added = self.list().add(waiting, MOST_BYTES);
        metrics::records(added.new);
        metrics::skipped(added.dropped);
    }

    pub(crate) fn remove(&self, ended: &[(i32, i64)]) {
        self.list().remove(ended);
    }

    /// A partition that is not wholly in the list, if there is room for more.
    fn to_read(&self) -> Option<i32> {
        let list = self.list();
        let mut partial = list.whole.iter().filter(|(_, whole)| !**whole);
        let partition = partial.next().map(|(partition, _)| *partition);
        partition.filter(|_| list.bytes < MOST_BYTES / 2)
    }

    /// From here on, what is added and does not fit is noted.
    fn begin_reading(&self, partition: i32) {
        if let Some(whole) = self.list().whole.get_mut(&partition) {
            *whole = true;
        }
    }

    /// Whether nothing of the partition was left out so far, and it is this sink's.
    fn is_whole(&self, partition: i32) -> bool {
        self.list()
            .whole
            .get(&partition)
            .is_some_and(|whole| *whole)
    }

    /// Whether it is time to ask how far every partition is; notes that it is asked.
    pub(crate) fn may_look_at_logs(&self) -> bool {
        let (mut list, now) = (self.list(), Instant::now());
        let may = list.next_look.is_none_or(|next| next <= now);
        if may {
            list.next_look = Some(now + LOOK_AT_LOGS);
        }
        may
    }

    fn round(&self) -> Vec<Waiting> {
        self.list().round(A_ROUND)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // A panic elsewhere does not make the list wrong.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn add(&mut self, waiting: impl IntoIterator<Item = Waiting>, most_bytes: usize) -> Added {
        let mut added = Added::default();
        for waiting in waiting {
            let Some(whole) = self.whole.get_mut(&waiting.partition) else {
                added.left_out += 1;
                continue;
            };
            let (bytes, place) = (waiting.bytes(), waiting.place());
            let known = self.waiting.remove(&place);
            self.bytes -= known.as_ref().map_or(0, Waiting::bytes);
            if self.bytes + bytes > most_bytes {
                *whole = false;
                added.left_out += 1;
                added.dropped += usize::from(known.is_some());
                continue;
            }
            if known.is_some() {
                added.known += 1;
            } else {
                added.new += 1;
            }
            self.bytes += bytes;
            self.waiting.insert(place, waiting);
        }
        metrics::pending(self.waiting.len());
        added
    }

    fn remove(&mut self, places: &[(i32, i64)]) {
        for place in places {
            if let Some(known) = self.waiting.remove(place) {
                self.bytes -= known.bytes();
            }
        }
        metrics::pending(self.waiting.len());
    }

    /// The next `count` patches, all in turn.
    fn round(&mut self, count: usize) -> Vec<Waiting> {
        let next = self.next;
        let after = self.waiting.range(next..);
        let before = self
            .waiting
            .range((Bound::Unbounded, Bound::Excluded(next)));
        let mut in_turn = after.chain(before).map(|(_, waiting)| waiting);
        let round: Vec<_> = in_turn.by_ref().take(count).cloned().collect();
        self.next = in_turn.next().map(Waiting::place).unwrap_or_default();
        round
    }
}

impl Steps {
    /// Looks once whether the feedback of waiting patches has come.
    pub(crate) async fn retry_pending(&self) -> Result<(), Stop> {
        while let Some(partition) = self.pending.to_read() {
            self.read_pending(partition).await?;
        }
        let round = self.pending.round();
        if round.is_empty() {
            return Ok(());
        }
        let folded = self.fold(&ids_of(&round)).await?;
        let mut given_up = folded.unfoldable;
        let (marked, rest): (Vec<_>, Vec<_>) = round
            .into_iter()
            .partition(|waiting| waiting.gave_up || folded.given_up.contains_key(&waiting.place()));
        given_up.extend(marked.iter().map(Waiting::place));
        let (ended, waiting): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|waiting| folded.found.contains(&waiting.id));
        self.end_stored(&ended).await?;
        self.end_given_up(&given_up).await?;
        self.give_up_late(&waiting).await
    }

    /// Reads what waits in a partition from the ledger, as far as there is room.
    async fn read_pending(&self, partition: i32) -> Result<(), Stop> {
        self.pending.begin_reading(partition);
        let mut from = Some(0);
        while let Some(at) = from.filter(|_| self.pending.is_whole(partition)) {
            let (offsets, next) = self
                .insist("read pending patches", || {
                    self.store.pending_offsets(&self.topic, partition, at)
                })
                .await?;
            for offsets in offsets.chunks(RECORDS_AT_A_TIME) {
                let places: Vec<_> = offsets.iter().map(|offset| (partition, *offset)).collect();
                let changes = self.changes_at(&places).await?;
                self.pending.take_over(changes.iter().map(Waiting::of));
            }
            from = next;
        }
        Ok(())
    }

    pub(crate) async fn changes_at(&self, places: &[(i32, i64)]) -> Result<Vec<Change>, Stop> {
        let ranges = ranges_at(places);
        self.insist("read pending patches", || {
            self.store.changes_at(&self.topic, &ranges)
        })
        .await
    }

    async fn end_stored(&self, ended: &[Waiting]) -> Result<(), Stop> {
        let range = |waiting: &Waiting| LedgerRange {
            partition: waiting.partition,
            first: waiting.offset,
            last: waiting.offset,
            outcome: Outcome::Stored,
            reason: String::new(),
            min_timestamp: waiting.received_at.as_millis(),
            max_timestamp: waiting.received_at.as_millis(),
        };
        let ranges: Vec<LedgerRange> = ended.iter().map(range).collect();
        self.write_ledger(&ranges).await?;
        let places: Vec<_> = ended.iter().map(Waiting::place).collect();
        self.pending.remove(&places);
        metrics::outcome(Outcome::Stored, ended.len());
        Ok(())
    }
}

/// The feedbacks that patches wait for, each once.
pub(crate) fn ids_of<'w>(waiting: impl IntoIterator<Item = &'w Waiting>) -> Vec<Id> {
    let ids: BTreeSet<&Id> = waiting.into_iter().map(|waiting| &waiting.id).collect();
    ids.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn waiting(partition: i32, offset: i64) -> Waiting {
        Waiting {
            partition,
            offset,
            id: ("p".to_owned(), Uuid::from_u128(1)),
            received_at: Micros(0),
            gave_up: false,
        }
    }

    fn list(partitions: &[i32]) -> List {
        List {
            whole: partitions.iter().map(|p| (*p, true)).collect(),
            ..List::default()
        }
    }

    fn offsets(round: &[Waiting]) -> Vec<i64> {
        round.iter().map(|waiting| waiting.offset).collect()
    }

    #[test]
    fn rounds_take_all_in_turn() {
        let mut list = list(&[0]);
        list.add((0..5).map(|offset| waiting(0, offset)), MOST_BYTES);
        assert_eq!(offsets(&list.round(2)), [0, 1]);
        assert_eq!(offsets(&list.round(2)), [2, 3]);
        list.remove(&[(0, 4)]);
        list.add([waiting(0, 7)], MOST_BYTES);
        assert_eq!(offsets(&list.round(2)), [7, 0]);
        assert_eq!(offsets(&list.round(9)), [1, 2, 3, 7, 0]);
    }

    #[test]
    fn p5_what_does_not_fit_is_noted_to_be_read_later() {
        let mut list = list(&[0, 1]);
        let most = 3 * waiting(0, 0).bytes();
        let added = list.add((0..3).map(|offset| waiting(0, offset)), most);
        assert_eq!(added.new, 3);
        let added = list.add([waiting(0, 2)], most);
        assert_eq!((added.new, added.known), (0, 1));
        assert!(list.whole[&0], "what is known takes no more room");
        let added = list.add([waiting(1, 0), waiting(2, 0)], most);
        assert_eq!((added.left_out, added.dropped), (2, 0));
        assert_eq!(list.waiting.len(), 3);
        assert_eq!(list.whole, BTreeMap::from([(0, true), (1, false)]));
        list.remove(&[(0, 0), (0, 1), (0, 2), (0, 3)]);
        assert_eq!(list.bytes, 0);
    }

    #[test]
    fn a_partition_that_is_another_sinks_is_forgotten_and_not_added_to() {
        let pending = Pending::default();
        pending.begin(0);
        pending.begin(1);
        pending.add([waiting(0, 1), waiting(1, 2), waiting(0, 3)]);
        pending.forget(0);
        pending.add([waiting(0, 4)]);
        assert_eq!(offsets(&pending.round()), [2]);
        assert_eq!(pending.to_read(), Some(1));
        pending.begin_reading(1);
        assert_eq!(pending.to_read(), None);
    }
}
