//! Whether what was acknowledged can be read.

use std::time::Duration;

use anyhow::{Context, bail};
use plaudit_client::Api;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How long the last acknowledged event may take to be readable.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Reads each id through the query API, again and again until it is there.
///
/// # Errors
/// When the query service does not answer, or an id is not there in time.
pub(crate) async fn verify(api: &Api, ids: &[Uuid]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for (found, id) in ids.iter().enumerate() {
        while !api.has_feedback(*id).await.context("read a feedback")? {
            if Instant::now() >= deadline {
                bail!(
                    "of {} acknowledged ids {found} are readable, then {id} is not after {PATIENCE:?}",
                    ids.len()
                );
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}
