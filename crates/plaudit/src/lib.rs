//! The one binary of Plaudit, as a library: what `main`, the tests and the demo share.
//!
//! The services themselves are crates of their own. Here they are given their
//! configuration ([`config`]) and their real neighbours ([`parts`], [`up`]).

pub mod cli;
pub mod clickhouse;
pub mod config;
mod console;
pub mod dead;
pub mod demo;
mod descriptors;
pub mod drill;
pub mod health;
pub mod load;
pub mod migrate;
mod moment;
pub mod parts;
pub mod plan;
pub mod rebuild;
pub mod services;
pub mod standalone;
mod token_secret;
mod topic;
pub mod up;
pub mod verify;
mod witness;
