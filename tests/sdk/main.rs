//! The vendors' real clients, from their registries, unmodified, against the real stack
//! (P8).
//!
//! A module a vendor. Each client is installed once, locked to the last transitive
//! version, under the build directory; one that cannot be installed is a failure.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod install;
mod portkey;
