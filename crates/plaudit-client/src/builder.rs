//! How a client is set up, and the bounds it keeps.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use plaudit_tls::{TlsError, Trust};
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::deliver::Delivery;
use crate::{Api, Client, GivenUp};

/// What is called with each feedback that was given up.
pub(crate) type OnGivenUp = Arc<dyn Fn(GivenUp<'_>) + Send + Sync>;

/// Sets up a [`Client`]: [`Client::builder`].
#[must_use]
pub struct ClientBuilder {
    base_url: String,
    query_url: Option<String>,
    api_key: Option<String>,
    ca_file: Option<PathBuf>,
    http: Option<reqwest::Client>,
    timeout: Duration,
    batch: BatchLimits,
    retry: RetryPolicy,
    on_given_up: OnGivenUp,
}

/// When a batch is sent: at whichever limit comes first; and how much may wait.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Events of one request, from 1. The intake has a limit of its own.
    pub max_events: usize,
    /// Bytes of JSON after which no event is added to a request.
    pub max_bytes: usize,
    /// How long an event waits for company.
    pub max_age: Duration,
    /// Events that may wait in the queue, from 1.
    pub max_queued_events: usize,
    /// Bytes of JSON that may wait or be under way. One event that is larger is
    /// refused as if the queue were full.
    pub max_queued_bytes: usize,
}

/// How often and how fast a request is sent again.
///
/// Only what may succeed later is: 408, 429, 5xx, a broken connection, an answer
/// that leaves items unconfirmed.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Requests that may carry one event, from 1.
    pub stop_after_attempt: u32,
    /// The first pause; each next one is twice as long, with jitter.
    pub initial: Duration,
    /// The longest pause of the client's own choice.
    pub max: Duration,
    /// The longest pause that a server's `Retry-After` can ask for.
    pub max_retry_after: Duration,
}

/// Why a client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Not an absolute `http` or `https` URL.
    #[error("{0} must be an absolute http or https URL")]
    Url(&'static str),
    /// The key has characters that no header may have.
    #[error("the API key cannot be sent in a header")]
    ApiKey,
    /// The certificates to check the server's by cannot be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Http(#[source] reqwest::Error),
    /// [`ClientBuilder::build`] was called outside of a Tokio runtime.
    #[error("the client needs a Tokio runtime for its background task")]
    NoRuntime,
}

// === impl ClientBuilder ===

impl ClientBuilder {
    pub(crate) fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            query_url: None,
            api_key: None,
            ca_file: None,
            http: None,
            // The intake answers within 8 s, or says 503.
            timeout: Duration::from_secs(10),
            batch: BatchLimits::default(),
            retry: RetryPolicy::default(),
            on_given_up: Arc::new(|_| {}),
        }
    }

    /// The key of a project. Without one the server must be in open mode.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Where reads go, if not through the intake.
    pub fn query_url(mut self, url: impl Into<String>) -> Self {
        self.query_url = Some(url.into());
        self
    }

    /// The longest that one exchange may take; 10 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// When a batch is sent, and how much may wait.
    pub fn batch(mut self, limits: BatchLimits) -> Self {
        self.batch = limits;
        self
    }

    /// How often and how fast a request is sent again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// The authorities, in PEM, and no others, by which the certificates of `https`
    /// URLs are checked; without a file, those of this machine.
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// An HTTP client with a proxy, a certificate or roots of its own.
    pub fn http_client(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// What is called, once each, with the feedback that is given up.
    ///
    /// It runs on the background task: it must not block, and a panic in it ends
    /// the client.
    pub fn on_given_up(mut self, call: impl Fn(GivenUp<'_>) + Send + Sync + 'static) -> Self {
        self.on_given_up = Arc::new(call);
        self
    }

    /// Starts the client and its background task.
    ///
    /// # Errors
    /// [`BuildError`], all of them faults of the set-up: nothing is sent yet.
    pub fn build(self) -> Result<Client, BuildError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let (batch, retry, on_given_up) = (self.batch, self.retry, Arc::clone(&self.on_given_up));
        let delivery = Delivery {
            api: self.build_api()?,
            retry,
        };
        Ok(Client::start(delivery, batch, on_given_up, &runtime))
    }

    /// The exchanges alone: no queue, no retry, no task.
    ///
    /// # Errors
    /// [`BuildError`], all of them faults of the set-up.
    pub fn build_api(self) -> Result<Api, BuildError> {
        let base = parse("the base URL", &self.base_url)?;
        let query = match &self.query_url {
            Some(url) => parse("the query URL", url)?,
            None => base.clone(),
        };
        let http = match self.http {
            Some(http) => http,
            None => http_client(&base, &query, self.ca_file.as_deref())?,
        };
        Ok(Api {
            http,
            base,
            query,
            authorization: self.api_key.as_deref().map(bearer).transpose()?,
            timeout: self.timeout,
        })
    }
}

fn parse(what: &'static str, text: &str) -> Result<Url, BuildError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(BuildError::Url(what)),
    }
}

fn http_client(
    base: &Url,
    query: &Url,
    ca_file: Option<&Path>,
) -> Result<reqwest::Client, BuildError> {
    // Whichever of the two is `https` needs somebody to trust.
    let secure = if base.scheme() == "https" {
        base
    } else {
        query
    };
    let trust = Trust::towards(secure.as_str(), "the CA file", ca_file)?;
    let builder = trust
        .http_client()
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true);
    // A proxy's loopback is another machine's.
    let loopback = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let builder = if loopback {
        builder.no_proxy()
    } else {
        builder
    };
    builder.build().map_err(BuildError::Http)
}

fn bearer(key: &str) -> Result<HeaderValue, BuildError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| BuildError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

// === impl BatchLimits ===

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            max_events: 100,
            max_bytes: 512 * 1024,
            max_age: Duration::from_millis(200),
            max_queued_events: 10_000,
            max_queued_bytes: 16 * 1024 * 1024,
        }
    }
}

// === impl RetryPolicy ===

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            stop_after_attempt: 10,
            initial: Duration::from_millis(100),
            max: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The pauses between attempts; never ends.
    pub(crate) fn pauses(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.initial)
            .with_max_delay(self.max)
            .with_jitter()
            .without_max_times()
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_set_up_is_named() {
        let error = |builder: ClientBuilder| builder.build().err().unwrap().to_string();
        assert_eq!(
            error(Client::builder("http://127.0.0.1:1")),
            "the client needs a Tokio runtime for its background task"
        );
        let api = |builder: ClientBuilder| builder.build_api().err().unwrap().to_string();
        assert_eq!(
            api(Client::builder("localhost:8080")),
            "the base URL must be an absolute http or https URL"
        );
        assert_eq!(
            api(Client::builder("http://h").api_key("a\nb")),
            "the API key cannot be sent in a header"
        );
    }

    #[test]
    fn p7_the_key_is_in_no_debug_output() {
        let api = Client::builder("http://h").api_key("hunter2").build_api();
        assert!(!format!("{:?}", api.unwrap()).contains("hunter2"));
    }
}
