//! The router, asked over HTTP's shapes. What is really durable and visible is for
//! the suites that have a broker and an engine.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use plaudit_dialects::{Batch, Delivery, Refused};
use plaudit_event::{Declaration, Receipt, UnknownMetrics};
use plaudit_service::{AuthConfig, AuthMode, Keyring};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt as _;
use tower::util::BoxCloneService;

use crate::publish::{NotReady, Publish, Unflushed};
use crate::{Intake, IntakeConfig, MetricRegistry, MetricsConfig, router};

mod bad_input;
mod bounds;
mod drain;
mod reads;
mod vendors;

/// Keeps what it is given, and says of it what it is told to.
struct Collector {
    batches: Mutex<Vec<Arc<Batch>>>,
    says: Says,
    /// A permit a publish; what has none waits.
    gate: Semaphore,
    /// Told each time that one stands before the gate.
    entered: Notify,
}

#[derive(Clone, Copy)]
enum Says {
    Confirmed,
    Busy,
    Unconfirmed,
    TooLarge,
}

impl Publish for Arc<Collector> {
    const CONDITION: &'static str = "collector";
    const COMES_BACK: bool = false;

    async fn publish(&self, batch: Arc<Batch>, deadline: Duration) -> Vec<Delivery> {
        self.entered.notify_one();
        let Ok(permit) = tokio::time::timeout(deadline, self.gate.acquire()).await else {
            return vec![Delivery::Unconfirmed; batch.len()];
        };
        permit.unwrap().forget();
        let deliveries = (0..batch.len()).map(|index| match self.says {
            Says::Confirmed => Delivery::Confirmed(Receipt {
                topic: "collector".into(),
                partition: 0,
                offset: i64::try_from(index).unwrap(),
            }),
            Says::Busy => Delivery::Refused(Refused::Busy { retry_after: 3 }),
            Says::Unconfirmed => Delivery::Unconfirmed,
            Says::TooLarge => Delivery::Refused(Refused::TooLarge),
        });
        let deliveries = deliveries.collect();
        self.batches.lock().unwrap().push(batch);
        deliveries
    }

    async fn declare(&self, _: &str, _: &[Declaration]) -> Result<(), NotReady> {
        Ok(())
    }

    fn readiness(&self) -> Result<(), NotReady> {
        Ok(())
    }

    fn queue_len(&self) -> usize {
        0
    }

    async fn flush(&self, _: Duration) -> Result<(), Unflushed> {
        Ok(())
    }
}

/// An intake in open mode, whose declared metric is `stars`, 1 to 5.
struct Setup {
    config: IntakeConfig,
    auth: AuthConfig,
    says: Says,
    publishes: usize,
}

struct App {
    router: BoxCloneService<Request<Body>, Response<Body>, Infallible>,
    intake: Arc<Intake<Arc<Collector>>>,
    collector: Arc<Collector>,
}

/// An answer, read whole.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: IntakeConfig::default(),
            auth: AuthConfig {
                mode: AuthMode::Open,
                ..AuthConfig::default()
            },
            says: Says::Confirmed,
            publishes: Semaphore::MAX_PERMITS,
        }
    }
}

impl Setup {
    fn app(self) -> App {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("metrics.toml");
        std::fs::write(
            &file,
            "[metrics.stars]\ntype = \"integer\"\nmin = 1\nmax = 5\n",
        )
        .unwrap();
        let metrics = MetricsConfig {
            unknown: UnknownMetrics::Accept,
            file: Some(file),
        };
        let collector = Arc::new(Collector {
            batches: Mutex::default(),
            says: self.says,
            gate: Semaphore::new(self.publishes),
            entered: Notify::new(),
        });
        let intake = Intake::new(
            self.config,
            Arc::new(Keyring::load(self.auth).unwrap()),
            MetricRegistry::load(metrics).unwrap(),
            Arc::clone(&collector),
        );
        let intake = Arc::new(intake.unwrap());
        App {
            router: BoxCloneService::new(router(Arc::clone(&intake))),
            intake,
            collector,
        }
    }
}

impl App {
    async fn send(&self, request: Request<Body>) -> Answered {
        let response = self.router.clone().oneshot(request).await.unwrap();
        read(response).await
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> Answered {
        self.send(post(path, body)).await
    }

    fn published(&self) -> usize {
        let batches = self.collector.batches.lock().unwrap();
        batches.iter().map(|batch| batch.len()).sum()
    }
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

async fn read(response: Response<Body>) -> Answered {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answered {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    }
}

impl Answered {
    /// Status and code of a native error of the whole request.
    fn fault(&self) -> (u16, &str) {
        let error = &self.body["error"];
        assert!(error["message"].is_string() && error["request_id"].is_string());
        assert!(error.get("field").is_some());
        (self.status.as_u16(), error["code"].as_str().unwrap())
    }

    /// Status, and the message of Portkey's error.
    fn portkey_fault(&self) -> (u16, &str) {
        assert_eq!(self.body["status"], "failure");
        assert_eq!(self.body["error"]["message"], self.body["message"]);
        (self.status.as_u16(), self.body["message"].as_str().unwrap())
    }

    /// Status, and code and field of the first item's error.
    fn item(&self) -> (u16, &str, &str) {
        let error = &self.body["items"][0]["error"];
        (
            self.status.as_u16(),
            error["code"].as_str().unwrap(),
            error["field"].as_str().unwrap_or_default(),
        )
    }
}

const GOOD: &str = r#"{"trace_id":"t","metric":"m","value":true}"#;
