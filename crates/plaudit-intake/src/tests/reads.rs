//! Reads are the query service's; here a server of HTTP stands in its place.

use axum::Json;
use axum::Router;
use axum::routing::{get, post as on_post};
use plaudit_service::Tasks;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;

#[tokio::test]
async fn reads_without_a_query_service_say_what_to_set() {
    let app = Setup::default().app();
    for path in [
        "/v1/feedback?limit=1",
        "/v1/feedback/0196c682-72e0-7c83-a92b-9d1a3c7630f2",
        "/v1/receipts/t:0:1",
        "/v1/traces/t/feedback",
        "/v1/metrics",
        "/v1/metrics/m?by=tag.k",
        "/openapi.json",
    ] {
        let answer = app
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.fault(), (501, "no_query_url"), "{path}");
    }
    let answer = app.post("/v1/feedback?wait=visible", GOOD).await;
    assert_eq!(answer.fault(), (501, "no_query_url"));
    assert_eq!(app.published(), 0);
}

#[tokio::test]
async fn a_query_service_that_is_away_is_a_503() {
    // A port that was free a moment ago, and that nobody listens on.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut setup = Setup::default();
    setup.config.query_url = Some(format!("http://{address}"));
    let app = setup.app();
    let answer = app
        .send(Request::get("/v1/metrics").body(Body::empty()).unwrap())
        .await;
    assert_eq!(answer.fault(), (503, "unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
    // The event is durable all the same, and so it is said.
    let answer = app.post("/v1/feedback?wait=visible", GOOD).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["items"][0]["state"], "pending");
}

#[tokio::test]
async fn a_read_counts_against_its_rate_and_is_never_of_another_path() {
    let mut setup = Setup::default();
    setup.config.query_url = Some("http://127.0.0.1:1".to_owned());
    let app = setup.app();
    for path in [
        "/v1/traces/../feedback",
        "/v1/traces/%2E./feedback",
        "/v1/feedback/.",
    ] {
        let answer = app
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.fault(), (400, "invalid_parameter"), "{path}");
    }
    let mut setup = Setup::default();
    setup.config.limits.requests_per_second = 1;
    let app = setup.app();
    for (path, expected) in [
        ("/v1/metrics", (501, "no_query_url")),
        ("/v1/metrics", (429, "rate_limited")),
        ("/openapi.json", (501, "no_query_url")),
    ] {
        let answer = app
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.fault(), expected, "{path}");
    }
}

#[tokio::test]
async fn reads_are_passed_on_with_their_key_and_come_back_as_they_are() {
    let upstream = Router::new()
        .route(
            "/q/v1/metrics",
            get(async |request: Request<Body>| {
                let headers = request.headers();
                let sent = ["authorization", "x-request-id", "cookie"].map(|name| {
                    headers
                        .get(name)
                        .map(|value| value.to_str().unwrap().to_owned())
                });
                let body = json!({"query": request.uri().query(), "headers": sent});
                (StatusCode::IM_A_TEAPOT, [("retry-after", "9")], Json(body))
            }),
        )
        .route(
            "/q/v1/receipts",
            on_post(async |Json(question): Json<Value>| {
                assert_eq!(question["timeout_ms"], 7);
                assert_eq!(
                    question["receipts"],
                    json!(["collector:0:0", "collector:0:1"])
                );
                Json(json!({"items": [
                    {"receipt": "collector:0:0", "state": "visible", "reason": null},
                    {"receipt": "collector:0:1", "state": "dead_lettered", "reason": "x"},
                ]}))
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::default();
    setup.config.query_url = Some(format!("http://{}/q/", listener.local_addr().unwrap()));
    let app = setup.app();

    let (done, stop) = oneshot::channel::<()>();
    let mut tasks = Tasks::default();
    let stopped = tasks.stop_token();
    tasks.start("upstream", async move {
        let server = axum::serve(listener, upstream);
        server
            .with_graceful_shutdown(stopped.cancelled_owned())
            .await
    });
    let asked = async {
        let request = Request::get("/v1/metrics?by=tag.k&x=%20")
            .header("authorization", "Bearer k")
            .header("x-request-id", "r-1")
            .header("cookie", "c")
            .body(Body::empty());
        let answer = app.send(request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
        assert_eq!(answer.headers["retry-after"], "9");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.body["query"], "by=tag.k&x=%20");
        assert_eq!(answer.body["headers"], json!(["Bearer k", "r-1", null]));

        let body = format!("[{GOOD},{{}},{GOOD}]");
        let answer = app
            .post("/v1/feedback?wait=visible&timeout_ms=7", body)
            .await;
        assert_eq!(answer.status, StatusCode::MULTI_STATUS);
        assert_eq!(answer.body["items"][0]["state"], "visible");
        assert_eq!(answer.body["items"][1]["status"], "rejected");
        assert_eq!(answer.body["items"][2]["state"], "dead_lettered");
        // The pool keeps its connection open, which the server would wait for.
        drop(app);
        done.send(()).unwrap();
    };
    let stop = async { stop.await.unwrap() };
    let (ended, ()) = tokio::join!(tasks.run(stop, Duration::from_secs(10)), asked);
    ended.unwrap();
}
