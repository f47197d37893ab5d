//! Every metric of the sink.
//!
//! Counted per batch, with closed labels. Names are public: API and dashboards
//! use them.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use plaudit_event::Outcome;
use plaudit_store::Verdict;

const EVENTS: &str = "plaudit_sink_events_total";
const RECORDS: &str = "plaudit_sink_records_total";
const SKIPPED: &str = "plaudit_sink_skipped_records_total";
const BATCH_ROWS: &str = "plaudit_sink_batch_rows";
const BATCH_BYTES: &str = "plaudit_sink_batch_bytes";
const BATCH_AGE: &str = "plaudit_sink_batch_age_seconds";
const INSERT: &str = "plaudit_sink_insert_seconds";
const ATTEMPTS: &str = "plaudit_sink_insert_attempts_total";
const LAG_RECORDS: &str = "plaudit_sink_lag_records";
const LAG_SECONDS: &str = "plaudit_sink_lag_seconds";
const VISIBLE: &str = "plaudit_sink_visible_seconds";
const DEAD_LETTERS: &str = "plaudit_sink_dead_letters_total";
const IN_FLIGHT: &str = "plaudit_sink_in_flight_records";
const PENDING: &str = "plaudit_sink_pending_changes";

/// The reasons of dead letters: a label, a header and a column.
pub(crate) mod reason {
    /// No version of Plaudit wrote the record.
    pub(crate) const UNDECODABLE: &str = "undecodable";
    /// ClickHouse cannot take the row.
    pub(crate) const POISON: &str = "poison";
    /// ClickHouse refused the row at every attempt.
    pub(crate) const EXHAUSTED: &str = "exhausted";
    /// The feedback that a patch changes did not come in time.
    pub(crate) const NO_FEEDBACK: &str = "no_feedback";

    /// ClickHouse cannot take the row that the change makes.
    pub(crate) const UNFOLDABLE: &str = "unfoldable";

    pub(crate) const ALL: [&str; 5] = [UNDECODABLE, POISON, EXHAUSTED, NO_FEEDBACK, UNFOLDABLE];
}

/// Makes every metric be there from the start, with its help.
pub(crate) fn describe() {
    describe_counter!(
        EVENTS,
        "Records that reached their end, by outcome; dead_lettered needs a person"
    );
    describe_counter!(
        RECORDS,
        "Records that went into the steps, and patches taken over that wait: those that reached \
         their end, were skipped, are in flight or pending add up to it"
    );
    describe_counter!(
        SKIPPED,
        "Records that had their outcome before, and were read again after a crash, a rebalance or \
         a replay; and patches that wait, and went to another sink with their partition"
    );
    describe_histogram!(BATCH_ROWS, "Records in a batch");
    describe_histogram!(BATCH_BYTES, "Bytes of a batch's rows as sent");
    describe_histogram!(BATCH_AGE, "Age of a batch's oldest record when it closed");
    describe_histogram!(
        INSERT,
        "Time until ClickHouse had a batch's rows, retries included"
    );
    describe_counter!(
        ATTEMPTS,
        "Requests to ClickHouse by what their answer meant: ok, away, busy, retry, poison, fatal"
    );
    describe_gauge!(
        LAG_RECORDS,
        "Records of the assigned partitions that are not committed"
    );
    describe_gauge!(
        LAG_SECONDS,
        "Age of the oldest record that is read and not done"
    );
    describe_histogram!(
        VISIBLE,
        "From the intake's receipt until readers see it; up to 32 samples a batch"
    );
    describe_counter!(
        DEAD_LETTERS,
        "Records sent to the dead-letter topic, by reason"
    );
    describe_gauge!(IN_FLIGHT, "Records read and not done");
    describe_gauge!(PENDING, "Patches whose feedback is not there yet");
    for name in [RECORDS, SKIPPED] {
        counter!(name).absolute(0);
    }
    for outcome in Outcome::ALL {
        counter!(EVENTS, "outcome" => outcome.code()).absolute(0);
    }
    for verdict in [
        None,
        Some(Verdict::Away),
        Some(Verdict::Busy),
        Some(Verdict::Retry),
        Some(Verdict::Poison),
        Some(Verdict::Fatal),
    ] {
        counter!(ATTEMPTS, "class" => class(verdict)).absolute(0);
    }
    for reason in reason::ALL {
        counter!(DEAD_LETTERS, "reason" => reason).absolute(0);
    }
    for name in [LAG_RECORDS, LAG_SECONDS, IN_FLIGHT, PENDING] {
        gauge!(name).set(0.0);
    }
}

const fn class(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None => "ok",
        Some(Verdict::Away) => "away",
        Some(Verdict::Busy) => "busy",
        Some(Verdict::Retry) => "retry",
        Some(Verdict::Poison) => "poison",
        Some(Verdict::Fatal) => "fatal",
    }
}

pub(crate) fn attempt(verdict: Option<Verdict>) {
    counter!(ATTEMPTS, "class" => class(verdict)).increment(1);
}

pub(crate) fn outcome(outcome: Outcome, records: usize) {
    let records = u64::try_from(records).unwrap_or(u64::MAX);
    counter!(EVENTS, "outcome" => outcome.code()).increment(records);
}

pub(crate) fn records(records: usize) {
    counter!(RECORDS).increment(u64::try_from(records).unwrap_or(u64::MAX));
}

pub(crate) fn skipped(records: usize) {
    counter!(SKIPPED).increment(u64::try_from(records).unwrap_or(u64::MAX));
}

pub(crate) fn dead_letters(reason: &'static str, records: u64) {
    counter!(DEAD_LETTERS, "reason" => reason).increment(records);
}

pub(crate) fn batch_closed(rows: usize, age: Duration) {
    histogram!(BATCH_ROWS).record(count(rows));
    histogram!(BATCH_AGE).record(age);
}

pub(crate) fn inserted(wire_bytes: usize, took: Duration) {
    histogram!(BATCH_BYTES).record(count(wire_bytes));
    histogram!(INSERT).record(took);
}

pub(crate) fn visible(after: Duration) {
    histogram!(VISIBLE).record(after);
}

pub(crate) fn lag(records: i64, oldest: Duration, in_flight: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(LAG_RECORDS).set(records as f64);
    gauge!(LAG_SECONDS).set(oldest);
    gauge!(IN_FLIGHT).set(count(in_flight));
}

pub(crate) fn pending(changes: usize) {
    gauge!(PENDING).set(count(changes));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a histogram's samples are floats"
)]
fn count(number: usize) -> f64 {
    number as f64
}
