//! One HTTP exchange at a time with Plaudit: no queue, no retry, no task.
//!
//! [`Client`](crate::Client) is built on it, and so is `plaudit load`, which has to
//! see every request as it is.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Answer, MetricCount, MetricSummary, RequestError, TraceFeedback};

/// Where Plaudit is and how to speak to it. Cloning shares the connections.
#[derive(Clone, Debug)]
pub struct Api {
    pub(crate) http: reqwest::Client,
    /// The intake.
    pub(crate) base: Url,
    /// The query service, or the intake, which passes reads on.
    pub(crate) query: Url,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) timeout: Duration,
}

/// Whether an answer waits for more than the receipt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// The answer says that the items are durable.
    Durable,
    /// The answer also says whether they can be read, or `pending` after this long.
    Visible(Duration),
}

/// What came back: any status, the body whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, where it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

/// The body of a whole-request error.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Default, Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

// === impl Api ===

impl Api {
    /// Sends native items: a JSON array, or one object.
    ///
    /// The reply may be any of the API's; [`Reply::answer`] reads it.
    ///
    /// # Errors
    /// When there was no reply. Except for [`RequestError::Connect`] the items may
    /// be stored: send them again with the same ids.
    pub async fn post_feedback(&self, body: Bytes, wait: Wait) -> Result<Reply, RequestError> {
        let mut url = at(&self.base, ["v1", "feedback"]);
        let mut timeout = self.timeout;
        if let Wait::Visible(limit) = wait {
            url.query_pairs_mut()
                .append_pair("wait", "visible")
                .append_pair("timeout_ms", &limit.as_millis().to_string());
            timeout += limit;
        }
        self.post_to(url, body, timeout).await
    }

    /// Sends a JSON body to a path of the intake, such as a vendor's.
    ///
    /// # Errors
    /// When there was no reply.
    pub async fn post(&self, path: &str, body: Bytes) -> Result<Reply, RequestError> {
        self.post_to(at(&self.base, path.split('/')), body, self.timeout)
            .await
    }

    /// Every metric with the number of its feedbacks (`GET /v1/metrics`).
    ///
    /// # Errors
    /// When there was no reply, or one that is not a list of metrics.
    pub async fn metrics(&self) -> Result<Vec<MetricCount>, RequestError> {
        #[derive(Deserialize)]
        struct Metrics {
            metrics: Vec<MetricCount>,
        }

        let url = at(&self.query, ["v1", "metrics"]);
        Ok(self.get::<Metrics>(url).await?.metrics)
    }

    /// What was said by one metric (`GET /v1/metrics/{metric}`).
    ///
    /// # Errors
    /// When there was no reply, or one that is no such answer.
    pub async fn metric(&self, metric: &str) -> Result<MetricSummary, RequestError> {
        self.get(at(&self.query, ["v1", "metrics", metric])).await
    }

    /// What was said of one trace, with the weighted mean of each metric
    /// (`GET /v1/traces/{trace_id}/feedback`).
    ///
    /// # Errors
    /// When there was no reply, or one that is no such answer.
    pub async fn trace(&self, trace_id: &str) -> Result<TraceFeedback, RequestError> {
        self.get(at(&self.query, ["v1", "traces", trace_id, "feedback"]))
            .await
    }

    /// Whether a feedback can be read (`GET /v1/feedback/{id}`).
    ///
    /// # Errors
    /// When there was no reply, or one that is neither 200 nor 404.
    pub async fn has_feedback(&self, id: uuid::Uuid) -> Result<bool, RequestError> {
        let id = id.to_string();
        let reply = self.fetch(at(&self.query, ["v1", "feedback", &id])).await?;
        match reply.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(reply.refusal()),
        }
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, RequestError> {
        let reply = self.fetch(url).await?;
        match reply.status {
            200 => serde_json::from_slice(&reply.body).map_err(|source| reply.malformed(source)),
            _ => Err(reply.refusal()),
        }
    }

    async fn fetch(&self, url: Url) -> Result<Reply, RequestError> {
        self.exchange(self.http.get(url).timeout(self.timeout))
            .await
    }

    async fn post_to(
        &self,
        url: Url,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Reply, RequestError> {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        let request = self.http.post(url).header(CONTENT_TYPE, JSON);
        self.exchange(request.body(body).timeout(timeout)).await
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Reply, RequestError> {
        let request = match &self.authorization {
            Some(key) => request.header(AUTHORIZATION, key.clone()),
            None => request,
        };
        let response = request.send().await?;
        Ok(Reply {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            body: response.bytes().await?,
        })
    }
}

/// A path below a base that may have a path of its own.
fn at<'a>(base: &Url, path: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    // The builder refuses bases without a path, such as `mailto:`.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// Seconds only: nothing in Plaudit sends a date, and one from a proxy leaves the
/// client to its own backoff.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

// === impl Reply ===

impl Reply {
    /// Reads the reply to [`Api::post_feedback`].
    ///
    /// # Errors
    /// [`RequestError::Refused`] where the request failed as a whole, and
    /// [`RequestError::Malformed`] for an answer that is not the API's.
    pub fn answer(&self) -> Result<Answer<'_>, RequestError> {
        match self.status {
            200 | 207 => serde_json::from_slice(&self.body).map_err(|e| self.malformed(e)),
            // Item by item, or as a whole: the body tells.
            400 | 503 => serde_json::from_slice(&self.body).map_err(|_| self.refusal()),
            _ => Err(self.refusal()),
        }
    }

    /// The reply read as a whole-request error.
    pub fn refusal(&self) -> RequestError {
        let detail = serde_json::from_slice(&self.body)
            .map_or_else(|_| ErrorDetail::default(), |body: ErrorBody| body.error);
        RequestError::Refused {
            status: self.status,
            code: detail.code,
            message: detail.message,
            retry_after: self.retry_after,
        }
    }

    fn malformed(&self, source: serde_json::Error) -> RequestError {
        RequestError::Malformed {
            status: self.status,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_keeps_its_path_and_an_id_is_one_segment() {
        let path = |base: &str| at(&Url::parse(base).unwrap(), ["v1", "traces", "a/b?c"]);
        assert_eq!(path("http://h").as_str(), "http://h/v1/traces/a%2Fb%3Fc");
        assert_eq!(
            path("http://h/p/").as_str(),
            "http://h/p/v1/traces/a%2Fb%3Fc"
        );
    }

    #[test]
    fn retry_after_is_a_number_of_seconds() {
        let wait = |text| {
            retry_after(&HeaderMap::from_iter([(
                RETRY_AFTER,
                HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(wait("2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[test]
    fn a_whole_request_error_is_told_from_an_answer_by_its_body() {
        let reply = |status, body: &'static str| Reply {
            status,
            retry_after: Some(Duration::from_secs(1)),
            body: Bytes::from_static(body.as_bytes()),
        };
        let refused = reply(
            503,
            r#"{"error":{"code":"unavailable","message":"full","field":null,"request_id":"r"}}"#,
        );
        let error = refused.answer().unwrap_err();
        assert_eq!(error.to_string(), "status 503 (unavailable): full");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));

        let items = reply(
            503,
            r#"{"accepted":0,"rejected":0,"items":[{"index":0,"status":"unconfirmed"}]}"#,
        );
        assert_eq!(items.answer().unwrap().items.len(), 1);

        let proxy = reply(200, "<html>");
        assert!(matches!(
            proxy.answer(),
            Err(RequestError::Malformed { status: 200, .. })
        ));
    }
}
