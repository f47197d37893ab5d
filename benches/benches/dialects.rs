//! What reading one feedback costs, from the bytes of a body to an encoded event and
//! the bytes of its answer, dialect by dialect.
//!
//! The native API is the measure: a vendor's may cost 2 µs more.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use plaudit_dialects::{Action, Call, Content, Delivery, Fates, VENDORS};
use plaudit_event::{Dialect, Limits, Micros, Receipt, Registries};

/// The same thing said in each API: a value, a tag, who said it.
const REQUESTS: [(Dialect, &str, &str); 6] = [
    (
        Dialect::Native,
        "/v1/feedback",
        r#"{"trace_id":"0196c682-72e0-7c83-a92b-9d1a3c7630f2","metric":"helpful","value":true,"rater":"ada","tags":{"env":"production"}}"#,
    ),
    (
        Dialect::Portkey,
        "/v1/feedback",
        r#"{"trace_id":"0196c682-72e0-7c83-a92b-9d1a3c7630f2","value":5,"weight":0.5,"metadata":{"_user":"ada","env":"production"}}"#,
    ),
    (
        Dialect::Tensorzero,
        "/feedback",
        r#"{"episode_id":null,"inference_id":"0196c682-72e0-7c83-a92b-9d1a3c7630f2","metric_name":"helpful","value":true,"internal":false,"tags":{"user_id":"ada","env":"production"},"dryrun":null}"#,
    ),
    (
        Dialect::Patronus,
        "/v1/feedback",
        r#"{"feedback_positive":true,"evaluation_result_id":"1234567891234567890"}"#,
    ),
    (
        Dialect::Humanloop,
        "/v4/feedback",
        r#"{"type":"rating","value":"good","data_id":"data_1","user":"ada","provider_api_keys":{}}"#,
    ),
    (
        Dialect::Langsmith,
        "/feedback",
        r#"{"id":"01a200d2-225c-734d-b959-07625b1b2e69","created_at":"2026-11-22T01:15:01.085086+00:00","modified_at":"2026-11-22T01:15:01.085094+00:00","run_id":"22222222-2222-2222-2222-222222222222","trace_id":"22222222-2222-2222-2222-222222222222","key":"helpful","score":1,"feedback_source":{"type":"api","metadata":{"env":"production"}},"session_id":"44444444-4444-4444-4444-444444444444","extend_trace_retention":true}"#,
    ),
];

fn single(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("single");
    let (project, headers): (Arc<str>, _) = ("bench".into(), HeaderMap::new());
    let (limits, registries) = (Limits::default(), Registries::default());
    let deliveries = [Delivery::Confirmed(Receipt {
        topic: "plaudit.feedback".into(),
        partition: 3,
        offset: 1042,
    })];
    let fates = Fates {
        deliveries: &deliveries,
        states: &[],
        request_id: "r-1",
    };
    for (dialect, path, body) in REQUESTS {
        let endpoint = VENDORS
            .into_iter()
            .filter(|vendor| vendor.dialect == dialect)
            .flat_map(|vendor| vendor.endpoints)
            .find(|endpoint| endpoint.method == Method::POST && endpoint.path == path)
            .expect("the endpoint is there");
        let Action::Take { parse, answer, .. } = endpoint.action else {
            panic!("{path} takes events");
        };
        group.bench_function(dialect.name(), |bencher| {
            bencher.iter(|| {
                let call = Call {
                    project: &project,
                    received_at: Micros::now(),
                    idempotency_key: None,
                    path: &[],
                    query: "",
                    headers: &headers,
                    content: Content::Json,
                    limits: &limits,
                    registries: &registries,
                    max_events: 100,
                    tokens: None,
                    origin: "http://127.0.0.1:8080",
                };
                let parsed = parse(&call, body.as_bytes()).expect("the request is good");
                assert_eq!(parsed.batch.len(), 1);
                answer(&parsed, &fates)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, single);
criterion_main!(benches);
