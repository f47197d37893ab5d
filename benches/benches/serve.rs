//! How long a request takes in the whole intake, but for sockets and Kafka: its key, its
//! route, its limits, its parts, its events and its answer; and how much of that is
//! counting it.
//!
//! Counters belong to the recorder that an intake finds when it is made, so the first one
//! here counts nothing and the second everything.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plaudit_benches::feed::{self, BOUNDARY, Width};
use plaudit_event::{Declaration, Receipt};
use plaudit_intake::{
    Batch, Delivery, Intake, IntakeConfig, MetricRegistry, MetricsConfig, NotReady, Publish,
    Unflushed, router,
};
use plaudit_service::{AuthConfig, Keyring, Scope, install_metrics};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use tower::util::BoxCloneService;

type Router = BoxCloneService<Request<Body>, Response<Body>, Infallible>;

/// Confirms whatever it is given, at once.
struct Confirming;

impl Publish for Confirming {
    const CONDITION: &'static str = "nothing";
    const COMES_BACK: bool = false;

    async fn publish(&self, batch: Arc<Batch>, _: Duration) -> Vec<Delivery> {
        let offsets = (1042..).take(batch.len());
        let confirmed = offsets.map(|offset| {
            Delivery::Confirmed(Receipt {
                topic: "plaudit.feedback".into(),
                partition: 3,
                offset,
            })
        });
        confirmed.collect()
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

/// What is sent.
struct Sent {
    name: &'static str,
    path: &'static str,
    headers: HeaderMap,
    body: Vec<u8>,
    status: u16,
    events: u64,
}

fn all(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keys.toml");
    let key = Keyring::create_key(&file, "bench", &[Scope::Write], None, None).expect("a key");
    let key = format!("Bearer {}", key.secret.expose());
    let config = AuthConfig {
        keys_file: Some(file),
        ..AuthConfig::default()
    };
    let keyring = Arc::new(Keyring::load(config).expect("the key is in the file"));
    let requests = requests(&key);

    serve(
        criterion,
        "serve, not counted",
        &runtime,
        &intake(&keyring),
        &requests,
    );
    // Kept: what it renders is what the counters below are for.
    let _metrics = install_metrics().expect("there is none yet");
    serve(criterion, "serve", &runtime, &intake(&keyring), &requests);
}

fn intake(keyring: &Arc<Keyring>) -> Router {
    let registry = MetricRegistry::load(MetricsConfig::default()).expect("no file is named");
    let config = IntakeConfig::default();
    let intake = Intake::new(config, Arc::clone(keyring), registry, Confirming);
    BoxCloneService::new(router(Arc::new(
        intake.expect("nothing is asked of the system"),
    )))
}

fn requests(key: &str) -> [Sent; 3] {
    let key = HeaderValue::from_str(key).expect("a key is ASCII");
    let json = HeaderValue::from_static("application/json");
    let of = |content: HeaderValue| {
        HeaderMap::from_iter([
            (header::AUTHORIZATION, key.clone()),
            (header::CONTENT_TYPE, content),
        ])
    };
    let form = format!("multipart/form-data; boundary={BOUNDARY}");
    let mut multipart = of(HeaderValue::from_str(&form).expect("it is ASCII"));
    multipart.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    let native = |name, events, body: String| Sent {
        name,
        path: "/v1/feedback",
        headers: of(json.clone()),
        body: body.into_bytes(),
        status: 200,
        events,
    };
    [
        native("native", 1, feed::native(0, Width::Narrow)),
        native("native-100", 100, feed::native_array(0, 100, Width::Narrow)),
        Sent {
            name: "langsmith-100",
            path: "/langsmith/runs/multipart",
            headers: multipart,
            body: feed::langsmith(0, 100).expect("compressing to memory does not fail"),
            status: 202,
            events: 100,
        },
    ]
}

fn serve(criterion: &mut Criterion, name: &str, runtime: &Runtime, router: &Router, all: &[Sent]) {
    let mut group = criterion.benchmark_group(name);
    for sent in all {
        let body = axum::body::Bytes::from(sent.body.clone());
        let request = || {
            let mut request = Request::post(sent.path).body(Body::from(body.clone()));
            if let Ok(request) = &mut request {
                request.headers_mut().clone_from(&sent.headers);
            }
            request.expect("a path")
        };
        let ask = || {
            let Ok(response) = runtime.block_on(router.clone().oneshot(request()));
            assert_eq!(response.status().as_u16(), sent.status, "{}", sent.name);
        };
        group.throughput(Throughput::Elements(sent.events));
        group.bench_function(sent.name, |bencher| bencher.iter(ask));
    }
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
