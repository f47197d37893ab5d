//! Each kind of bad input, in the shape of its dialect, by field and never by
//! value.

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::*;

async fn packed(mut encoder: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    encoder.read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn all_encodings(plain: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    [
        ("gzip", packed(GzipEncoder::new(plain)).await),
        ("deflate", packed(ZlibEncoder::new(plain)).await),
        ("br", packed(BrotliEncoder::new(plain)).await),
        ("zstd", packed(ZstdEncoder::new(plain)).await),
    ]
}

fn encoded(path: &str, encoding: &str, body: Vec<u8>) -> Request<Body> {
    let mut request = post(path, body);
    let headers = request.headers_mut();
    headers.insert("content-encoding", encoding.parse().unwrap());
    request
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let app = Setup::default().app();
    for body in ["", "{", "[1,]", "{}{}", "\u{feff}"] {
        let answer = app.post("/v1/feedback", body).await;
        assert_eq!(answer.fault(), (400, "invalid_json"), "{body}");
        let answer = app.post("/portkey/v1/feedback", body).await;
        assert_eq!(answer.portkey_fault().0, 400, "{body}");
    }
    assert_eq!(app.published(), 0);
}

#[tokio::test]
async fn a_bad_item_says_which_field_and_why() {
    let app = Setup::default().app();
    let deep = format!(
        r#"{{"trace_id":"t","metric":"m","value":{}1{}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    for (item, code, field) in [
        (
            r#"{"trace_id":7,"metric":"m","value":1}"#,
            "wrong_type",
            "trace_id",
        ),
        (
            r#"{"trace_id":"t","metric":"m","value":1,"w":1}"#,
            "unknown_field",
            "w",
        ),
        (
            r#"{"trace_id":"","metric":"m","value":1}"#,
            "missing_field",
            "trace_id",
        ),
        (
            r#"{"trace_id":"t","metric":"stars","value":6}"#,
            "out_of_range",
            "value",
        ),
        (
            r#"{"trace_id":"t","metric":"stars","value":"5"}"#,
            "wrong_type",
            "value",
        ),
        (&deep, "too_deep", "value"),
    ] {
        let answer = app.post("/v1/feedback", item.to_owned()).await;
        assert_eq!(answer.item(), (400, code, field), "{item}");
    }
    assert_eq!(app.published(), 0);
}

#[tokio::test]
async fn a_bad_portkey_request_is_answered_in_its_shape() {
    let app = Setup::default().app();
    for (body, message) in [
        (r#"{"value":1}"#, "trace_id: is required"),
        (
            r#"{"trace_id":"","value":1}"#,
            "trace_id: must not be empty",
        ),
        (r#"{"trace_id":1,"value":1}"#, "trace_id: must be a string"),
        (r#"{"trace_id":"t","value":11}"#, "value: must be -10 to 10"),
        (
            r#"[{"trace_id":"t","value":1},{"trace_id":"t"}]"#,
            "[1].value: is required",
        ),
    ] {
        let answer = app.post("/portkey/v1/feedback", body).await;
        assert_eq!(answer.portkey_fault(), (400, message), "{body}");
    }
    assert_eq!(app.published(), 0);
}

#[tokio::test]
async fn the_good_items_of_a_batch_are_stored() {
    let app = Setup::default().app();
    let mut items = vec![GOOD; 100];
    items[60] = r#"{"trace_id":"","metric":"m","value":true}"#;
    let answer = app
        .post("/v1/feedback", format!("[{}]", items.join(",")))
        .await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    assert_eq!(
        (&answer.body["accepted"], &answer.body["rejected"]),
        (&99.into(), &1.into())
    );
    assert_eq!(answer.body["items"][60]["error"]["field"], "trace_id");
    assert_eq!(answer.body["items"][99]["receipt"], "collector:0:98");
    assert_eq!(app.published(), 99);
}

#[tokio::test]
async fn p5_a_body_that_is_too_large_is_refused_before_it_is_read() {
    let mut setup = Setup::default();
    setup.config.limits.body_bytes = 100;
    let app = setup.app();
    let large = format!("{GOOD}{}", " ".repeat(100));
    let announced = app.post("/v1/feedback", large.clone()).await;
    assert_eq!(announced.fault(), (413, "body_too_large"));
    // A stream has no length to announce.
    let chunks = large
        .into_bytes()
        .chunks(30)
        .map(<[u8]>::to_vec)
        .collect::<Vec<_>>();
    let stream = futures_util::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
    let streamed = app
        .post("/portkey/v1/feedback", Body::from_stream(stream))
        .await;
    assert_eq!(
        streamed.portkey_fault(),
        (413, "the body is larger than 100 bytes")
    );
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let app = Setup::default().app();
    for (encoding, body) in all_encodings(GOOD.as_bytes()).await {
        let answer = app.send(encoded("/v1/feedback", encoding, body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding}");
    }
    assert_eq!(app.published(), 4);
}

#[tokio::test]
async fn p5_a_bomb_is_found_out_at_the_limit() {
    let mut setup = Setup::default();
    setup.config.limits.decompressed_bytes = 200_000;
    let app = setup.app();
    let fits = format!("{GOOD}{}", " ".repeat(200_000 - GOOD.len()));
    for (encoding, body) in all_encodings(fits.as_bytes()).await {
        let answer = app.send(encoded("/v1/feedback", encoding, body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding}");
    }
    for (encoding, body) in all_encodings(&vec![b' '; 50_000_000]).await {
        let answer = app.send(encoded("/v1/feedback", encoding, body)).await;
        assert_eq!(answer.fault(), (413, "body_too_large"), "{encoding}");
    }
}

#[tokio::test]
async fn what_cannot_be_decompressed_is_refused() {
    let app = Setup::default().app();
    for (encoding, mut body) in all_encodings(GOOD.as_bytes()).await {
        body.truncate(body.len() / 2);
        let answer = app.send(encoded("/v1/feedback", encoding, body)).await;
        assert_eq!(answer.fault(), (400, "invalid_json"), "{encoding}");
    }
    let answer = app
        .send(encoded("/v1/feedback", "compress", Vec::new()))
        .await;
    assert_eq!(answer.fault(), (415, "unsupported_media_type"));
    assert_eq!(answer.body["error"]["field"], "Content-Encoding");
}

#[tokio::test]
async fn a_content_type_that_is_not_json_is_refused() {
    let app = Setup::default().app();
    let typed = |path: &str, content_type: &str| {
        Request::post(path)
            .header("content-type", content_type)
            .body(Body::from(GOOD))
            .unwrap()
    };
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let answer = app.send(typed("/v1/feedback", content_type)).await;
        assert_eq!(
            answer.fault(),
            (415, "unsupported_media_type"),
            "{content_type}"
        );
        let answer = app.send(typed("/portkey/v1/feedback", content_type)).await;
        assert_eq!(answer.portkey_fault().0, 415, "{content_type}");
    }
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/x-ndjson",
    ] {
        let answer = app.send(typed("/v1/feedback", content_type)).await;
        assert_eq!(answer.status, StatusCode::OK, "{content_type}");
    }
    let untyped = Request::post("/v1/feedback")
        .body(Body::from(GOOD))
        .unwrap();
    assert_eq!(app.send(untyped).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let app = Setup::default().app();
    let stuck = || Body::from_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>());
    let answer = app.post("/v1/feedback", stuck()).await;
    assert_eq!(answer.fault(), (408, "body_timeout"));
    let answer = app.post("/portkey/v1/feedback", stuck()).await;
    assert_eq!(answer.portkey_fault().0, 408);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_answered_in_the_shape_of_their_dialect() {
    let app = Setup::default().app();
    let ask = async |method: &str, path: &str, header: Option<&'static str>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(header) = header {
            request = request.header(header, "x");
        }
        app.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(
        ask("GET", "/v9/feedback", None).await.fault(),
        (404, "not_found")
    );
    assert_eq!(ask("GET", "/", None).await.fault(), (404, "not_found"));
    let answer = ask("DELETE", "/v1/feedback", None).await;
    assert_eq!(answer.fault(), (405, "method_not_allowed"));
    let there_is_nothing = (404, "there is nothing here");
    let answer = ask("POST", "/portkey/v1/feedbacks", None).await;
    assert_eq!(answer.portkey_fault(), there_is_nothing);
    let answer = ask("POST", "/v1/feedbacks", Some("x-portkey-api-key")).await;
    assert_eq!(answer.portkey_fault(), there_is_nothing);
    assert_eq!(
        ask("GET", "/portkey/v1/feedback", None)
            .await
            .portkey_fault()
            .0,
        405
    );
    let answer = ask("POST", "/tensorzero/inference", None).await;
    let not_found = serde_json::json!({"error": "Route not found: POST /tensorzero/inference"});
    assert_eq!((answer.status.as_u16(), answer.body), (404, not_found));
}

#[tokio::test]
async fn a_wrong_key_is_turned_away() {
    use plaudit_service::Scope;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    let reader = Keyring::create_key(&path, "p", &[Scope::Read], None, None).unwrap();
    let writer = Keyring::create_key(&path, "p", &[Scope::Write], None, None).unwrap();
    let mut setup = Setup::default();
    setup.config.query_url = Some("http://127.0.0.1:1".to_owned());
    setup.auth = AuthConfig {
        keys_file: Some(path),
        ..AuthConfig::default()
    };
    let app = setup.app();
    let ask = async |path: &str, header: &'static str, key: &str| {
        let mut request = post(path, GOOD);
        request.headers_mut().insert(header, key.parse().unwrap());
        app.send(request).await
    };
    let none = app.post("/v1/feedback", GOOD).await;
    assert_eq!(none.fault(), (401, "unauthorized"));
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    let wrong = ask("/v1/feedback", "x-api-key", "pl_1_x").await;
    assert_eq!(wrong.fault(), (401, "unauthorized"));
    assert!(!wrong.body.to_string().contains("pl_1_x"));
    let wrong = ask("/v1/feedback", "x-portkey-api-key", "PK").await;
    assert_eq!(wrong.portkey_fault().0, 401);
    let reader = reader.secret.expose();
    assert_eq!(
        ask("/v1/feedback", "x-api-key", reader).await.fault(),
        (403, "forbidden")
    );
    let writer = writer.secret.expose();
    assert_eq!(
        ask("/v1/feedback", "x-api-key", writer).await.status,
        StatusCode::OK
    );
    // What became of one's own events is no read, as a receipt is none.
    let waiting = ask(
        "/v1/feedback?wait=visible&timeout_ms=0",
        "x-api-key",
        writer,
    )
    .await;
    assert_eq!(waiting.body["items"][0]["state"], "pending");
    let batches = app.collector.batches.lock().unwrap();
    assert_eq!(
        batches
            .iter()
            .map(|batch| &*batch.project)
            .collect::<Vec<_>>(),
        ["p", "p"]
    );
}

#[tokio::test]
async fn parameters_and_headers_that_make_no_sense_are_named() {
    let app = Setup::default().app();
    for (path, field) in [
        ("/v1/feedback?wait=stored", "wait"),
        ("/v1/feedback?wait=visible&timeout_ms=30001", "timeout_ms"),
        ("/v1/feedback?wait=visible&timeout_ms=soon", "timeout_ms"),
    ] {
        let answer = app.post(path, GOOD).await;
        assert_eq!(answer.fault(), (400, "invalid_parameter"), "{path}");
        assert_eq!(answer.body["error"]["field"], field);
    }
    let mut request = post("/v1/feedback", GOOD);
    let long = "k".repeat(256).parse().unwrap();
    request.headers_mut().insert("idempotency-key", long);
    let answer = app.send(request).await;
    assert_eq!(answer.fault(), (400, "invalid_parameter"));
    assert_eq!(answer.body["error"]["field"], "Idempotency-Key");
    assert_eq!(app.published(), 0);
}
