//! A quarter of an hour at a steady rate: whether memory stays flat.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::hammer::{Plan, Wire};
use crate::numbers::{Numbers, middle};
use crate::process::Process;
use crate::report::Side;
use crate::{Bench, say};

use super::together::{Everything, STEADY};

const LENGTH_SECONDS: u32 = 15 * 60;
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// The median of the last third may be so much of that of the second: the first third is
/// for buffers to find their size.
const FLAT: f64 = 1.05;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let all = Everything::start(bench).await?;
    let plan = Plan {
        connections: 16,
        rate: Some(STEADY),
        length: bench.scale.seconds(LENGTH_SECONDS),
        wire: Wire::Kept,
    };
    let processes = [all.intake.process, all.sink.process];
    let (written, samples) = tokio::join!(all.write(bench, plan), sample(processes, plan.length));
    let (written, samples) = (written?, samples?);
    let events = written.requests * 100;
    all.stored(bench, events).await?;
    let mut numbers = Numbers::default();
    let minutes = plan.length.as_secs_f64() / 60.0;
    numbers.set_rate(written.requests, events, written.took);
    numbers.set_latency(&written.latency);
    for (process, samples) in processes.iter().zip(samples) {
        let third = samples.len() / 3;
        let median = |from: usize, to| middle(samples.get(from..to).unwrap_or_default().to_vec());
        let (late, early) = median(2 * third, samples.len())
            .zip(median(third, 2 * third))
            .unwrap_or((f64::NAN, f64::NAN));
        // From the middle of one third to that of the next.
        let slope = (late - early) / (minutes / 3.0);
        numbers.other.insert(
            if process.name == "sink" {
                "sink MiB/min"
            } else {
                "intake MiB/min"
            },
            slope,
        );
        let (name, peak) = (process.name, process.peak_mib()?);
        numbers.peak_mib.insert(name, peak);
        bench
            .report
            .bar(format!("soak: {name}'s peak MiB"), peak, Side::Below, 200.0);
        let what = format!("soak: {name}'s memory, last third of the second");
        bench.report.bar(what, late / early, Side::AtMost, FLAT);
    }
    bench.report.line("soak", "steady, 20 k/s", numbers);
    all.stop(bench).await
}

/// Resident memory in MiB, again and again.
async fn sample(processes: [Process; 2], length: Duration) -> anyhow::Result<[Vec<f64>; 2]> {
    let mut samples = [Vec::new(), Vec::new()];
    let (start, mut said) = (Instant::now(), Instant::now());
    while start.elapsed() < length {
        sleep(SAMPLE_EVERY).await;
        let mut now = Vec::new();
        for (process, samples) in processes.iter().zip(&mut samples) {
            let resident = process.resident_mib()?;
            samples.push(resident);
            now.push(format!("{} {resident:.0} MiB", process.name));
        }
        if said.elapsed() > Duration::from_secs(30) {
            said = Instant::now();
            say(format_args!(
                "{:.0} s: {}",
                start.elapsed().as_secs_f64(),
                now.join(", ")
            ));
        }
    }
    Ok(samples)
}
