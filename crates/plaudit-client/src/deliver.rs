//! One batch, from its first request to the end of its last item.
//!
//! The invariant: every item ends exactly once, with a receipt or with a reason,
//! and until then it is in `left`, so that whoever is interrupted knows what is not
//! settled. Every attempt carries the same ids (promise **P3**).

use std::borrow::Borrow;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plaudit_event::Receipt;

use crate::item::Item;
use crate::{Answer, AnswerItem, Api, Reason, RequestError, RetryPolicy, Wait};

/// How an item ended.
pub(crate) type Verdict = Result<Receipt, Reason>;

/// Sends batches, each until it is settled.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) api: Api,
    pub(crate) retry: RetryPolicy,
}

impl Delivery {
    /// Sends `left` until nothing is left, and calls `settle` once for each item.
    ///
    /// Cancel safe in so far as `left` then holds what is not settled.
    pub(crate) async fn deliver<E: Borrow<Item>>(
        &self,
        left: &mut Vec<E>,
        mut settle: impl FnMut(E, Verdict),
    ) {
        let mut pauses = self.retry.pauses();
        let mut attempts = 0;
        while !left.is_empty() {
            attempts += 1;
            let Err(error) = self.attempt(left, &mut settle).await else {
                return;
            };
            let retry = error.is_transient();
            let pause = self.pause(&error, pauses.next());
            let last = Arc::new(error);
            if !retry {
                let reason = Reason::Refused(last);
                return left
                    .drain(..)
                    .for_each(|entry| settle(entry, Err(reason.clone())));
            }
            if attempts >= self.retry.stop_after_attempt {
                let reason = Reason::Exhausted { attempts, last };
                return left
                    .drain(..)
                    .for_each(|entry| settle(entry, Err(reason.clone())));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One request. `Ok` when nothing is left.
    async fn attempt<E: Borrow<Item>>(
        &self,
        left: &mut Vec<E>,
        settle: &mut impl FnMut(E, Verdict),
    ) -> Result<(), RequestError> {
        let reply = self.api.post_feedback(body(left), Wait::Durable).await?;
        settle_answered(&reply.answer()?, left, settle);
        if left.is_empty() {
            return Ok(());
        }
        Err(RequestError::Unconfirmed {
            retry_after: reply.retry_after,
        })
    }

    /// The server's wish and the client's own backoff: whichever is longer.
    fn pause(&self, error: &RequestError, backoff: Option<Duration>) -> Duration {
        let asked = error.retry_after().unwrap_or_default();
        asked
            .min(self.retry.max_retry_after)
            .max(backoff.unwrap_or(self.retry.max))
    }
}

/// Settles what the answer says the end of, and keeps the rest in order.
fn settle_answered<E>(answer: &Answer<'_>, left: &mut Vec<E>, settle: &mut impl FnMut(E, Verdict)) {
    let mut verdicts: Vec<Option<Verdict>> = Vec::new();
    verdicts.resize_with(left.len(), || None);
    for item in &answer.items {
        if let Some(slot) = verdicts.get_mut(item.index) {
            *slot = AnswerItem::verdict(item);
        }
    }
    for (entry, verdict) in mem::take(left).into_iter().zip(verdicts) {
        match verdict {
            Some(verdict) => settle(entry, verdict),
            None => left.push(entry),
        }
    }
}

fn body<E: Borrow<Item>>(items: &[E]) -> Bytes {
    let bytes: usize = items
        .iter()
        .map(|entry| entry.borrow().json.len() + 1)
        .sum();
    let mut body = Vec::with_capacity(bytes + 1);
    let mut separator = b'[';
    for entry in items {
        body.push(separator);
        body.extend_from_slice(entry.borrow().json.as_bytes());
        separator = b',';
    }
    body.push(b']');
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;

    #[test]
    fn a_pause_is_the_longer_of_backoff_and_a_bounded_retry_after() {
        let delivery = Delivery {
            api: Client::builder("http://127.0.0.1").build_api().unwrap(),
            retry: RetryPolicy {
                max_retry_after: Duration::from_secs(30),
                ..RetryPolicy::default()
            },
        };
        let pause = |asked: Option<u64>, backoff| {
            let error = RequestError::Unconfirmed {
                retry_after: asked.map(Duration::from_secs),
            };
            delivery.pause(&error, Some(Duration::from_secs(backoff)))
        };
        assert_eq!(pause(None, 2), Duration::from_secs(2));
        assert_eq!(pause(Some(1), 2), Duration::from_secs(2));
        assert_eq!(pause(Some(5), 2), Duration::from_secs(5));
        assert_eq!(pause(Some(3600), 2), Duration::from_secs(30));
    }
}
