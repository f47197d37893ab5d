//! What carries requests to ClickHouse: the library's own transport, or the same over
//! TLS.

use std::time::Duration;

use clickhouse::Client;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use plaudit_tls::{TlsError, Trust};

use crate::ClickhouseConfig;

/// Both as the library has them for plain HTTP: shorter than the 3 s after which
/// ClickHouse closes an idle connection, and a peer that is gone is found out.
const IDLE: Duration = Duration::from_secs(2);
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A client that has nothing set but its transport.
pub(crate) fn client(config: &ClickhouseConfig) -> Result<Client, TlsError> {
    if !config.url.starts_with("https://") {
        return Ok(Client::default());
    }
    let trust = Trust::towards(&config.url, "clickhouse.ca_file", config.ca_file.as_deref())?;
    let mut tcp = HttpConnector::new();
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.enforce_http(false);
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(trust.client_config())
        .https_only()
        .enable_http1()
        .wrap_connector(tcp);
    let http = HttpClient::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .build(tls);
    Ok(Client::with_http_client(http))
}
