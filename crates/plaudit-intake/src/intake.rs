//! What every request needs: the parts of an intake.

use std::sync::Arc;

use plaudit_dialects::TokenKey;
use plaudit_event::Declaration;
use plaudit_service::Keyring;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::faults::FaultLog;
use crate::metrics::Metrics;
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
            .map(QueryService::new)
            .transpose()
            .map_err(IntakeError::Query)?;
        Ok(Self {
            admission: Admission::new(&config.limits),
            metrics: Metrics::register(),
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
        match self.keyring.reload() {
            Ok(keys) => tracing::info!(keys, "read the key file again"),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the keys stay as they were");
            }
        }
        match self.registry.reload() {
            Ok(metrics) => tracing::info!(metrics, "read the metric registry again"),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the declared metrics stay as they were");
            }
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
