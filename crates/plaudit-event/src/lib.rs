//! The canonical feedback event: what it is, what is allowed in it, and how it
//! travels through Kafka.
//!
//! Everything here is a value: no I/O, no clock, no async. Vendor shapes are the
//! business of `plaudit-dialects`, tables the business of `plaudit-store`.
//!
//! The path of one event: a dialect builds a [`Feedback`], [`Limits`] and
//! [`Registry`] check it, [`codec::encode`] writes it, Kafka carries it, and
//! [`codec::decode`] reads it back without copying what it can borrow.

pub mod codec;
mod declaration;
mod event;
mod feedback;
pub mod identity;
mod json;
mod limits;
mod outcome;
mod patch;
mod receipt;
mod registry;
mod search;
mod text;
mod time;
mod value;
mod version;

pub use declaration::{Declaration, Registries};
pub use event::{Dialect, Event, Operation};
pub use feedback::{Feedback, Source, Tags, Target, TargetKind, UnknownTargetKind};
pub use json::{Json, NotJson};
pub use limits::{FieldError, ItemCode, Limits};
pub use outcome::{Outcome, UnknownOutcome};
pub use patch::{Edit, Patch};
pub use receipt::{InvalidReceipt, Receipt};
pub use registry::{Level, Metric, MetricType, Optimize, Registry, RegistryError, UnknownMetrics};
pub use search::Search;
pub use text::Text;
pub use time::{InvalidTime, Micros};
pub use value::{Value, ValueType};
pub use version::RowVersion;
