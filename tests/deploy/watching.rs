//! Prometheus: whom it scrapes, and whether it reaches them.

use anyhow::Result;
use support::Api;

use crate::docker::eventually;

/// Waits until each of these services has so many targets that are up, and none that is
/// not.
///
/// # Errors
/// When that does not come about.
pub(crate) async fn wait(prometheus: &Api, services: &[(&str, usize)]) -> Result<()> {
    let mut last = String::new();
    let all_up = eventually("Prometheus to reach every service", async || {
        let Ok(answer) = prometheus.get("/api/v1/targets?state=active").await else {
            return Ok(false);
        };
        let targets = answer.at("/data/activeTargets").as_array();
        let of = |service: &str| {
            let targets = targets.into_iter().flatten();
            let mut up = Vec::new();
            up.extend(
                targets
                    .filter(|target| target["labels"]["job"] == service)
                    .map(|target| target["health"] == "up"),
            );
            up
        };
        last = answer.text.clone();
        Ok(services.iter().all(|(service, count)| {
            let up = of(service);
            up.len() == *count && up.iter().all(|up| *up)
        }))
    });
    all_up.await.map_err(|error| error.context(last))
}
