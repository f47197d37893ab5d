//! The dashboard as it is shipped: what its panels ask, and what Grafana would refuse.
//!
//! No Grafana can be had here. What it would show is held against a real Prometheus in
//! `monitoring`; that it would show it at all is known by its form alone.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use support::repository;

/// Columns of a row.
const WIDTH: u64 = 24;

/// Title and query of every panel, with what Grafana would put in.
///
/// # Errors
/// When the file is no dashboard.
pub(crate) fn queries() -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for panel in panels()? {
        let title = panel["title"].as_str().context("a title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a query")?;
            let query = query
                .replace("$__rate_interval", "1m")
                .replace("$__range", "15m");
            queries.push((format!("panel `{title}`"), query));
        }
    }
    Ok(queries)
}

/// Each panel is one of its own, in a place of its own, and asks who is chosen above it;
/// what is provisioned finds the file.
///
/// # Errors
/// With the first that is not.
pub(crate) fn check() -> Result<usize> {
    let panels = panels()?;
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in &panels {
        let title = panel["title"].as_str().context("a title")?;
        ensure!(
            ids.insert(panel["id"].as_u64()),
            "{title}: its id is another's"
        );
        let place = |key: &str| panel["gridPos"][key].as_u64().context("a place");
        let (x, y, w, h) = (place("x")?, place("y")?, place("w")?, place("h")?);
        ensure!(
            w > 0 && h > 0 && x + w <= WIDTH,
            "{title}: out of the board"
        );
        for column in x..x + w {
            for row in y..y + h {
                let is_free = taken.insert((column, row));
                ensure!(is_free, "{title}: it is over another");
            }
        }
        let is_row = panel["type"] == "row";
        let source = &panel["datasource"]["uid"];
        ensure!(is_row || source == "${datasource}", "{title}: {source}");
        let shown = panel["description"].as_str().unwrap_or_default();
        ensure!(is_row || !shown.is_empty(), "{title}: what does it mean?");
    }
    let provisioning = repository().join("deploy/grafana/provisioning");
    for (file, needed) in [
        ("datasources/prometheus.yml", "url: http://prometheus:9090"),
        ("dashboards/plaudit.yml", "path: /etc/grafana/dashboards"),
    ] {
        let text = std::fs::read_to_string(provisioning.join(file))?;
        ensure!(text.contains(needed), "{file}: no `{needed}`");
    }
    Ok(panels.len())
}

fn panels() -> Result<Vec<Value>> {
    let file = repository().join("deploy/grafana/dashboards/plaudit.json");
    let board: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let panels = board["panels"].as_array().context("panels")?;
    Ok(panels.clone())
}
