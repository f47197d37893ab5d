//! What is done outside, where registries of packages are reached: the tools, the
//! vendors' clients and the images. Then the program runs itself inside.
//!
//! Everything is kept: a second run finds it and builds what has changed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use plaudit::parts;
use support::{repository, scratch_directory};
use tokio::time::Instant;

use crate::{Case, Place, say, vendors};

/// Where images and tools are kept.
///
/// # Errors
/// When the user has no home.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = cache.or_else(home).context("HOME is not set")?;
    Ok(cache.join("plaudit/deploy"))
}

/// Makes ready what the cases need, and runs them, each in its place.
///
/// # Errors
/// When something cannot be had.
pub(crate) fn run(cache: &Path, cases: &[&Case]) -> Result<ExitCode> {
    let is_root = nix::unistd::geteuid().is_root();
    ensure!(is_root, "a Docker engine of its own needs root");
    std::fs::create_dir_all(cache)?;
    let parts = repository().join(".plaudit/parts");
    timed("tools", || script("tools.sh", &[cache.as_ref()]))?;
    timed("parts", || {
        parts::kafka_jars(&parts)?;
        parts::clickhouse_library(&parts)?;
        Ok(())
    })?;
    let are_at = |place| cases.iter().any(|case| case.place == place);
    if are_at(Place::Engine) {
        timed("the vendors' clients", vendors::install)?;
    }
    if are_at(Place::Cluster) || are_at(Place::Here) {
        let tools = "kubernetes/tools.sh";
        timed("Kubernetes", || script(tools, &[cache.as_ref()]))?;
    }
    if are_at(Place::Cluster) || are_at(Place::Engine) {
        timed("images", || {
            let images = folder().join("images.sh");
            let open = ["open".as_ref(), cache.as_os_str()];
            let words = [images.as_ref(), cache.as_ref(), parts.as_ref()];
            script("engine.sh", &[&open[..], &words].concat())
        })?;
    }
    let mut failed = false;
    for place in [Place::Here, Place::Engine, Place::Cluster] {
        let of_it = cases.iter().filter(|case| case.place == place);
        let names: Vec<&str> = of_it.map(|case| case.name).collect();
        if !names.is_empty() {
            let mut inside = inside(place, cache)?;
            inside.arg("--cache").arg(cache).arg("--inside").args(names);
            let ended = inside.status().with_context(|| format!("{place:?}"))?;
            failed |= !ended.success();
        }
    }
    Ok(ExitCode::from(u8::from(failed || cases.is_empty())))
}

/// This program again, there.
fn inside(place: Place, cache: &Path) -> Result<Command> {
    let program = std::env::current_exe()?;
    if place == Place::Here {
        return Ok(Command::new(program));
    }
    let mut inside = Command::new(folder().join("engine.sh"));
    inside.arg("closed").arg(cache);
    if place == Place::Cluster {
        let cluster = folder().join("kubernetes/cluster.sh");
        inside.arg(cluster).arg(cache);
    }
    inside.arg(program);
    Ok(inside)
}

/// The folder of this suite.
pub(crate) fn folder() -> PathBuf {
    repository().join("tests/deploy")
}

fn script(name: &str, arguments: &[&std::ffi::OsStr]) -> Result<()> {
    let mut command = Command::new(folder().join(name));
    let ended = command.args(arguments).status();
    let ended = ended.with_context(|| format!("run {name}"))?;
    ensure!(ended.success(), "{name} failed");
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let done = work().with_context(|| format!("prepare {what}"))?;
    say(&format!("{what}: {} s", began.elapsed().as_secs()));
    Ok(done)
}

/// Where a case has what it makes, and where its logs stay until it runs again.
pub(crate) fn own_directory(case: &str) -> Result<PathBuf> {
    let directory = scratch_directory("plaudit-deploy")?.join(case);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
