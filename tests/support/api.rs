//! A client of the HTTP API that shows everything: status, headers, body.

use anyhow::{Context, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::authority::Authority;
use crate::http::http;

/// Calls one service, with a key or without.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text.
    pub text: String,
    /// The body as JSON; `null` when it is none.
    pub json: Value,
}

impl Api {
    /// Calls the service at this base URL.
    pub fn new(base: &str) -> Self {
        Self {
            http: one_connection_a_request(),
            base: base.to_owned(),
            key: None,
        }
    }

    /// The same by TLS, believing this authority.
    ///
    /// # Errors
    /// When the authority's file cannot be read.
    pub fn over_tls(&self, authority: &Authority) -> Result<Self> {
        Ok(Self {
            http: authority.http()?.pool_max_idle_per_host(0).build()?,
            base: self.base.replacen("http://", "https://", 1),
            key: self.key.clone(),
        })
    }

    /// The same with a key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    /// The base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to be completed and [sent](Self::send).
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let answer = request.send().await.context("no answer")?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        Ok(Answer {
            json: serde_json::from_str(&text).unwrap_or_default(),
            status,
            headers,
            text,
        })
    }

    /// `GET`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.post_text(path, "application/json", &body.to_string())
            .await
    }

    /// `POST` of any text.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_text(&self, path: &str, content_type: &str, body: &str) -> Result<Answer> {
        let request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, content_type);
        self.send(request.body(body.to_owned())).await
    }

    /// Sends feedback and waits until it is visible.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn feedback(&self, body: &Value) -> Result<Answer> {
        self.post("/v1/feedback?wait=visible&timeout_ms=30000", body)
            .await
    }
}

impl Answer {
    /// A part of the JSON body, `null` when it is not there.
    pub fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The id of an item.
    ///
    /// # Errors
    /// When it has none.
    pub fn id(&self, item: usize) -> Result<String> {
        self.item_text(item, "id")
    }

    /// The receipt of an item.
    ///
    /// # Errors
    /// When it has none.
    pub fn receipt(&self, item: usize) -> Result<String> {
        self.item_text(item, "receipt")
    }

    /// The state of every item, for `?wait=visible`.
    pub fn states(&self) -> Vec<&str> {
        let items = self
            .at("/items")
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        items
            .iter()
            .map(|item| item["state"].as_str().unwrap_or("none"))
            .collect()
    }

    fn item_text(&self, item: usize, field: &str) -> Result<String> {
        let found = self.at(&format!("/items/{item}/{field}")).as_str();
        Ok(found
            .with_context(|| format!("item {item} has no {field}: {}", self.text))?
            .to_owned())
    }
}

/// So that who calls holds no connection between two calls: some tests count them.
fn one_connection_a_request() -> reqwest::Client {
    let client = http().pool_max_idle_per_host(0).build();
    client.expect("a client without TLS needs nothing of the system")
}
