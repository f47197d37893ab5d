//! What a run showed, in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::process::Usage;

/// The numbers of one subject. What was not measured is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// Events, or rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<f64>,
    /// Requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// Half of the latencies are below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// All but one in a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// All but one in a thousand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_ms: Option<f64>,
    /// CPU time an event in microseconds, by process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cpu_us: BTreeMap<&'static str, f64>,
    /// Peak resident memory in MiB, by process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub peak_mib: BTreeMap<&'static str, f64>,
    /// Anything else, by what it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<&'static str, f64>,
}

impl Numbers {
    /// Takes a rate over.
    pub fn set_rate(&mut self, requests: u64, events: u64, took: Duration) {
        self.requests_per_second = Some(float(requests) / took.as_secs_f64());
        self.events_per_second = Some(float(events) / took.as_secs_f64());
    }

    /// Takes latencies in microseconds over.
    pub fn set_latency(&mut self, latency: &Histogram<u64>) {
        let at = |quantile| Some(float(latency.value_at_quantile(quantile)) / 1000.0);
        self.p50_ms = at(0.5);
        self.p99_ms = at(0.99);
        self.p999_ms = at(0.999);
    }

    /// Adds what a process used for so many events. Several processes of one name count
    /// together; their peak is the largest one's.
    pub fn add_usage(&mut self, usage: &Usage, events: u64) {
        let name = usage.process.name;
        *self.cpu_us.entry(name).or_default() += micros(usage.cpu) / float(events.max(1));
        let peak = self.peak_mib.entry(name).or_default();
        *peak = peak.max(usage.peak_mib);
    }

    /// CPU time an event in a process; not a number where it was not measured.
    pub fn cpu(&self, process: &str) -> f64 {
        self.cpu_us.get(process).copied().unwrap_or(f64::NAN)
    }

    /// Peak memory of a process; not a number where it was not measured.
    pub fn peak(&self, process: &str) -> f64 {
        self.peak_mib.get(process).copied().unwrap_or(f64::NAN)
    }

    /// The median of the rounds, number by number; of memory the most that any took.
    pub fn median(rounds: &[Self]) -> Self {
        let one = |get: fn(&Self) -> Option<f64>| middle(rounds.iter().filter_map(get).collect());
        Self {
            events_per_second: one(|round| round.events_per_second),
            requests_per_second: one(|round| round.requests_per_second),
            p50_ms: one(|round| round.p50_ms),
            p99_ms: one(|round| round.p99_ms),
            p999_ms: one(|round| round.p999_ms),
            cpu_us: middles(rounds, |round| &round.cpu_us),
            peak_mib: largest(rounds.iter().map(|round| &round.peak_mib)),
            other: middles(rounds, |round| &round.other),
        }
    }
}

type Named = BTreeMap<&'static str, f64>;

fn middles(rounds: &[Numbers], get: fn(&Numbers) -> &Named) -> Named {
    let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, number) in rounds.iter().flat_map(get) {
        all.entry(name).or_default().push(*number);
    }
    let middle = |(name, numbers)| Some((name, middle(numbers)?));
    all.into_iter().filter_map(middle).collect()
}

fn largest<'a>(rounds: impl Iterator<Item = &'a Named>) -> Named {
    let mut all = Named::new();
    for (name, number) in rounds.flatten() {
        let most = all.entry(name).or_insert(*number);
        *most = most.max(*number);
    }
    all
}

/// The median; of an even count, the mean of the two in the middle.
pub fn middle(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let high = *numbers.get(numbers.len() / 2)?;
    let low = *numbers.get((numbers.len() - 1) / 2)?;
    Some(f64::midpoint(low, high))
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "a measure for people")]
pub fn float(count: u64) -> f64 {
    count as f64
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_number_by_number() {
        let round = |rate, cpu| Numbers {
            events_per_second: Some(rate),
            cpu_us: [("intake", cpu)].into(),
            peak_mib: [("intake", cpu)].into(),
            ..Numbers::default()
        };
        let median = Numbers::median(&[round(1.0, 9.0), round(5.0, 7.0), round(3.0, 8.0)]);
        assert_eq!(median.events_per_second, Some(3.0));
        assert_eq!((median.cpu("intake"), median.peak("intake")), (8.0, 9.0));
        assert_eq!(middle(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(middle(vec![]), None);
    }
}
