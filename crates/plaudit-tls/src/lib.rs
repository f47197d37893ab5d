//! Certificates: whom a client trusts, and what a server shows.
//!
//! Values and files, no sockets: who connects or listens takes a configuration from
//! here. There is no way to switch verification off, and none to make a client without
//! saying whom it trusts.
//!
//! The cryptography is `ring`, in one place: everything that speaks TLS in this process,
//! Kafka's client apart, gets it from here. TLS 1.2 is the oldest that is spoken.
//!
//! Where next: [`Trust`] for clients, [`Identity`] for servers.

mod error;
mod identity;
mod pem;
mod trust;

pub use error::TlsError;
pub use identity::Identity;
pub use trust::Trust;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// What clients and servers compute with.
fn cryptography() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
