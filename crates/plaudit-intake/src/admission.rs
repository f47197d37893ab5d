//! Who may come in: promise **P5** for requests, their bytes, and a key's rate.
//!
//! Every bound answers at once. Nobody waits here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use plaudit_service::{ApiError, ErrorCode};
use tokio::time::Instant;

use crate::LimitsConfig;

/// Counts what is under way.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Arc<Pool>,
    /// Those of them that nobody with a key has sent.
    unknown: Arc<Pool>,
    bytes: Arc<Pool>,
    rates: Rates,
}

/// A number of things of which some are taken.
#[derive(Debug)]
struct Pool {
    size: usize,
    free: AtomicUsize,
}

/// Things taken from a pool, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    pool: Arc<Pool>,
    count: usize,
}

/// A bucket of tokens for each key: one a request, a second's worth at most.
#[derive(Debug)]
struct Rates {
    per_second: f64,
    /// As many as the key file has keys: a stranger makes none.
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// One in so many requests under way may be without a key.
const UNKNOWN_SHARE: usize = 8;

/// Seconds after which a full intake has room again.
const RETRY_AFTER: u32 = 1;

// === impl Admission ===

impl Admission {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        Self {
            requests: Pool::of(limits.concurrent_requests),
            unknown: Pool::of((limits.concurrent_requests / UNKNOWN_SHARE).max(1)),
            bytes: Pool::of(limits.buffered_bytes),
            rates: Rates {
                per_second: f64::from(limits.requests_per_second),
                buckets: Mutex::default(),
            },
        }
    }

    /// Lets a request in until the guard is dropped.
    ///
    /// # Errors
    /// 503 when too many are under way.
    pub(crate) fn enter(&self) -> Result<Taken, ApiError> {
        one_of(&self.requests)
    }

    /// Lets in one of these that has no key: strangers are not to take the places of all.
    ///
    /// # Errors
    /// 503 when too many of them are under way.
    pub(crate) fn enter_unknown(&self) -> Result<Taken, ApiError> {
        one_of(&self.unknown)
    }

    /// Room for a body that is about to be read: none yet.
    pub(crate) fn room(&self) -> Taken {
        self.bytes.none()
    }

    /// Requests that are not answered yet.
    pub(crate) fn requests(&self) -> usize {
        self.requests.taken()
    }

    /// Bytes of their bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.taken()
    }

    /// Counts a request of a key.
    ///
    /// # Errors
    /// 429 when the key's rate is used up.
    pub(crate) fn count(&self, key_id: &Arc<str>) -> Result<(), ApiError> {
        if self.rates.take(key_id, Instant::now()) {
            return Ok(());
        }
        let error = ApiError::new(ErrorCode::RateLimited, "the key's rate is used up");
        Err(error.retry_after(RETRY_AFTER))
    }
}

fn one_of(pool: &Arc<Pool>) -> Result<Taken, ApiError> {
    let mut request = pool.none();
    request
        .grow(1)
        .then_some(request)
        .ok_or_else(|| ApiError::unavailable("too many requests are under way", RETRY_AFTER))
}

// === impl Pool ===

impl Pool {
    fn of(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            free: AtomicUsize::new(size),
        })
    }

    fn taken(&self) -> usize {
        self.size - self.free.load(Ordering::Relaxed)
    }

    fn none(self: &Arc<Self>) -> Taken {
        Taken {
            pool: Arc::clone(self),
            count: 0,
        }
    }
}

impl Taken {
    /// Takes `more`, or nothing when there are not so many.
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        // Relaxed: a count, and nothing that it guards.
        let taken = self
            .pool
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(more)
            })
            .is_ok();
        if taken {
            self.count += more;
        }
        taken
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.pool.free.fetch_add(self.count, Ordering::Relaxed);
    }
}

// === impl Rates ===

impl Rates {
    fn take(&self, key_id: &Arc<str>, now: Instant) -> bool {
        if self.per_second == 0.0 {
            return true;
        }
        // A panic elsewhere does not make the buckets wrong.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(Arc::clone(key_id)).or_insert(Bucket {
            tokens: self.per_second,
            at: now,
        });
        let earned = now.duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.tokens = (bucket.tokens + earned).min(self.per_second);
        bucket.at = now;
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(change: impl FnOnce(&mut LimitsConfig)) -> Admission {
        let mut limits = LimitsConfig::default();
        change(&mut limits);
        Admission::new(&limits)
    }

    #[test]
    fn p5_what_is_full_has_room_again_when_a_guard_is_dropped() {
        let admission = admission(|limits| limits.concurrent_requests = 2);
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        let error = admission.enter().unwrap_err();
        assert_eq!(
            (error.code, error.retry_after),
            (ErrorCode::Unavailable, Some(1))
        );
        drop(first);
        assert!(admission.enter().is_ok());
    }

    #[test]
    fn p5_strangers_leave_places_for_who_has_a_key() {
        let admission = admission(|limits| limits.concurrent_requests = 8);
        let stranger = admission.enter_unknown().unwrap();
        assert!(admission.enter_unknown().is_err());
        assert!(admission.enter().is_ok());
        drop(stranger);
        assert!(admission.enter_unknown().is_ok());
    }

    #[test]
    fn p5_bytes_are_taken_whole_or_not_at_all() {
        let admission = admission(|limits| limits.buffered_bytes = 100);
        let (mut one, mut other) = (admission.room(), admission.room());
        assert!(one.grow(60));
        assert!(!other.grow(41));
        assert!(other.grow(40));
        assert!(!one.grow(1));
        assert_eq!(admission.bytes(), 100);
        drop(other);
        assert_eq!(admission.bytes(), 60);
        assert!(one.grow(40));
    }

    #[tokio::test(start_paused = true)]
    async fn p5_a_key_has_its_rate_to_itself() {
        let admission = admission(|limits| limits.requests_per_second = 2);
        let (busy, quiet): (Arc<str>, Arc<str>) = ("busy".into(), "quiet".into());
        assert!(admission.count(&busy).is_ok() && admission.count(&busy).is_ok());
        let error = admission.count(&busy).unwrap_err();
        assert_eq!(
            (error.code, error.retry_after),
            (ErrorCode::RateLimited, Some(1))
        );
        assert!(admission.count(&quiet).is_ok());
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(admission.count(&busy).is_ok());
        assert!(admission.count(&busy).is_err());
    }
}
