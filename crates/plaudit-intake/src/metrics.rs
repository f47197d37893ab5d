//! Every metric of the intake. All exist from the start, at 0, but the one about TLS.

use ::metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge};
use ::metrics::{describe_histogram, gauge, histogram};
use plaudit_event::{Dialect, ItemCode};
use plaudit_service::ErrorCode;

use crate::admission::Admission;
use crate::publish::Publish;

const REQUESTS: &str = "plaudit_intake_requests_total";
const EVENTS: &str = "plaudit_intake_events_total";
const REJECTED: &str = "plaudit_intake_rejected_total";
const ACK: &str = "plaudit_intake_ack_seconds";
const QUEUE: &str = "plaudit_intake_producer_queue_records";
const FULLNESS: &str = "plaudit_intake_producer_queue_ratio";
const CONNECTIONS: &str = "plaudit_intake_connections";
const TURNED_AWAY: &str = "plaudit_intake_turned_away_total";
const REQUESTS_UNDER_WAY: &str = "plaudit_intake_open_requests";
const BYTES_UNDER_WAY: &str = "plaudit_intake_buffered_bytes";
const CERTIFICATE_EXPIRY: &str = "plaudit_intake_certificate_expiry_seconds";
const KAFKA_ERRORS: &str = "plaudit_intake_kafka_errors_total";

/// Handles, looked up once: counting an event takes no lookup by name.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: PerDialect<{ RequestOutcome::ALL.len() }>,
    events: PerDialect<{ EventOutcome::ALL.len() }>,
    rejected: PerDialect<{ ItemCode::ALL.len() }>,
    ack: Histogram,
    queue: Gauge,
    fullness: Gauge,
    connections: Gauge,
    turned_away: Counter,
    open_requests: Gauge,
    buffered_bytes: Gauge,
}

/// A counter for each value of a label, for each dialect.
#[derive(Debug)]
struct PerDialect<const N: usize>([[Counter; N]; Dialect::ALL.len()]);

/// How a request ended. The names are a label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RequestOutcome {
    /// All of its events are durable.
    Accepted,
    /// Some are; the others were rejected.
    Partial,
    /// No item was good, or a parameter was not.
    Rejected,
    /// It could not be read: no JSON, too large, too slow, the wrong type.
    Invalid,
    /// No key, a wrong one, or one without the scope.
    Denied,
    /// Over the rate of its key.
    Limited,
    /// There was no room, or Kafka is away: nothing was written.
    Unavailable,
    /// It is not known of some events whether they are durable.
    Unconfirmed,
}

/// How an event ended. The names are a label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EventOutcome {
    /// Durable.
    Accepted,
    /// The client's fault: see the code in `plaudit_intake_rejected_total`.
    Rejected,
    /// Nobody knows: the client was told to send it again.
    Unconfirmed,
    /// There was no room: the client was told to send it again.
    Refused,
}

// === impl Metrics ===

impl Metrics {
    /// Registers every metric with the process's recorder.
    pub(crate) fn register() -> Self {
        describe();
        Self {
            requests: PerDialect::register(
                REQUESTS,
                "outcome",
                RequestOutcome::ALL.map(RequestOutcome::name),
            ),
            events: PerDialect::register(
                EVENTS,
                "outcome",
                EventOutcome::ALL.map(EventOutcome::name),
            ),
            rejected: PerDialect::register(REJECTED, "code", ItemCode::ALL.map(ItemCode::code)),
            ack: histogram!(ACK),
            queue: gauge!(QUEUE),
            fullness: gauge!(FULLNESS),
            connections: gauge!(CONNECTIONS),
            turned_away: counter!(TURNED_AWAY),
            open_requests: gauge!(REQUESTS_UNDER_WAY),
            buffered_bytes: gauge!(BYTES_UNDER_WAY),
        }
    }

    pub(crate) fn request(&self, dialect: Dialect, outcome: RequestOutcome) {
        self.requests.add(dialect, outcome.index(), 1);
    }

    pub(crate) fn events(&self, dialect: Dialect, outcome: EventOutcome, events: usize) {
        if events > 0 {
            self.events.add(dialect, outcome.index(), events);
        }
    }

    pub(crate) fn rejected(&self, dialect: Dialect, code: ItemCode) {
        self.events(dialect, EventOutcome::Rejected, 1);
        if let Some(index) = ItemCode::ALL.iter().position(|known| *known == code) {
            self.rejected.add(dialect, index, 1);
        }
    }

    /// The time from the last byte of a request to the word that it is durable.
    pub(crate) fn ack(&self, seconds: f64) {
        self.ack.record(seconds);
    }

