//! What every request needs: the parts of an intake.

use std::sync::Arc;

use plaudit_dialects::TokenKey;
use plaudit_event::Declaration;
use plaudit_service::{Keyring, ServerTls, chain};
use plaudit_tls::TlsError;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::faults::FaultLog;
use crate::metrics::{self, Metrics};
use crate::query::QueryService;
use crate::{IntakeConfig, MetricRegistry, Publish};

/// An intake, ready to be [routed](crate::router) and [run](crate::run).
///
/// Make it after the process's metrics recorder is installed: its counters
/// belong to the recorder that it finds.
#[derive(Debug)]
pub struct Intake<P> {
    pub(crate) config: IntakeConfig,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) registry: MetricRegistry,
    pub(crate) tokens: Option<TokenKey>,
    pub(crate) publish: P,
    pub(crate) query: Option<QueryService>,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    pub(crate) faults: FaultLog,
    /// Told when the service drains.
    pub(crate) stopping: CancellationToken,
}

/// Why an intake cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The client of the query service cannot be made.
    #[error("make the client of intake.query_url")]
    Query(#[source] reqwest::Error),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl<P: Publish> Intake<P> {
    /// Puts the parts together. `config` has been validated.
    ///
    /// # Errors
    /// [`IntakeError`] when the system cannot give what it takes.
    pub fn new(
        config: IntakeConfig,
        keyring: Arc<Keyring>,
        registry: MetricRegistry,
        publish: P,
    ) -> Result<Self, IntakeError> {
        let query = config
            .query_url
            .as_deref()
            .map(|url| QueryService::new(url, config.query_ca_file.as_deref()))
            .transpose()?;
        let tls = config.tls.load("intake.tls", metrics::certificate_expiry)?;
        Ok(Self {
            admission: Admission::new(&config.limits),
            metrics: Metrics::register(),
            tls,
            faults: FaultLog::default(),
            stopping: CancellationToken::new(),
            config,
            tokens: keyring
                .token_secret()
                .and_then(|secret| TokenKey::new(secret.expose().as_bytes())),
            keyring,
            registry,
            publish,
            query,
        })
    }

    /// Takes in what projects declared elsewhere, in this order.
    pub fn declare(&self, declarations: &[(Arc<str>, Declaration)]) {
        self.registry.declare(declarations);
    }

    /// Reads keys and declared metrics again, for SIGHUP. What cannot be read
    /// stays as it was, and the log says so.
    ///
    /// It reads files: call it where blocking for that long is no harm.
    pub fn reload(&self) {
        self.keyring.reload_and_log();
        match self.registry.reload() {
            Ok(metrics) => tracing::info!(metrics, "read the metric registry again"),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the declared metrics stay as they were");
            }
        }
    }
}
