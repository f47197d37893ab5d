//! Waiting for a condition, with a deadline.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How long anything may take: far beyond what it does take, on a machine that is busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at the condition.
const LOOK: Duration = Duration::from_millis(20);

/// Asks until `check` has something, and returns it.
///
/// # Errors
/// The first error of `check`, or that `what` did not come about within [`DEADLINE`].
pub async fn wait_for<T>(
    what: &str,
    mut check: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check().await? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain for {what}", DEADLINE.as_secs());
        }
        sleep(LOOK).await;
    }
}

/// Asks until `check` says yes.
///
/// # Errors
/// As [`wait_for`].
pub async fn wait_until(what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, async || Ok(check().await?.then_some(()))).await
}
