//! What every suite needs: real parts, a stack of real services, a judge.
//!
//! Start at [`run`]: it gives a test its [`Stack`] and judges what the test leaves.

mod api;
mod authority;
mod backend;
mod group;
mod http;
pub mod judge;
pub mod log;
mod process;
mod proxy;
mod shards;
mod sql;
mod stack;
mod tls_front;
mod wait;
mod wire;

pub use api::{Answer, Api};
pub use authority::{Authority, Certified};
pub use backend::{Backend, RunningBackend, backend, binary, repository, scratch_directory};
pub use group::rewind;
pub use http::{http, http_client};
pub use process::{Process, command, own_names, tool};
pub use proxy::Proxy;
pub use shards::Shards;
pub use sql::Database;
pub use stack::{Options, Stack, run, unique_name};
pub use tls_front::TlsFront;
pub use wait::{DEADLINE, wait_for, wait_until};
pub use wire::Wire;

/// The brokers, and a topic name of the test's own.
pub fn kafka() -> (String, String) {
    (backend().brokers.clone(), unique_name())
}
