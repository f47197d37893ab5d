//! The vendors' real clients, from their registries, unmodified, against the real stack
//! (P8).
//!
//! A module a vendor, and in the folder of the vendor a driver in each language and the
//! lock file of each client. A client is installed once, locked to the last transitive
//! version, in an environment of its own; one that cannot be installed is a failure.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod client;
mod humanloop;
mod install;
mod langsmith;
mod patronus;
mod portkey;
mod site;
mod tensorzero;
