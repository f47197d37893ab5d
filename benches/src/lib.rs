//! What the benchmarks share: CPU time and memory by process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// User and system time that a process has used so far.
///
/// # Errors
/// When the process is gone, or this is not Linux.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).context("read the process's times")?;
    // The command's name, in brackets, may hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("parse the process's times")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    // The kernel's USER_HZ is 100 on every platform that Linux runs on.
    Ok(Duration::from_millis(ticks * 10))
}

/// The most memory that a process has had resident, in KiB.
///
/// # Errors
/// As [`cpu_time`].
pub fn peak_resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("read the process's memory")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .context("parse the process's memory")
}

/// Lets the peak of this process begin anew, at what is resident now.
///
/// # Errors
/// When this is not Linux.
pub fn reset_peak_resident() -> anyhow::Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("reset the peak of resident memory")
}
