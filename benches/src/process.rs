//! What a process uses, by the kernel's counters.
//!
//! Linux only: `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// A process that is measured. Its threads are counted with it, its children are not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Process {
    /// What it is called in tables.
    pub name: &'static str,
    /// Its number.
    pub pid: u32,
}

/// Measures processes from one moment to another.
#[derive(Debug)]
pub struct Meter(Vec<(Process, Duration)>);

/// What a process used in between.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The process.
    pub process: Process,
    /// User and system time.
    pub cpu: Duration,
    /// The most memory that it had resident.
    pub peak_mib: f64,
}

impl Process {
    /// The load itself, and whatever else the runner does.
    pub fn load() -> Self {
        Self {
            name: "load",
            pid: std::process::id(),
        }
    }

    /// User and system time so far.
    ///
    /// # Errors
    /// When the process is gone, or this is not Linux.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        cpu_of(&self.read("stat")?).with_context(|| format!("parse the times of {}", self.name))
    }

    /// Memory that is resident now, in MiB.
    ///
    /// # Errors
    /// As [`cpu`](Self::cpu).
    pub fn resident_mib(self) -> anyhow::Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most that was resident since the start or since
    /// [`forget_peak`](Self::forget_peak), in MiB.
    ///
    /// # Errors
    /// As [`cpu`](Self::cpu).
    pub fn peak_mib(self) -> anyhow::Result<f64> {
        self.memory("VmHWM:")
    }

    /// Lets the peak begin anew, at what is resident now.
    ///
    /// # Errors
    /// As [`cpu`](Self::cpu), or when the process is somebody else's.
    pub fn forget_peak(self) -> anyhow::Result<()> {
        fs::write(self.path("clear_refs"), "5")
            .with_context(|| format!("reset the peak of {}", self.name))
    }

    fn memory(self, field: &str) -> anyhow::Result<f64> {
        let status = self.read("status")?;
        let kib: Option<u32> = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|line| line.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse().ok());
        let kib = kib.with_context(|| format!("parse the memory of {}", self.name))?;
        Ok(f64::from(kib) / 1024.0)
    }

    fn read(self, file: &str) -> anyhow::Result<String> {
        fs::read_to_string(self.path(file))
            .with_context(|| format!("read /proc of {}: has it ended?", self.name))
    }

    fn path(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

impl Meter {
    /// Begins to measure.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn start(processes: &[Process]) -> anyhow::Result<Self> {
        let begin = |process: &Process| {
            process.forget_peak()?;
            Ok((*process, process.cpu()?))
        };
        processes
            .iter()
            .map(begin)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// What was used since the start.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn read(&self) -> anyhow::Result<Vec<Usage>> {
        let read = |(process, before): &(Process, Duration)| {
            Ok(Usage {
                process: *process,
                cpu: process.cpu()?.saturating_sub(*before),
                peak_mib: process.peak_mib()?,
            })
        };
        self.0.iter().map(read).collect()
    }
}

/// User and system time in a line of `/proc/PID/stat`.
fn cpu_of(stat: &str) -> Option<Duration> {
    // The command's name, in brackets, may hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let ticks: u64 = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    // The kernel's USER_HZ is 100 on every platform that Linux runs on.
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 3 4 20 0 5 0 99";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu_of("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_a_peak_and_used_time() {
        let me = Process::load();
        assert!(me.peak_mib().unwrap() >= 1.0);
        assert!(me.cpu().is_ok());
    }
}
