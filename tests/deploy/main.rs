//! Deployment, as it is shipped, on real parts: `make test-deploy`.
//!
//! `charts` asks Helm and promtool, `monitoring` asks a Prometheus every question of rules and
//! dashboard. The image is built with `deploy/Dockerfile`; `image` looks into it and lets it
//! speak TLS with everybody. `kubernetes` installs the chart and disturbs it under load, and
//! `compose`: `docker-compose.yml` brings everything up, the vendors' clients call it, and
//! while feedback is sent each container is killed in turn. Then the oracle of the fault suite counts, and `plaudit verify --deep` must
//! agree: nothing acknowledged is lost (**P1**, **P2**), nothing is seen twice (**P3**).
//!
//! It needs root, and a Docker engine's program, which it installs where there is none;
//! the engine itself is its own (`engine.sh`), in namespaces that end with this process.
//! No image is pulled: those of others are made of the same software under their names
//! (`images.sh`). So this program runs twice: outside, to build what needs a registry of
//! packages, and `--inside`, where there is a network but no way out of it.
//!
//! It is no part of `make test`: the feature `deploy` keeps it away from there.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod charts;
#[path = "../sdk/client.rs"]
mod client;
mod compose;
mod dashboard;
mod docker;
mod image;
#[path = "../sdk/install.rs"]
mod install;
mod kubernetes;
mod load;
mod monitoring;
mod posture;
mod prepare;
mod run;
mod table;
mod traffic;
mod vendors;
mod watching;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Parser;
use tokio::time::{Instant, timeout};

/// Builds, brings up, breaks and counts.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run these cases only
    cases: Vec<String>,
    /// Where images and tools are kept [default: plaudit/deploy in the user's cache]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// What the program says to itself where there is an engine
    #[arg(long, hide = true)]
    inside: bool,
}

/// One way to deploy, and what must hold of it.
struct Case {
    name: &'static str,
    place: Place,
    run: fn(PathBuf) -> Running,
}

/// A case under way, which ends with what it has to show.
type Running = Pin<Box<dyn Future<Output = Result<String>>>>;

/// What a case runs inside of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// This machine.
    Here,
    /// A Docker engine of its own.
    Engine,
    /// A Kubernetes of its own, beside such an engine.
    Cluster,
}

const CASES: &[Case] = &[
    Case {
        name: "charts",
        place: Place::Here,
        run: |cache| Box::pin(async move { charts::check(&cache).await }),
    },
    Case {
        name: "monitoring",
        place: Place::Here,
        run: |cache| Box::pin(async move { monitoring::check(&cache).await }),
    },
    Case {
        name: "image",
        place: Place::Engine,
        run: |_| Box::pin(image::check()),
    },
    Case {
        name: "compose",
        place: Place::Engine,
        run: |_| Box::pin(async { Ok(compose::run().await?.to_string()) }),
    },
    Case {
        name: "kubernetes",
        place: Place::Cluster,
        run: |cache| Box::pin(async move { Ok(kubernetes::check(&cache).await?.to_string()) }),
    },
];

/// Far beyond what a case takes.
const CASE: Duration = Duration::from_secs(1500);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let cache = match &arguments.cache {
        Some(cache) => cache.clone(),
        None => prepare::cache()?,
    };
    let is_chosen = |case: &&Case| {
        arguments.cases.is_empty() || arguments.cases.iter().any(|name| name == case.name)
    };
    let chosen: Vec<&Case> = CASES.iter().filter(is_chosen).collect();
    if !arguments.inside {
        return prepare::run(&cache, &chosen);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    Ok(runtime.block_on(run_all(&chosen, &cache)))
}

async fn run_all(chosen: &[&Case], cache: &Path) -> ExitCode {
    let mut failed = 0;
    for case in chosen {
        let began = Instant::now();
        let result = timeout(CASE, (case.run)(cache.to_owned())).await;
        let result = result.unwrap_or_else(|_| Err(anyhow!("it does not end")));
        let seconds = began.elapsed().as_secs();
        match result {
            Ok(shown) => say(&format!("{}: held, in {seconds} s\n{shown}\n", case.name)),
            Err(error) => {
                failed += 1;
                say(&format!(
                    "{}: FAILED after {seconds} s: {error:#}",
                    case.name
                ));
            }
        }
    }
    let passed = chosen.len() - failed;
    say(&format!("{passed} passed, {failed} failed"));
    ExitCode::from(u8::from(failed > 0 || passed == 0))
}

#[expect(clippy::print_stdout, reason = "the runner's own output")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
