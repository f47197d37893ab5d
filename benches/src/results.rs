//! Writes what a run found: JSON for programs, Markdown for the repository.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::report::Report;
use crate::stage::repository;

/// The machine that a run was on.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Its processor.
    pub processor: String,
    /// How many of its cores there are for us.
    pub cores: usize,
    /// Its memory.
    pub memory_gib: u64,
    /// Its kernel.
    pub kernel: String,
}

/// Everything that is written.
#[derive(Serialize)]
struct Results<'a> {
    command: &'a str,
    machine: &'a Machine,
    took_seconds: u64,
    #[serde(flatten)]
    report: &'a Report,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let line = |file: &str, field: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let found = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == field).then(|| value.trim().to_owned())
            });
            found.unwrap_or_else(|| "unknown".to_owned())
        };
        let memory = line("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        Self {
            processor: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib >> 20,
            kernel: kernel.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
        }
    }
}

/// Writes `results.json` into `directory` and, for a whole measurement, `RESULTS.md`
/// beside the benchmarks.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    directory: &Path,
    command: &str,
    took_seconds: u64,
    report: &Report,
    whole: bool,
) -> anyhow::Result<()> {
    let machine = Machine::this();
    let results = Results {
        command,
        machine: &machine,
        took_seconds,
        report,
    };
    fs::create_dir_all(directory).context("make the directory of the results")?;
    let json = serde_json::to_string_pretty(&results)?;
    fs::write(directory.join("results.json"), json).context("write the results")?;
    if !whole {
        return Ok(());
    }
    let Machine {
        processor,
        cores,
        memory_gib,
        kernel,
    } = &machine;
    let text = format!(
        "# Results\n\nWritten by `{command}` in {took_seconds} s on {cores} cores ({processor}), \
         {memory_gib} GiB, Linux {kernel}. Broker,\nengine, services and load share them. What \
         the columns mean is in [docs/performance.md](../docs/performance.md).\n\n{}\n{}\n",
        report.tables(),
        report.verdict()
    );
    fs::write(repository().join("benches/RESULTS.md"), text).context("write RESULTS.md")
}
