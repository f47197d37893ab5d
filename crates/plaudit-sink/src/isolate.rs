//! What ClickHouse cannot take, found by halving (**P6**).
//!
//! Used for rows and for folds alike. What is refused is handed back with all of
//! its attempts ended: none of them can land later.
//!
//! Data that the server calls bad is halved at once. What it refuses again and again
//! without saying so is halved when its attempts are used up: one row may be to blame
//! there as well. It may also be the server, which then refuses every half; that is
//! noticed after a few rows, and the rest is not taken apart.

use plaudit_store::Payload;

use crate::config::OnExhausted;
use crate::retry::{GaveUp, Why};
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

/// What has become of the parts so far.
#[derive(Default)]
struct Findings {
    /// Something went in: what does not is to blame itself.
    any_inserted: bool,
    /// Single items whose attempts were used up.
    exhausted_alone: usize,
}

/// So many single items are refused, and nothing is taken, before it is the server.
const ALONE: usize = 4;

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
        let mut findings = Findings::default();
        let mut parts = vec![Part { items, tried: 0 }];
        while let Some(part) = parts.pop() {
            if part.items.is_empty() {
                continue;
            }
            let payload = payload_of(part.items);
            let Err(gave_up) = self.insert_part(request, &part, &payload).await? else {
                inserted(&payload);
                findings.any_inserted = true;
                continue;
            };
            match (gave_up.why, on_exhausted) {
                (Why::Fatal, _) => {
                    let source = gave_up.error;
                    return Err(Stop::Store { request, source });
                }
                (Why::Poison | Why::Exhausted, _) if findings.may_halve(&part, gave_up.why) => {
                    parts.extend(part.halves(&gave_up));
                }
                (Why::Exhausted, OnExhausted::Hold) => {
                    self.retry.hold(request, &gave_up.error).await;
                    parts.push(part);
                }
                (Why::Poison, _) | (Why::Exhausted, OnExhausted::DeadLetter) => {
                    refused.push(Refused {
                        items: part.items,
                        gave_up,
                    });
                }
            }
        }
        Ok(refused)
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
        let mut answer = if part.tried > 0 && !is_alone {
            // Its attempts are used up, and it can still be halved.
            self.retry.ask_up_to(1, request, insert).await
        } else {
            self.retry.ask(request, insert).await
        };
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
        if gave_up.unanswered && gave_up.why != Why::Fatal {
            self.insist("end unanswered inserts", || self.store.kill(payload))
                .await?;
        }
        gave_up.attempts += part.tried;
        Ok(Err(gave_up))
    }
}

impl<'i, T> Part<'i, T> {
    /// The second half and then the first: the last is the next one.
    fn halves(&self, gave_up: &GaveUp) -> [Self; 2] {
        let tried = match gave_up.why {
            Why::Exhausted => gave_up.attempts,
            Why::Poison | Why::Fatal => self.tried,
        };
        let (left, right) = self.items.split_at(self.items.len() / 2);
        [right, left].map(|items| Self { items, tried })
    }
}

impl Findings {
    /// Whether a refused part is to be taken apart further.
    fn may_halve<T>(&mut self, part: &Part<'_, T>, why: Why) -> bool {
        let is_alone = part.items.len() == 1;
        if why == Why::Poison {
            return !is_alone;
        }
        if is_alone {
            self.exhausted_alone += 1;
        }
        !is_alone && (self.any_inserted || self.exhausted_alone < ALONE)
    }
}
