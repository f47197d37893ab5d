//! The query service: what was said, read by trace, metric and tag.
//!
//! HTTP on one side, the named questions of `plaudit_store::read` on the other;
//! no SQL and no Kafka. A request is parsed here ([`Route`] says which there
//! are), held to its key's project and to bounds, and answered in JSON. What a
//! client sent as JSON comes back as the same characters.
//!
//! `openapi.json` is the contract; a test holds the routes to it.

mod config;
mod cursor;
mod error;
mod metrics;
mod openapi;
mod params;
mod reads;
mod receipts;
mod routes;
mod service;
mod vendors;
mod view;
mod watch;

pub use config::{QueryConfig, ReceiptsConfig};
pub use routes::{Access, Route};
pub use service::{Deps, ServeError, run};
