//! What every service of Plaudit shares: connections and tasks that end, probes and
//! metrics, keys, logs, and the shape of an error.
//!
//! It knows nothing of feedback, Kafka or ClickHouse. It exists because intake,
//! sink and query would otherwise each have their own copy of it.

mod connections;
mod error;
mod keys;
mod logging;
mod observe;
mod secret;
mod tasks;

pub use connections::{ConnectionsConfig, HttpServer, ServerTls, TlsConfig};
pub use error::{ApiError, ErrorCode, RequestId, request_id};
pub use keys::{
    AuthConfig, AuthError, AuthMode, KeyEntry, KeyFileError, KeyHash, Keyring, NewKey, Principal,
    Scope, Scopes, UnknownScope,
};
pub use logging::{LogFormat, chain, init as init_logging};
pub use observe::{MetricsHandle, ObserveConfig, ObserveError, Readiness, install_metrics, serve};
pub use secret::Secret;
pub use tasks::{BoxError, TaskError, Tasks, stop_signal};
