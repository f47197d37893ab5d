//! From a request to a row and back, on a real broker and a real engine.
//!
//! A module a subject. A promise of DESIGN, P1 to P8, is named by the tests that hold it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bad_input;
mod cluster;
mod dead;
mod drain;
mod drill;
mod events;
mod expired;
mod failures;
mod hostile;
mod kafka;
mod keys;
mod native;
mod outcomes;
mod processes;
mod query;
mod reads;
mod rebuild;
mod schema;
mod sinks;
mod standalone;
mod tls;
mod tokens;
mod vendor_lists;
mod verify;
