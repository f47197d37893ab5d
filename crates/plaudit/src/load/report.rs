//! What a load found out, and how it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use plaudit_client::RequestError;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::event::{Event, Metric};

/// All of a load, or one connection's part of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// From the first turn to the last answer.
    #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Requests by what came back.
    pub answers: BTreeMap<Answered, u64>,
    /// Events with a receipt.
    pub accepted: u64,
    /// Events that the intake will not take.
    pub rejected: u64,
    /// Events that may be stored or not: no answer, or none that says so.
    pub unconfirmed: u64,
    /// Why events were not accepted, and how many each.
    pub faults: BTreeMap<String, u64>,
    /// From the intended send time to the acknowledgement.
    #[serde(rename = "ack_ms", skip_serializing_if = "Latency::is_empty")]
    pub ack: Latency,
    /// From the intended send time to being readable, of the requests that asked.
    #[serde(rename = "visible_ms", skip_serializing_if = "Latency::is_empty")]
    pub visible: Latency,
    /// Events that could not be read in the time that was asked for.
    pub not_visible: u64,
    /// What was accepted, by metric.
    pub tallies: BTreeMap<&'static str, Tally>,
    /// Acknowledged ids, evenly over the load.
    #[serde(skip)]
    pub sample: Sample,
}

/// What came back for a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Answered {
    /// An HTTP status.
    Status(u16),
    /// No connection.
    NoConnection,
    /// A connection that broke.
    BrokenConnection,
    /// Nothing in time.
    Timeout,
    /// An answer that is not the API's.
    Malformed,
}

/// Accepted feedback on one metric, with what a mean needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Feedbacks.
    pub count: u64,
    /// Those with a score.
    pub scored: u64,
    /// Sum of the scores.
    pub score: f64,
    /// Sum of the weights of what has a score.
    pub weight: f64,
    /// Sum of each score times its weight.
    pub weighted: f64,
}

/// Latencies, to three digits, up to ten minutes.
#[derive(Debug)]
pub struct Latency(Histogram<u64>);

/// At most a thousand ids, every n-th of those that were seen.
#[derive(Debug)]
pub struct Sample {
    ids: Vec<Uuid>,
    every: u64,
    seen: u64,
}

/// Beyond this many kinds of faults, the others are one.
const MAX_FAULTS: usize = 20;
const MAX_SAMPLE: usize = 1000;

// === impl Report ===

impl Default for Report {
    fn default() -> Self {
        Self {
            elapsed: Duration::ZERO,
            answers: BTreeMap::new(),
            accepted: 0,
            rejected: 0,
            unconfirmed: 0,
            faults: BTreeMap::new(),
            ack: Latency::default(),
            visible: Latency::default(),
            not_visible: 0,
            tallies: BTreeMap::new(),
            sample: Sample::default(),
        }
    }
}

impl Report {
    /// Everything that was to be acknowledged.
    pub fn sent(&self) -> u64 {
        self.accepted + self.rejected + self.unconfirmed
    }

    /// Acknowledged events a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
        let events = self.accepted as f64;
        events / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// What was not accepted, in one line; `None` when everything was.
    pub fn shortfall(&self) -> Option<String> {
        let missing = self.rejected + self.unconfirmed;
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(fault, events)| format!("{events} × {fault}"))
            .collect();
        (missing > 0).then(|| {
            let sent = self.sent();
            format!(
                "{missing} of {sent} events were not accepted: {}",
                faults.join("; ")
            )
        })
    }

    pub(crate) fn fault(&mut self, fault: String, events: u64) {
        let known = self.faults.len() < MAX_FAULTS || self.faults.contains_key(&fault);
        let fault = if known { fault } else { "other".to_owned() };
        *self.faults.entry(fault).or_default() += events;
    }

    pub(crate) fn accept(&mut self, event: &Event) {
        self.accepted += 1;
        let tally = self.tallies.entry(event.metric.name()).or_default();
        tally.count += 1;
        if let Some(score) = event.score() {
            tally.scored += 1;
            tally.score += score;
            tally.weight += event.weight();
            tally.weighted += score * event.weight();
        }
    }

    /// Adds another connection's part, or another load.
    pub fn add(&mut self, other: &Self) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.unconfirmed += other.unconfirmed;
        self.not_visible += other.not_visible;
        self.ack.0 += &other.ack.0;
        self.visible.0 += &other.visible.0;
        for (answered, requests) in &other.answers {
            *self.answers.entry(*answered).or_default() += requests;
        }
        for (fault, events) in &other.faults {
            self.fault(fault.clone(), *events);
        }
        for (metric, tally) in &other.tallies {
            self.tallies.entry(metric).or_default().add(*tally);
        }
        self.sample.add(&other.sample);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} events acknowledged in {:.2} s: {:.0} a second",
            self.accepted,
            self.sent(),
            self.elapsed.as_secs_f64(),
            self.rate()
        )?;
        for (answered, requests) in &self.answers {
            writeln!(f, "  {requests:>9} requests  {answered}")?;
        }
        if self.rejected + self.unconfirmed > 0 {
            writeln!(
                f,
                "  {:>9} rejected, {} unconfirmed",
                self.rejected, self.unconfirmed
            )?;
        }
        write!(f, "  acknowledged after  {}", self.ack)?;
        if !self.visible.is_empty() {
            write!(f, "\n  readable after      {}", self.visible)?;
        }
        if self.not_visible > 0 {
            write!(
                f,
                "\n  {:>9} events were not readable in time",
                self.not_visible
            )?;
        }
        Ok(())
    }
}

