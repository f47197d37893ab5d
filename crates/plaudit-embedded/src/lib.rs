//! A real ClickHouse inside this process.
//!
//! The shared library `libchdb.so` carries the ClickHouse engine. [`Engine::start`]
//! loads it, opens a data directory and lets ClickHouse's own HTTP server listen on
//! loopback. From there on everybody speaks the HTTP protocol, as to any other
//! ClickHouse: there is no second way in, and no storage trait.
//!
//! This crate is not a client: it knows two requests, `/ping` and the one that
//! ends the engine. It fetches nothing either; the caller brings the library.
//!
//! The invariant: **one engine in the life of a process**. The library keeps global
//! state (thread pools, allocator, registries), so a second start is refused with
//! [`EngineError::SecondEngine`], even after the first one has stopped.
//!
//! Start at [`Engine`]; the foreign calls are in `library`, the only `unsafe` of
//! the workspace.

mod config;
mod engine;
mod error;
mod http;
mod library;

pub use config::EngineConfig;
pub use engine::{Ended, Engine};
pub use error::EngineError;
