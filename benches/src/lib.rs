//! What the benchmarks share: events of a known size, and CPU time by process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use plaudit_event::{Dialect, Event, Feedback, Micros, Operation, Value, codec, identity};

/// Appends one encoded event of nine fields, about 300 bytes, the `index`-th of a
/// run: four to a trace.
pub fn narrow_event(index: u64, now: Micros, out: &mut Vec<u8>) -> String {
    let trace_id =
        uuid::Uuid::from_u128(u128::from(index / 4) << 64 | 0x4000_8000_0000_0000).to_string();
    let metric = match index % 3 {
        0 => "helpful",
        1 => "stars",
        _ => "correctness",
    };
    let value = Value::of(&(index % 5)).unwrap_or_else(|| unreachable!("an integer is a value"));
    let mut feedback = Feedback::new(identity::new(), trace_id.clone(), metric).with_value(value);
    feedback.tags.insert("env", "production");
    feedback.rater = Some(format!("user-{}", index % 1000).into());
    let event = Event {
        project: "bench".into(),
        dialect: Dialect::Native,
        received_at: now,
        version_time: now,
        operation: Operation::Put(feedback),
    };
    codec::encode(&event, out);
    trace_id
}

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