// === impl Answered ===

impl From<&RequestError> for Answered {
    fn from(error: &RequestError) -> Self {
        match error {
            RequestError::Connect(_) => Self::NoConnection,
            RequestError::Timeout(_) => Self::Timeout,
            RequestError::Refused { status, .. } => Self::Status(*status),
            RequestError::Malformed { .. } => Self::Malformed,
            _ => Self::BrokenConnection,
        }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::NoConnection => f.write_str("no connection"),
            Self::BrokenConnection => f.write_str("broken connection"),
            Self::Timeout => f.write_str("timeout"),
            Self::Malformed => f.write_str("malformed answer"),
        }
    }
}

impl Serialize for Answered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.scored += other.scored;
        self.score += other.score;
        self.weight += other.weight;
        self.weighted += other.weighted;
    }

    /// The mean score; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "exact for 2^53 events")]
        let scored = self.scored as f64;
        (self.scored > 0).then(|| self.score / scored)
    }

    /// The mean with each score counted by its weight.
    pub fn weighted_mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.weighted / self.weight)
    }
}

// === impl Latency ===

impl Default for Latency {
    fn default() -> Self {
        // Microseconds. The bounds are constants that the crate takes.
        let histogram = Histogram::new_with_bounds(1, 600_000_000, 3);
        Self(histogram.expect("1 µs to 10 min to three digits is a valid histogram"))
    }
}

impl Latency {
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency that `percent` of the measurements do not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(percent))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    fn points(&self) -> [(&'static str, f64); 5] {
        let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
        [
            ("p50", ms(self.percentile(50.0))),
            ("p90", ms(self.percentile(90.0))),
            ("p99", ms(self.percentile(99.0))),
            ("p99.9", ms(self.percentile(99.9))),
            ("max", ms(self.max())),
        ]
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (name, ms) in self.points() {
            write!(f, "{name} {ms:.1} ms  ")?;
        }
        write!(f, "({} requests)", self.0.len())
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.points())
    }
}

// === impl Sample ===

impl Default for Sample {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            every: 1,
            seen: 0,
        }
    }
}

impl Sample {
    pub(crate) fn see(&mut self, id: Uuid) {
        self.seen += 1;
        if self.seen.is_multiple_of(self.every) {
            self.ids.push(id);
            self.thin();
        }
    }

    /// The ids.
    pub fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    fn add(&mut self, other: &Self) {
        self.every = self.every.max(other.every);
        self.ids.extend(&other.ids);
        while self.ids.len() > MAX_SAMPLE {
            self.thin();
        }
    }

    fn thin(&mut self) {
        if self.ids.len() > MAX_SAMPLE {
            let mut keep = false;
            self.ids.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The order in which metrics are told.
pub(crate) fn metric_order(metric: &str) -> usize {
    let known = Metric::ALL.iter().position(|known| known.name() == metric);
    known.unwrap_or(Metric::ALL.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_bounded_and_spread_over_the_load() {
        let mut sample = Sample::default();
        (0..100_000).for_each(|n| sample.see(Uuid::from_u128(n)));
        assert!((500..=MAX_SAMPLE).contains(&sample.ids().len()));
        assert!(sample.ids().last().unwrap().as_u128() > 99_000);
        assert!(sample.ids().first().unwrap().as_u128() < 1000);
    }

    #[test]
    fn a_shortfall_says_what_and_how_many() {
        let mut report = Report {
            accepted: 8,
            unconfirmed: 2,
            ..Report::default()
        };
        report.fault("timeout".to_owned(), 2);
        assert_eq!(
            report.shortfall().unwrap(),
            "2 of 10 events were not accepted: 2 × timeout"
        );
        (0..100).for_each(|n| report.fault(format!("fault {n}"), 1));
        assert!(report.faults.len() <= MAX_FAULTS + 1);
        assert_eq!(Report::default().shortfall(), None);
    }

    #[test]
    fn parts_add_up() {
        let part = |ms| {
            let mut part = Report {
                elapsed: Duration::from_millis(ms),
                ..Report::default()
            };
            part.ack.record(Duration::from_millis(ms));
            part.answers.insert(Answered::Status(200), 1);
            part
        };
        let mut whole = part(1);
        whole.add(&part(9));
        assert_eq!(whole.elapsed, Duration::from_millis(9));
        assert_eq!(whole.answers[&Answered::Status(200)], 2);
        assert_eq!(whole.ack.percentile(50.0).as_millis(), 1);
        assert_eq!(whole.ack.max().as_millis(), 9);
    }
}
