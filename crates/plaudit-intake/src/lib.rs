//! Takes feedback over HTTP and answers when it is durable.
//!
//! Thin: authenticate, read, hand to a dialect, publish, wait for all of the
//! request's events together, answer. What a body means is the business of
//! `plaudit-dialects`; where events go is behind [`Publish`]; reads are passed on
//! to the query service. No SQL, no ClickHouse.
//!
//! Promise **P1**: `accepted` is said of what [`Publish`] confirmed and of nothing
//! else. Promise **P5**: requests, their bytes and connections are counted, and
//! what is over a bound is answered 429 or 503 with `Retry-After` at once. Promise
//! **P7**: no log, label or answer has a body, a comment or a key in it.
//!
//! The path of a request: [`run`], [`router`], `feedback`, `body`, a dialect,
//! [`Publish`].

mod admission;
mod body;
mod config;
mod declarations;
mod faults;
mod feedback;
mod headers;
mod intake;
mod kafka;
mod metrics;
mod multipart;
mod parts;
mod publish;
mod query;
mod registry;
mod routes;
mod server;
#[cfg(test)]
mod tests;

pub use config::{IntakeConfig, LimitsConfig, MetricsConfig};
pub use declarations::{DECLARATIONS, follow};
pub use intake::{Intake, IntakeError};
pub use kafka::KafkaPublish;
pub use plaudit_dialects::{Batch, Delivery, Record, Refused};
pub use publish::{NotReady, Publish, Unflushed};
pub use registry::{MetricRegistry, RegistryFileError};
pub use routes::router;
pub use server::{ServeError, conditions, run};
