//! What ClickHouse cannot take, found by halving (**P6**).
//!
//! Used for rows and for folds alike. What is refused is handed back with all of
//! its attempts ended: none of them can land later.

use plaudit_store::Payload;

use crate::config::OnExhausted;
use crate::retry::{GaveUp, Why};
use crate::steps::{Steps, Stop};

/// Items that ClickHouse did not take: one that it cannot take, or several whose
/// attempts are used up.
#[derive(Debug)]
pub(crate) struct Refused<'i, T> {
    pub(crate) items: &'i [T],
    pub(crate) gave_up: GaveUp,
}

impl Steps {
    /// Inserts items, the same bytes at every attempt, and halves what is refused
    /// as data until the items that are to blame stand alone.
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
        let mut parts = vec![items];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let payload = payload_of(part);
            let insert = || self.store.insert(&payload);
            let mut answer = self.retry.ask(request, insert).await;
            if let Err(first) = &answer
                && first.why == Why::Poison
                && part.len() == 1
            {
                // Bytes that were cut off on their way look like bad data, once.
                let unanswered = first.unanswered;
                answer = self.retry.ask(request, insert).await;
                answer = answer.map_err(|again| again.after(unanswered));
            }
            let gave_up = match answer {
                Ok(()) => {
                    inserted(&payload);
                    continue;
                }
                Err(gave_up) => gave_up,
            };
            if gave_up.unanswered && gave_up.why != Why::Fatal {
                self.insist("end unanswered inserts", || self.store.kill(&payload))
                    .await?;
            }
            match (gave_up.why, on_exhausted) {
                (Why::Fatal, _) => {
                    let source = gave_up.error;
                    return Err(Stop::Store { request, source });
                }
                (Why::Poison, _) if part.len() > 1 => {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([right, left]);
                }
                (Why::Exhausted, OnExhausted::Hold) => {
                    self.retry.hold(request, &gave_up.error).await;
                    parts.push(part);
                }
                (Why::Poison, _) | (Why::Exhausted, OnExhausted::DeadLetter) => {
                    refused.push(Refused {
                        items: part,
                        gave_up,
                    });
                }
            }
        }
        Ok(refused)
    }
}
