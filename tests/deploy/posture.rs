//! What the engine says of the containers: who they are and what they may do.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::docker::{Container, Project};

/// What runs once and ends.
const ONCE: &str = "migrate";

/// The profiles start what the file says that they do.
///
/// # Errors
/// When they do not.
pub(crate) async fn check_profiles(project: &Project) -> Result<()> {
    let minimal = ["clickhouse", "intake", "kafka", "migrate", "query", "sink"];
    for (profiles, more) in [
        (&[][..], &["grafana", "prometheus"][..]),
        (&["--profile", "minimal"], &[]),
        (&["--profile", "load"], &["load"]),
    ] {
        let text = project
            .compose(&[profiles, &["config", "--services"]].concat())
            .await?;
        let mut services: Vec<&str> = text.lines().collect();
        services.sort_unstable();
        let mut expected = [&minimal, more].concat();
        expected.sort_unstable();
        ensure!(services == expected, "{profiles:?}: {services:?}");
    }
    Ok(())
}

/// Everybody is well, and on loopback; ours can do nothing but their work.
///
/// # Errors
/// With what is otherwise.
pub(crate) async fn check(project: &Project, services: &[&str]) -> Result<()> {
    for service in services {
        let containers = project.containers(service).await?;
        ensure!(!containers.is_empty(), "no {service}");
        for container in containers {
            let is_well = container.is_healthy() || *service == ONCE;
            ensure!(is_well, "{service} is not healthy");
            on_loopback(service, &container)?;
            limited(service, &container)?;
            bounded(service, &container)?;
            if image(&container).starts_with("plaudit:") {
                confined(service, &container)?;
            }
        }
    }
    Ok(())
}

/// Each has ended by itself, with 0.
///
/// # Errors
/// When one was killed, or failed.
pub(crate) async fn check_ended_well(project: &Project, services: &[&str]) -> Result<()> {
    for service in services {
        let states = project
            .compose(&["ps", "--all", "--format", "json", service])
            .await?;
        for state in states.lines() {
            let state: Value = serde_json::from_str(state)?;
            ensure!(state["ExitCode"] == 0, "{service}: {state:#}");
        }
    }
    Ok(())
}

fn image(container: &Container) -> &str {
    container.0["Config"]["Image"].as_str().unwrap_or_default()
}

fn on_loopback(service: &str, container: &Container) -> Result<()> {
    let ports = container.0["HostConfig"]["PortBindings"].as_object();
    let bindings = ports.into_iter().flat_map(|ports| ports.values());
    for binding in bindings.flat_map(|bindings| bindings.as_array().into_iter().flatten()) {
        ensure!(binding["HostIp"] == "127.0.0.1", "{service}: {binding}");
    }
    Ok(())
}

fn limited(service: &str, container: &Container) -> Result<()> {
    let host = &container.0["HostConfig"];
    for limit in ["Memory", "NanoCpus"] {
        let is_set = host[limit].as_u64().is_some_and(|limit| limit > 0);
        ensure!(is_set, "{service} has no limit of {limit}");
    }
    Ok(())
}

/// It has no more rights than it is given by name, and can gain none.
fn bounded(service: &str, container: &Container) -> Result<()> {
    let host = &container.0["HostConfig"];
    ensure!(host["CapDrop"] == json!(["ALL"]), "{service}: {host:#}");
    let options = host["SecurityOpt"].as_array();
    let no_more = options.is_some_and(|options| options.contains(&json!("no-new-privileges:true")));
    ensure!(no_more, "{service} can gain privileges");
    Ok(())
}

fn confined(service: &str, container: &Container) -> Result<()> {
    let host = &container.0["HostConfig"];
    ensure!(host["ReadonlyRootfs"] == true, "{service} can write");
    let added = host["CapAdd"].as_array();
    ensure!(added.is_none_or(Vec::is_empty), "{service}: {host:#}");
    let user = container.0["Config"]["User"].as_str().unwrap_or_default();
    let number = user.split(':').next().and_then(|user| user.parse().ok());
    ensure!(
        number.is_some_and(|user: u32| user > 0),
        "{service} runs as {user:?}"
    );
    Ok(())
}
