//! HTTP clients of the tests: nobody to trust, unless a test says so.

use plaudit_tls::Trust;

/// A client of plain HTTP, to be completed.
pub fn http() -> reqwest::ClientBuilder {
    Trust::nobody().http_client()
}

/// The usual one.
///
/// # Panics
/// Never: without TLS it needs nothing of the system.
pub fn http_client() -> reqwest::Client {
    http()
        .build()
        .expect("a client without TLS needs nothing of the system")
}