    /// For the server, which counts them.
    pub(crate) fn connections(&self) -> Gauge {
        self.connections.clone()
    }

    /// For the server too.
    pub(crate) fn turned_away(&self) -> Counter {
        self.turned_away.clone()
    }

    /// What is taken of the room for requests; asked for every now and then.
    pub(crate) fn under_way(&self, admission: &Admission) {
        self.open_requests.set(gauged(admission.requests()));
        self.buffered_bytes.set(gauged(admission.bytes()));
    }

    /// What the publisher says of itself; asked for every now and then.
    pub(crate) fn publisher(&self, publish: &impl Publish) {
        self.queue.set(gauged(publish.queue_len()));
        self.fullness.set(publish.queue_fullness());
        for (code, count) in publish.failures() {
            counter!(KAFKA_ERRORS, "code" => code).absolute(count);
        }
    }
}

/// For the listener, where it has TLS: without, there is no such metric, since 0 would
/// be an end long past.
pub(crate) fn certificate_expiry() -> Gauge {
    describe_gauge!(
        CERTIFICATE_EXPIRY,
        "when the certificate ends that clients are shown, in seconds since 1970"
    );
    gauge!(CERTIFICATE_EXPIRY)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn gauged(count: usize) -> f64 {
    count as f64
}

fn describe() {
    describe_counter!(
        REQUESTS,
        "requests for feedback, by how they ended; a rise in `unavailable` or `unconfirmed` is Kafka's or the intake's, the others are the clients'"
    );
    describe_counter!(
        EVENTS,
        "events of requests that could be read, by how they ended"
    );
    describe_counter!(
        REJECTED,
        "events that were rejected, by what is wrong with them"
    );
    describe_histogram!(
        ACK,
        "seconds from the last byte of a request until its events are durable"
    );
    describe_gauge!(QUEUE, "events that were taken and are not confirmed");
    describe_gauge!(
        FULLNESS,
        "how full their queue is, in records or bytes, whichever is nearer to its bound; at 1, requests are answered 503"
    );
    describe_gauge!(
        CONNECTIONS,
        "open connections; at `intake.connections.max` more are answered 503"
    );
    describe_counter!(
        TURNED_AWAY,
        "requests on connections beyond that bound: answered 503, and in no other count"
    );
    describe_gauge!(
        REQUESTS_UNDER_WAY,
        "requests that are not answered yet; at `intake.limits.concurrent_requests` more are answered 503"
    );
    describe_gauge!(
        BYTES_UNDER_WAY,
        "bytes of their bodies; at `intake.limits.buffered_bytes` more are answered 503"
    );
    describe_counter!(
        KAFKA_ERRORS,
        "records that Kafka's producer refused or gave up, by reason"
    );
}

impl<const N: usize> PerDialect<N> {
    fn register(name: &'static str, label: &'static str, values: [&'static str; N]) -> Self {
        Self(Dialect::ALL.map(|dialect| {
            values.map(|value| counter!(name, "dialect" => dialect.name(), label => value))
        }))
    }

    fn add(&self, dialect: Dialect, index: usize, count: usize) {
        let row = Dialect::ALL.iter().position(|known| *known == dialect);
        let counter = row.and_then(|row| self.0.get(row)?.get(index));
        if let Some(counter) = counter {
            counter.increment(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }
}

// === impl RequestOutcome ===

impl RequestOutcome {
    const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Partial,
        Self::Rejected,
        Self::Invalid,
        Self::Denied,
        Self::Limited,
        Self::Unavailable,
        Self::Unconfirmed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Partial => "partial",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|known| *known == self)
            .unwrap_or(0)
    }
}

impl From<ErrorCode> for RequestOutcome {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Unauthorized | ErrorCode::Forbidden => Self::Denied,
            ErrorCode::RateLimited => Self::Limited,
            ErrorCode::Unavailable => Self::Unavailable,
            ErrorCode::InvalidParameter => Self::Rejected,
            ErrorCode::InvalidJson
            | ErrorCode::NotFound
            | ErrorCode::MethodNotAllowed
            | ErrorCode::BodyTimeout
            | ErrorCode::BodyTooLarge
            | ErrorCode::TooManyEvents
            | ErrorCode::UnsupportedMediaType
            | ErrorCode::NoQueryUrl => Self::Invalid,
        }
    }
}

// === impl EventOutcome ===

impl EventOutcome {
    const ALL: [Self; 4] = [
        Self::Accepted,
        Self::Rejected,
        Self::Unconfirmed,
        Self::Refused,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Unconfirmed => "unconfirmed",
            Self::Refused => "refused",
        }
    }

    fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|known| *known == self)
            .unwrap_or(0)
    }
}
