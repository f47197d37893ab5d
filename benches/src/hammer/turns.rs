//! When the next request is to be sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// Hands out turns to connections that are free.
pub(super) struct Turns {
    /// Requests a second.
    rate: Option<f64>,
    start: Instant,
    length: Duration,
    /// What is due and has no connection yet. Bounded by the load's length.
    due: RefCell<VecDeque<Instant>>,
    /// One permit for each that is due; closed at the end.
    free: Semaphore,
}

/// How often the clock is looked at. The runtime's own timers are good to a millisecond,
/// which would be in every latency; so a thread ticks.
const TICK: Duration = Duration::from_micros(250);

impl Turns {
    pub(super) fn new(rate: Option<f64>, length: Duration) -> Self {
        Self {
            rate,
            start: Instant::now(),
            length,
            due: RefCell::default(),
            free: Semaphore::new(0),
        }
    }

    /// The time that the next request is due, once it is; `None` at the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        if self.rate.is_none() {
            let now = Instant::now();
            return (now < self.start + self.length).then_some(now);
        }
        // Closed: what was due before the end is still sent.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        self.due.borrow_mut().pop_front()
    }

    /// Lets turns become due, until the end.
    pub(super) async fn hand_out(&self) -> anyhow::Result<()> {
        let tick = ticking()?;
        let mut count = 0_u32;
        loop {
            let over = self.start.elapsed() >= self.length;
            while let Some(due) = self.due_at(count) {
                if due > Instant::now() {
                    break;
                }
                self.due.borrow_mut().push_back(due);
                self.free.add_permits(1);
                count += 1;
            }
            if over {
                self.free.close();
                return Ok(());
            }
            tick.notified().await;
        }
    }

    /// When the `count`-th request is due, if that is before the end.
    fn due_at(&self, count: u32) -> Option<Instant> {
        let after = Duration::from_secs_f64(f64::from(count) / self.rate?);
        (after < self.length).then(|| self.start + after)
    }
}

/// A thread that ticks until nobody listens any more.
fn ticking() -> anyhow::Result<Arc<Notify>> {
    let tick = Arc::new(Notify::new());
    let own = Arc::clone(&tick);
    thread::Builder::new()
        .name("tick".to_owned())
        .spawn(move || {
            while Arc::strong_count(&own) > 1 {
                thread::sleep(TICK);
                own.notify_one();
            }
        })
        .context("start the thread that ticks")?;
    Ok(tick)
}
