//! What ClickHouse cannot take, found by halving (**P6**).
//!
//! Used for rows and for folds alike. What is refused is handed back with all of
//! its attempts ended: none of them can land later.
//!
//! Data that the server calls bad is halved at once. What it refuses again and again
//! without saying so is halved when its attempts are used up: one row may be to blame
//! there as well. It may also be the server, which then refuses every half: after a few
//! single rows in a row the rest is laid aside, and is taken apart further only if
//! something has gone in by the end.
//!
//! What is larger than ClickHouse has memory or time for is halved as well, down to what is
//! no more than a small insert: else it would be sent again for ever, and block all behind.

use plaudit_store::Payload;

use crate::config::OnExhausted;
use crate::retry::{GaveUp, Patience, Why};
use crate::steps::{Steps, Stop};

/// Items that ClickHouse did not take: one that it cannot take, or several whose
/// attempts are used up where it takes nothing at all.
#[derive(Debug)]
pub(crate) struct Refused<'i, T> {
    pub(crate) items: &'i [T],
    pub(crate) gave_up: GaveUp,
}

/// Items that are inserted together.
#[derive(Clone, Copy)]
struct Part<'i, T> {
    items: &'i [T],
    /// Attempts that were refused while they were part of more.
    tried: usize,
}

/// Single items refused one after another, with nothing taken in between, before it is
/// the server that is to blame.
const ALONE: usize = 4;

/// Attempts of a single item that was refused at every attempt while it was part of more.
const AGAIN_ALONE: usize = 3;

/// Times in a row that memory or time runs out before a part is halved.
const TOO_MUCH: usize = 5;

/// Parts of fewer are not halved for that: many small inserts help no server.
const MUCH: usize = 1024;

impl Steps {
    /// Inserts items, the same bytes at every attempt, and halves what is refused
    /// until the items that are to blame stand alone.
    ///
    /// An error answer can leave rows stored: what is refused is not yet known
    /// to be absent.
    pub(crate) async fn insert_or_isolate<'i, T: Sync>(
        &self,
        request: &'static str,
        items: &'i [T],
        on_exhausted: OnExhausted,
        payload_of: impl Fn(&[T]) -> Payload,
        inserted: impl Fn(&Payload),
    ) -> Result<Vec<Refused<'i, T>>, Stop> {
        let mut refused = Vec::new();
        let mut parts = vec![Part { items, tried: 0 }];
        // What was exhausted, until it is known whose fault that is.
        let mut aside: Vec<(Part<'i, T>, GaveUp)> = Vec::new();
        let (mut alone_in_turn, mut any_inserted) = (0, false);
        loop {
            let Some(part) = parts.pop() else {
                if aside.is_empty() {
                    return Ok(refused);
                }
                let (again, given_up) = self
                    .after_all(request, on_exhausted, any_inserted, aside)
                    .await;
                refused.extend(given_up);
                parts.extend(again);
                (aside, alone_in_turn, any_inserted) = (Vec::new(), 0, false);
                continue;
            };
            if part.items.is_empty() {
                continue;
            }
            let payload = payload_of(part.items);
            let Err(gave_up) = self.insert_part(request, &part, &payload).await? else {
                inserted(&payload);
                (alone_in_turn, any_inserted) = (0, true);
                continue;
            };
            let is_alone = part.items.len() == 1;
            match gave_up.why {
                Why::Fatal => {
                    let source = gave_up.error;
                    return Err(Stop::Store { request, source });
                }
                Why::TooMuch => {
                    let error = &gave_up.error;
                    let rows = part.items.len();
                    tracing::warn!(request, rows, %error, "more than clickhouse can take: halved");
                    parts.extend(part.halves(part.tried));
                }
                Why::Poison if is_alone => refused.push(part.refused(gave_up)),
                Why::Poison => parts.extend(part.halves(part.tried)),
                Why::Exhausted if is_alone => {
                    alone_in_turn += 1;
                    aside.push((part, gave_up));
                }
                Why::Exhausted if alone_in_turn < ALONE => {
                    parts.extend(part.halves(gave_up.attempts));
                }
                Why::Exhausted => aside.push((part, gave_up)),
            }
        }
    }

    /// What becomes of exhausted parts when all others have their end: which are tried
    /// again, and which are given up.
    async fn after_all<'i, T>(
        &self,
        request: &'static str,
        on_exhausted: OnExhausted,
        any_inserted: bool,
        aside: Vec<(Part<'i, T>, GaveUp)>,
    ) -> (Vec<Part<'i, T>>, Vec<Refused<'i, T>>) {
        let (mut again, mut given_up) = (Vec::new(), Vec::new());
        if on_exhausted == OnExhausted::Hold {
            if let Some((_, first)) = aside.first() {
                self.retry.hold(request, &first.error).await;
            }
            again.extend(aside.into_iter().map(|(part, _)| part));
            return (again, given_up);
        }
        for (part, gave_up) in aside {
            if part.items.len() > 1 && any_inserted {
                // It was not the server: some of these may be good.
                again.extend(part.halves(gave_up.attempts));
            } else {
                given_up.push(part.refused(gave_up));
            }
        }
        (again, given_up)
    }

    /// Inserts one part. What is given up has ended: none of its attempts can land.
    async fn insert_part<T>(
        &self,
        request: &'static str,
        part: &Part<'_, T>,
        payload: &Payload,
    ) -> Result<Result<(), GaveUp>, Stop> {
        let insert = || self.store.insert(payload);
        let is_alone = part.items.len() == 1;
        let usual = self.retry.patience();
        let patience = Patience {
            attempts: match (part.tried, is_alone) {
                (0, _) => usual.attempts,
                (_, true) => AGAIN_ALONE,
                // It can still be halved.
                (_, false) => 1,
            },
            too_much: (part.items.len() > MUCH).then_some(TOO_MUCH),
        };
        let mut answer = self.retry.ask_with(patience, request, insert).await;
        if let Err(first) = &answer
            && first.why == Why::Poison
            && is_alone
        {
            // Bytes that were cut off on their way look like bad data, once.
            let unanswered = first.unanswered;
            answer = self.retry.ask(request, insert).await;
            answer = answer.map_err(|again| again.after(unanswered));
        }
        let Err(mut gave_up) = answer else {
            return Ok(Ok(()));
        };
        // Of several shards one has refused its rows, and another may still take its own.
        let may_land = gave_up.unanswered || (!is_alone && self.store.is_cluster());
        if may_land && gave_up.why != Why::Fatal {
            self.insist("end unanswered inserts", || self.store.kill(payload))
                .await?;
        }
        gave_up.attempts += part.tried;
        Ok(Err(gave_up))
    }
}

impl<'i, T> Part<'i, T> {
    /// The second half and then the first: the last is the next one.
    fn halves(&self, tried: usize) -> [Self; 2] {
        let (left, right) = self.items.split_at(self.items.len() / 2);
        [right, left].map(|items| Self { items, tried })
    }

    fn refused(self, gave_up: GaveUp) -> Refused<'i, T> {
        Refused {
            items: self.items,
            gave_up,
        }
    }
}
