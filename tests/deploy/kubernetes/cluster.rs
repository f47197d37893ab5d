//! The cluster that this program runs inside of, asked by kubectl.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use support::repository;

use crate::run::{Program, output};

/// Asks the API server that `KUBECONFIG` names.
pub(crate) struct Cluster {
    kubectl: Program,
    script: PathBuf,
}

impl Cluster {
    /// # Errors
    /// When this program was not started by `cluster.sh`.
    pub(crate) fn new(programs: &Path) -> Result<Self> {
        std::env::var_os("PLAUDIT_CLUSTER").context("run this inside of cluster.sh")?;
        Ok(Self {
            kubectl: Program::new(programs.join("kubectl")),
            script: repository().join("tests/deploy/kubernetes/cluster.sh"),
        })
    }

    /// Brings images of the Docker engine to the node.
    pub(crate) async fn load(&self, images: &[&str]) -> Result<()> {
        let arguments: Vec<&str> = ["load"].iter().chain(images).copied().collect();
        Program::new(&self.script).run(&arguments).await.map(drop)
    }

    pub(crate) async fn kubectl(&self, namespace: &str, arguments: &[&str]) -> Result<String> {
        output(
            self.kubectl
                .run(&in_namespace(namespace, arguments))
                .await?,
        )
    }

    pub(crate) async fn apply(&self, namespace: &str, objects: &str) -> Result<()> {
        let arguments = in_namespace(namespace, &["apply", "--filename", "-"]);
        self.kubectl.feed(&arguments, objects).await.map(drop)
    }

    /// What the API server would say to these objects, warnings among it.
    pub(crate) async fn dry_run(&self, namespace: &str, objects: &str) -> Result<(String, String)> {
        let arguments = [
            "create",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            "-",
        ];
        let said = self
            .kubectl
            .feed(&in_namespace(namespace, &arguments), objects)
            .await?;
        let warnings = String::from_utf8_lossy(&said.stderr).into_owned();
        Ok((output(said)?, warnings))
    }

    /// Makes a namespace that enforces a level of Pod Security.
    pub(crate) async fn namespace(&self, name: &str, level: &str) -> Result<()> {
        self.kubectl(name, &["create", "namespace", name]).await?;
        let label = format!("pod-security.kubernetes.io/enforce={level}");
        let warn = format!("pod-security.kubernetes.io/warn={level}");
        self.kubectl(name, &["label", "namespace", name, &label, &warn])
            .await?;
        Ok(())
    }

    /// Where a Service is found from this node.
    pub(crate) async fn url(&self, namespace: &str, service: &str, port: u16) -> Result<String> {
        let path = "jsonpath={.spec.clusterIP}";
        let address = self
            .kubectl(namespace, &["get", "service", service, "--output", path])
            .await?;
        Ok(format!("http://{address}:{port}"))
    }

    pub(crate) async fn restart(&self, namespace: &str, workload: &str) -> Result<()> {
        self.kubectl(namespace, &["rollout", "restart", workload])
            .await?;
        self.rolled_out(namespace, workload).await
    }

    /// Waits until every pod of a workload is of its newest form, and ready.
    pub(crate) async fn rolled_out(&self, namespace: &str, workload: &str) -> Result<()> {
        let arguments = ["rollout", "status", workload, "--timeout=5m"];
        self.kubectl(namespace, &arguments).await.map(drop)
    }

    /// The pods of a component, in order.
    pub(crate) async fn pods(&self, namespace: &str, component: &str) -> Result<Vec<String>> {
        let selector = format!("app.kubernetes.io/component={component}");
        let arguments = ["get", "pods", "--selector", &selector, "--output", "json"];
        let pods: Value = serde_json::from_str(&self.kubectl(namespace, &arguments).await?)?;
        let pods = pods["items"].as_array().context("items")?;
        let name = |pod: &Value| Some(pod["metadata"]["name"].as_str()?.to_owned());
        let mut names: Vec<String> = pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .filter_map(name)
            .collect();
        names.sort();
        Ok(names)
    }

    pub(crate) async fn log(&self, namespace: &str, pod: &str) -> Result<String> {
        self.kubectl(namespace, &["logs", pod]).await
    }

    /// Kills what runs in a pod with SIGKILL: no drain, no word to the Service before.
    pub(crate) async fn kill(&self, namespace: &str, pod: &str) -> Result<()> {
        let path = "jsonpath={.status.containerStatuses[0].containerID}";
        let id = self
            .kubectl(namespace, &["get", "pod", pod, "--output", path])
            .await?;
        let id = id.strip_prefix("containerd://").context("a container")?;
        Program::new(&self.script)
            .run(&["kill", id])
            .await
            .map(drop)
    }

    /// Puts the logs of all pods, and what the API server says of them, into a directory.
    pub(crate) async fn keep_logs(&self, directory: &Path) -> Result<()> {
        let every = ["get", "pods,events", "--all-namespaces", "--output", "wide"];
        std::fs::write(
            directory.join("pods"),
            self.kubectl("default", &every).await?,
        )?;
        for namespace in [super::NAMESPACE, super::BACKEND] {
            let names = ["get", "pods", "--output", "name"];
            for pod in self.kubectl(namespace, &names).await?.lines() {
                // One that never started has none.
                let log = self
                    .kubectl(namespace, &["logs", pod])
                    .await
                    .unwrap_or_default();
                std::fs::write(directory.join(pod.replace('/', "-") + ".log"), log)?;
            }
        }
        Ok(())
    }
}

fn in_namespace<'a>(namespace: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    ["--namespace", namespace]
        .iter()
        .chain(arguments)
        .copied()
        .collect()
}
