//! TLS on a listener: its two files, and what a connection becomes.
//!
//! The files are looked at every few seconds, so that a certificate that was renewed is
//! shown without a signal: in Kubernetes, nobody is there to send one. What cannot be
//! used changes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use plaudit_tls::{Identity, TlsError};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::ConnectionsConfig;
use super::socket::Socket;
use crate::chain;

/// TLS (`intake.tls.*`, `query.tls.*`). With neither file a service speaks plain HTTP.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate in PEM, and behind it those that lead to an authority. Both files
    /// may be replaced at any time; within 5 s the new ones are used.
    pub cert_file: Option<PathBuf>,
    /// Its private key in PEM.
    pub key_file: Option<PathBuf>,
}

/// The TLS of one listener.
#[derive(Clone)]
pub struct ServerTls {
    identity: Arc<Identity>,
    acceptor: TlsAcceptor,
    expiry: Gauge,
}

/// A connection to a client, in either form.
pub(super) type Stream = Either<Socket, TlsStream<Socket>>;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

// === impl TlsConfig ===

impl TlsConfig {
    /// All that is wrong, one line each, beginning with the key as it is typed;
    /// `section` is what stands before it, such as `intake.tls`. What is in the files
    /// is known once they are [loaded](Self::load).
    #[must_use]
    pub fn problems(&self, section: &str) -> Vec<String> {
        let lacks = match (&self.cert_file, &self.key_file) {
            (Some(_), None) => "key_file: must be set with cert_file",
            (None, Some(_)) => "cert_file: must be set with key_file",
            _ => return Vec::new(),
        };
        vec![format!("{section}.{lacks}")]
    }

    /// Reads the files, if there is to be TLS. `expiry` makes the gauge that is kept at
    /// the end of the certificate, in seconds since 1970; there is none without TLS.
    ///
    /// # Errors
    /// [`TlsError`], which names key and file.
    pub fn load(
        &self,
        section: &str,
        expiry: impl FnOnce() -> Gauge,
    ) -> Result<Option<ServerTls>, TlsError> {
        let (Some(certificate), Some(key)) = (&self.cert_file, &self.key_file) else {
            return Ok(None);
        };
        let identity = Arc::new(Identity::load(section, certificate, key)?);
        let tls = ServerTls {
            acceptor: TlsAcceptor::from(Arc::new(identity.server_config())),
            identity,
            expiry: expiry(),
        };
        tls.measure();
        Ok(Some(tls))
    }

    /// Whether there is to be TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.cert_file.is_some()
    }

    /// What URLs of the listener begin with: `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.is_on() { "https" } else { "http" }
    }
}

// === impl ServerTls ===

impl ServerTls {
    /// Shows a new certificate once there is one. Ends never, and blocks for no longer
    /// than it takes to read two small files.
    pub(super) async fn follow(&self) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_failure = String::new();
        loop {
            tick.tick().await;
            match self.identity.reload() {
                Ok(is_new) => {
                    last_failure.clear();
                    if is_new {
                        tracing::info!(expiry = self.identity.expiry(), "new certificate");
                    }
                }
                Err(error) => {
                    let error = chain(&error);
                    if error != last_failure {
                        tracing::error!(error, "the certificate stays as it was");
                        last_failure = error;
                    }
                }
            }
            self.measure();
        }
    }

    /// The handshake: within the time that headers have, and with no more memory.
    pub(super) async fn open(self, socket: Socket, bounds: &ConnectionsConfig) -> Option<Stream> {
        let header_bytes = bounds.header_bytes;
        let handshake = self.acceptor.accept_with(socket, |tls| {
            tls.set_buffer_limit(Some(header_bytes));
        });
        match timeout(bounds.header_timeout, handshake).await {
            Ok(Ok(stream)) => Some(Either::Right(stream)),
            // A client that goes away or speaks no TLS is no business of ours.
            Ok(Err(error)) => {
                tracing::debug!(%error, "no handshake");
                None
            }
            Err(_) => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn measure(&self) {
        self.expiry.set(self.identity.expiry() as f64);
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}
