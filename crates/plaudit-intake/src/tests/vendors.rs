//! Promise P8: a request finds its dialect, and gets its answer.

use plaudit_event::{Dialect, Operation, codec};

use super::*;

fn operations(app: &App) -> Vec<(Dialect, bool)> {
    let batches = app.collector.batches.lock().unwrap();
    let records = batches.iter().flat_map(|batch| batch.records());
    records
        .map(|record| {
            let event = codec::decode(record.value, || None).unwrap();
            (event.dialect, matches!(event.operation, Operation::Put(_)))
        })
        .collect()
}

#[tokio::test]
async fn p8_portkey_is_served_under_its_prefix_and_by_its_headers() {
    let app = Setup::default().app();
    let body = r#"{"trace_id":"T1","value":5}"#;
    let by_header = |path: &str| {
        let mut request = post(path, body);
        let headers = request.headers_mut();
        headers.insert("x-portkey-api-key", "".parse().unwrap());
        request
    };
    for request in [
        post("/portkey/v1/feedback", body),
        post("/portkey/v1/feedback/", body),
        post("/portkey/v1//feedback", body),
        by_header("/v1/feedback"),
        by_header("/v1//feedback"),
        by_header("/v1/feedback/"),
    ] {
        let path = request.uri().clone();
        let answer = app.send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.body["status"], "success");
        assert_eq!(answer.body["message"], "Feedback successfully saved");
        assert!(answer.body["feedback_ids"][0].is_string());
    }
    assert_eq!(operations(&app), [(Dialect::Portkey, true); 6]);
}

#[tokio::test]
async fn p8_a_portkey_update_is_a_patch_by_the_id_of_its_path() {
    let app = Setup::default().app();
    let id = "0196c682-72e0-7c83-a92b-9d1a3c7630f2";
    for path in ["/portkey/v1/feedback", "/v1/feedback"] {
        let request = Request::put(format!("{path}/{id}"))
            .header("content-type", "application/json")
            .body(Body::from(r#"{"value":7}"#));
        let answer = app.send(request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.body["feedback_ids"][0], id);
    }
    assert_eq!(operations(&app), [(Dialect::Portkey, false); 2]);
}

#[tokio::test]
async fn p3_a_repeated_idempotency_key_is_the_same_feedback() {
    let app = Setup::default().app();
    let ask = async |key: &'static str| {
        let mut request = post("/v1/feedback", GOOD);
        request
            .headers_mut()
            .insert("idempotency-key", key.parse().unwrap());
        app.send(request).await.body["items"][0]["id"].clone()
    };
    let first = ask("k-1").await;
    assert_eq!(first, ask("k-1").await);
    assert_ne!(first, ask("k-2").await);
}

#[tokio::test]
async fn a_request_is_named_by_its_client_or_by_us() {
    let app = Setup::default().app();
    let mut request = post("/v1/feedback", "{");
    request
        .headers_mut()
        .insert("x-request-id", "r-1".parse().unwrap());
    let answer = app.send(request).await;
    assert_eq!(answer.headers["x-request-id"], "r-1");
    assert_eq!(answer.body["error"]["request_id"], "r-1");
    let answer = app.post("/v1/feedback", GOOD).await;
    assert_eq!(answer.headers["x-request-id"].len(), 32);
}

#[tokio::test]
async fn p7_keys_of_model_providers_are_kept_by_no_dialect() {
    let app = Setup::default().app();
    let body = r#"{"provider_api_keys":{"openai":"sk-SECRET"},"type":"rating","value":"good",
        "data_id":"d","session_id":"44444444-4444-4444-4444-444444444444","key":"k"}"#;
    let numbers = r#"{"provider_api_keys":{"openai":"sk-SECRET"},"trace_id":"t","value":1}"#;
    let thumbs = r#"{"provider_api_keys":"sk-SECRET","feedback_positive":true,
        "evaluation_result_id":"1"}"#;
    for (path, body, agent) in [
        ("/feedback", body, "Konfig/0.5.18/python"),
        ("/feedback", body, "curl/8"),
        ("/humanloop/v4/feedback", body, "curl/8"),
        ("/langsmith/feedback", body, "curl/8"),
        ("/portkey/v1/feedback", numbers, "curl/8"),
        ("/patronus/v1/feedback", thumbs, "curl/8"),
    ] {
        let mut request = post(path, body);
        let agent_header = agent.parse().unwrap();
        request.headers_mut().insert("user-agent", agent_header);
        let answer = app.send(request).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{path} {agent}: {}",
            answer.body
        );
    }
    assert_eq!(
        operations(&app)
            .iter()
            .map(|(dialect, _)| *dialect)
            .collect::<Vec<_>>(),
        [
            Dialect::Humanloop,
            Dialect::Langsmith,
            Dialect::Humanloop,
            Dialect::Langsmith,
            Dialect::Portkey,
            Dialect::Patronus,
        ]
    );
    for batch in app.collector.batches.lock().unwrap().iter() {
        for record in batch.records() {
            let text = std::str::from_utf8(record.value).unwrap();
            assert!(!text.contains("sk-SECRET"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_stranger_gets_the_page_of_a_token_and_little_room() {
    let mut setup = Setup {
        says: Says::Busy,
        ..Setup::default()
    };
    setup.auth.token_secret = Some("0123456789abcdef0123456789abcdef".to_owned().into());
    let app = setup.app();
    let minted = app
        .post("/v1/tokens", r#"{"trace_id":"t","metric":"m"}"#)
        .await;
    let path = format!("/v1/tokens/{}", minted.body["token"].as_str().unwrap());
    let mut request = post(&path, "value=1");
    let form = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert("content-type", form);
    let busy = app.send(request).await;
    assert_eq!(busy.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(busy.headers["content-type"], "text/html; charset=utf-8");
    let large = app.post(&path, vec![b'a'; 70_000]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(large.headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn a_request_that_could_be_anybodys_is_told_the_prefixes() {
    let app = Setup::default().app();
    let answer = app.post("/feedback", r#"{"a":1}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    for prefix in ["/portkey", "/tensorzero", "/humanloop", "/langsmith"] {
        assert!(answer.body.to_string().contains(prefix), "{}", answer.body);
    }
    assert_eq!(app.published(), 0);
}
