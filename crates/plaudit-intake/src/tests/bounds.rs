//! Promise P5 and P1: what is full says so at once, and nothing is acknowledged
//! that is not confirmed.

use super::*;

#[tokio::test]
async fn p5_more_events_than_allowed_are_refused_whole() {
    let mut setup = Setup::default();
    setup.config.limits.events_per_request = 2;
    let app = setup.app();
    let answer = app
        .post("/v1/feedback", format!("[{GOOD},{GOOD},{GOOD}]"))
        .await;
    assert_eq!(answer.fault(), (413, "too_many_events"));
    let item = r#"{"trace_id":"t","value":1}"#;
    let body = format!("[{item},{item},{item}]");
    let answer = app.post("/portkey/v1/feedback", body).await;
    assert_eq!(answer.portkey_fault(), (413, "at most 2 events a request"));
    assert_eq!(app.published(), 0);
}

#[tokio::test]
async fn p5_a_full_queue_is_a_503_that_says_when_to_come_back() {
    let app = Setup {
        says: Says::Busy,
        ..Setup::default()
    }
    .app();
    let answer = app.post("/v1/feedback", GOOD).await;
    assert_eq!(answer.fault(), (503, "unavailable"));
    assert_eq!(answer.headers["retry-after"], "3");
    let answer = app
        .post("/portkey/v1/feedback", r#"{"trace_id":"t","value":1}"#)
        .await;
    assert_eq!(answer.portkey_fault().0, 503);
    // Nothing was written: a retry is welcome.
    assert!(!answer.headers.contains_key("x-portkey-request-id"));
}

#[tokio::test]
async fn p1_what_may_be_written_is_not_acknowledged() {
    let app = Setup {
        says: Says::Unconfirmed,
        ..Setup::default()
    }
    .app();
    let answer = app.post("/v1/feedback", GOOD).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.body["accepted"], 0);
    let item = &answer.body["items"][0];
    assert_eq!(item["status"], "unconfirmed");
    assert!(item["id"].is_string() && item.get("receipt").is_none());

    let answer = app
        .post("/portkey/v1/feedback", r#"{"trace_id":"t","value":1}"#)
        .await;
    assert_eq!(answer.portkey_fault().0, 503);
    assert!(answer.headers.contains_key("x-portkey-request-id"));
}

#[tokio::test(start_paused = true)]
async fn p1_a_publisher_that_does_not_answer_is_not_waited_for_for_ever() {
    let app = Setup {
        publishes: 0,
        ..Setup::default()
    }
    .app();
    let answer = app.post("/v1/feedback", GOOD).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body["items"][0]["status"], "unconfirmed");
}

#[tokio::test]
async fn an_event_that_no_topic_takes_is_rejected() {
    let app = Setup {
        says: Says::TooLarge,
        ..Setup::default()
    }
    .app();
    let answer = app.post("/v1/feedback", GOOD).await;
    assert_eq!(answer.item(), (400, "too_long", ""));
}

#[tokio::test]
async fn p5_requests_under_way_and_their_bytes_are_bounded() {
    let mut setup = Setup {
        publishes: 0,
        ..Setup::default()
    };
    setup.config.limits.concurrent_requests = 2;
    setup.config.limits.buffered_bytes = 100;
    let app = setup.app();
    let full = async {
        let large = format!("{GOOD}{}", " ".repeat(40));
        let no_room = app.post("/v1/feedback", large).await;
        assert_eq!(no_room.fault(), (503, "unavailable"));
        assert_eq!(no_room.headers["retry-after"], "1");
        let second = app.post("/v1/feedback", GOOD);
        let third = async {
            let answer = app.post("/v1/feedback", GOOD).await;
            assert_eq!(answer.fault(), (503, "unavailable"));
            assert_eq!(answer.headers["retry-after"], "1");
            app.collector.gate.add_permits(2);
        };
        let (second, ()) = tokio::join!(biased; second, third);
        assert_eq!(second.status, StatusCode::OK);
    };
    // In this order: the first is waiting for the publisher when the rest begins.
    let (first, ()) = tokio::join!(biased; app.post("/v1/feedback", GOOD), full);
    assert_eq!(first.status, StatusCode::OK);
    app.collector.gate.add_permits(1);
    assert_eq!(app.post("/v1/feedback", GOOD).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn p5_a_key_that_is_too_fast_is_told_to_wait() {
    let mut setup = Setup::default();
    setup.config.limits.requests_per_second = 1;
    let app = setup.app();
    assert_eq!(app.post("/v1/feedback", GOOD).await.status, StatusCode::OK);
    let answer = app.post("/v1/feedback", GOOD).await;
    assert_eq!(answer.fault(), (429, "rate_limited"));
    assert_eq!(answer.headers["retry-after"], "1");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(app.post("/v1/feedback", GOOD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_happened_is_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let app = ::metrics::with_local_recorder(&recorder, || Setup::default().app());
    let shown = || recorder.handle().render();
    let zero = r#"plaudit_intake_requests_total{dialect="langsmith",outcome="unavailable"} 0"#;
    assert!(shown().contains(zero), "{}", shown());

    app.post("/v1/feedback", format!(r#"[{GOOD},{{"metric":"m"}}]"#))
        .await;
    app.post("/portkey/v1/feedback", r#"{"trace_id":"t"}"#)
        .await;
    app.post("/v1/feedback", "{").await;
    for line in [
        r#"plaudit_intake_requests_total{dialect="native",outcome="partial"} 1"#,
        r#"plaudit_intake_requests_total{dialect="native",outcome="invalid"} 1"#,
        r#"plaudit_intake_requests_total{dialect="portkey",outcome="rejected"} 1"#,
        r#"plaudit_intake_events_total{dialect="native",outcome="accepted"} 1"#,
        r#"plaudit_intake_events_total{dialect="native",outcome="rejected"} 1"#,
        r#"plaudit_intake_rejected_total{dialect="portkey",code="missing_field"} 1"#,
        "plaudit_intake_ack_seconds_count 1",
    ] {
        assert!(shown().contains(line), "{line} is not in\n{}", shown());
    }
}
