//! Deployment, on real parts: the chart, the rules, the dashboard, a Kubernetes.
//!
//! `cargo test --test deploy` runs every case, with names behind `--` those. What needs a
//! machine of its own (a Docker engine, a cluster) runs this program again inside of it.

mod charts;
mod kubernetes;
mod monitoring;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use kubernetes::Images;
use support::{repository, scratch_directory};

const CASES: [&str; 3] = ["charts", "monitoring", "kubernetes"];

fn main() -> Result<ExitCode> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        arguments = CASES.map(str::to_owned).to_vec();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut code = ExitCode::SUCCESS;
        for case in arguments {
            match run_case(&case).await {
                Ok(text) => say(&format!("ok    {case}\n{text}")),
                Err(error) => {
                    say(&format!("FAIL  {case}: {error:#}"));
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    })
}

async fn run_case(case: &str) -> Result<String> {
    let cache = PathBuf::from(std::env::var("HOME")?).join(".cache/plaudit-deploy");
    let programs = cache.join("bin");
    let directory = scratch_directory("plaudit-deploy")?.join(case);
    std::fs::create_dir_all(&directory)?;
    match case {
        "charts" => charts::check(&programs, &directory).await,
        "monitoring" => monitoring::check(&programs, &directory).await,
        "kubernetes" => inside_a_cluster(&cache).await,
        "inside-cluster" => {
            let images = Images {
                plaudit: "plaudit:test".to_owned(),
                kafka: "apache/kafka:4.3.0".to_owned(),
                clickhouse: "clickhouse/clickhouse-server:26.7".to_owned(),
            };
            let table = kubernetes::check(&programs, &images, &directory).await?;
            Ok(table.to_string())
        }
        other => bail!("no case is called {other}; there are {}", CASES.join(", ")),
    }
}

async fn inside_a_cluster(cache: &Path) -> Result<String> {
    let scripts = repository().join("tests/deploy");
    let status = tokio::process::Command::new(scripts.join("engine.sh"))
        .args(["closed".as_ref(), cache.as_os_str()])
        .arg(scripts.join("kubernetes/cluster.sh"))
        .arg(cache)
        .arg(std::env::current_exe()?)
        .arg("inside-cluster")
        .status()
        .await
        .context("run engine.sh")?;
    if status.success() {
        return Ok(String::new());
    }
    bail!("{status}")
}

#[expect(clippy::print_stdout, reason = "the runner's own output")]
fn say(text: &str) {
    println!("{text}");
}
