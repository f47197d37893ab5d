//! Every object that the chart can make, before a real API server.
//!
//! Strictly: a field that it does not know is an error, and so is a warning, of which
//! the restricted level of Pod Security makes one a pod. What the Prometheus operator takes is
//! held against the operator's own definitions. Nothing is made.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use support::repository;

use super::cluster::Cluster;
use crate::charts::{EXAMPLES, options, render};
use crate::run::Program;

/// Of the dry runs alone.
const NAMESPACE: &str = "dry-run";

pub(crate) async fn check(programs: &Path, cluster: &Cluster) -> Result<()> {
    cluster.namespace(NAMESPACE, "restricted").await?;
    let definitions = programs.parent().context("a cache")?.join("operator");
    for entry in std::fs::read_dir(definitions)? {
        let definition = entry?.path().display().to_string();
        cluster
            .kubectl("default", &["create", "--filename", &definition])
            .await?;
    }
    let established = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=60s",
    ];
    cluster.kubectl("default", &established).await?;

    let helm = Program::new(programs.join("helm"));
    let chart = repository().join("deploy/kubernetes/chart");
    let mut values: Vec<PathBuf> = EXAMPLES.iter().map(|name| chart.join(name)).collect();
    values.extend(options::FILES.map(options::file));
    for values in values {
        let objects = render(&helm, &[&values], &[]).await?;
        let (made, warnings) = cluster
            .dry_run(NAMESPACE, &objects)
            .await
            .with_context(|| values.display().to_string())?;
        ensure!(
            !warnings.contains("Warning"),
            "{}: {warnings}",
            values.display()
        );
        ensure!(made.lines().count() > 10, "{}: {made}", values.display());
    }
    for entry in std::fs::read_dir(repository().join("deploy/kubernetes/plain"))? {
        let file = entry?.path();
        let (_, warnings) = cluster
            .dry_run(NAMESPACE, &std::fs::read_to_string(&file)?)
            .await?;
        ensure!(
            !warnings.contains("Warning"),
            "{}: {warnings}",
            file.display()
        );
    }
    Ok(())
}
