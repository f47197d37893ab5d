//! What is refused, how it is said, and that nothing of it is repeated.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use plaudit_event::UnknownMetrics;
use plaudit_intake::{IntakeConfig, LimitsConfig, MetricsConfig};
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value, json};
use support::{Answer, Options, Stack, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Stands for what somebody would not like to see in a log (P7).
const SECRET: &str = "hunter2-s3cr3t";

fn small_limits() -> Options {
    Options {
        intake: IntakeConfig {
            limits: LimitsConfig {
                body_bytes: 200_000,
                decompressed_bytes: 300_000,
                events_per_request: 50,
                body_timeout: Duration::from_millis(300),
                ..LimitsConfig::default()
            },
            ..IntakeConfig::default()
        },
        ..Options::default()
    }
}

/// Sends one item that must be refused, and nothing of it repeated.
async fn rejected(stack: &Stack, item: &Value) -> Result<(String, Value)> {
    let answer = stack.api.post("/v1/feedback", item).await?;
    assert_eq!(answer.status, 400, "{item}: {}", answer.text);
    assert!(!answer.text.contains(SECRET), "{}", answer.text);
    assert_eq!(
        (answer.at("/accepted"), answer.at("/rejected")),
        (&json!(0), &json!(1)),
        "{}",
        answer.text
    );
    let error = answer.at("/items/0/error");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{}",
        answer.text
    );
    Ok((
        error["code"].as_str().unwrap_or_default().to_owned(),
        error["field"].clone(),
    ))
}

/// Expects a request to be refused as a whole.
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.at("/error/code"), code, "{}", answer.text);
    assert!(answer.at("/error/message").is_string() && answer.at("/error/request_id").is_string());
    assert!(
        answer.json["error"]
            .as_object()
            .is_some_and(|error| error.contains_key("field"))
    );
    assert!(!answer.text.contains(SECRET), "{}", answer.text);
}

#[test]
fn p7_a_bad_item_is_told_its_field_and_never_its_content() -> Result<()> {
    run(small_limits(), async |stack| {
        let deep = (0..100).fold(json!({}), |inner, _| json!({ "a": inner }));
        let good = json!({"trace_id": "t", "metric": "m", "value": SECRET});
        let with = |field: &str, content: Value| {
            let mut item = good.clone();
            item[field] = content;
            item
        };
        let without = |field: &str| {
            let mut item = good.clone();
            item.as_object_mut().unwrap().remove(field);
            item
        };
        let cases = [
            (with("trace_id", json!(5)), "wrong_type", "trace_id"),
            (with("trace_id", json!("")), "missing_field", "trace_id"),
            (
                with("trace_id", json!(SECRET.repeat(1000))),
                "too_long",
                "trace_id",
            ),
            (without("trace_id"), "missing_field", "trace_id"),
            (without("metric"), "missing_field", "metric"),
            (without("value"), "missing_field", "value"),
            (with("id", json!(SECRET)), "wrong_type", "id"),
            (with("weight", json!(1.5)), "out_of_range", "weight"),
            (with("weight", json!(SECRET)), "wrong_type", "weight"),
            (with("score", json!(SECRET)), "wrong_type", "score"),
            (
                with("comment", json!(SECRET.repeat(10_000))),
                "too_long",
                "comment",
            ),
            (with("metadata", deep), "too_deep", "metadata"),
            (with("metadata", json!(SECRET)), "wrong_type", "metadata"),
            (with("tags", json!({"k": 1})), "wrong_type", "tags"),
            (
                with("created_at", json!(SECRET)),
                "wrong_type",
                "created_at",
            ),
            (
                with("target", json!({"kind": SECRET, "id": "x"})),
                "out_of_range",
                "target.kind",
            ),
            (
                with("operation", json!(SECRET)),
                "out_of_range",
                "operation",
            ),
            (with("nonsense", json!(SECRET)), "unknown_field", "nonsense"),
            (with("project", json!(SECRET)), "unknown_field", "project"),
            (
                with("received_at", json!(SECRET)),
                "unknown_field",
                "received_at",
            ),
            (with("dialect", json!("native")), "unknown_field", "dialect"),
            (
                json!({"operation": "patch", "comment": SECRET}),
                "missing_field",
                "id",
            ),
            (
                json!({"operation": "retract", "id": uuid::Uuid::nil(), "comment": SECRET}),
                "unknown_field",
                "comment",
            ),
        ];
        for (item, code, field) in cases {
            let (found, at) = rejected(stack, &item).await?;
            let shown: String = item.to_string().chars().take(100).collect();
            assert_eq!((found.as_str(), &at), (code, &json!(field)), "{shown}");
        }
        let (code, field) = rejected(stack, &json!([5])).await?;
        assert_eq!((code.as_str(), field), ("wrong_type", Value::Null));
        assert!(!stack.log.text().contains(SECRET), "in the log");
        Ok(())
    })
}

#[test]
fn a_value_that_breaks_its_metric_is_refused_until_the_registry_allows_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("metrics.toml");
    std::fs::write(
        &file,
        "[metrics.stars]\ntype = \"integer\"\nmin = 1\nmax = 5\n",
    )?;
    let options = Options {
        metrics: MetricsConfig {
            unknown: UnknownMetrics::Reject,
            file: Some(file.clone()),
        },
        expected_errors: &["the declared metrics stay as they were"],
        ..Options::default()
    };
    run(options, async |stack| {
        let stars = |value: Value| json!({"trace_id": "t", "metric": "stars", "value": value});
        let code = async |item: Value| rejected(stack, &item).await;
        assert_eq!(
            code(stars(json!(6))).await?,
            ("out_of_range".to_owned(), json!("value"))
        );
        assert_eq!(
            code(stars(json!("five"))).await?,
            ("wrong_type".to_owned(), json!("value"))
        );
        let other = json!({"trace_id": "t", "metric": "other", "value": 1});
        assert_eq!(
            code(other).await?,
            ("unknown_metric".to_owned(), json!("metric"))
        );

        std::fs::write(&file, "[metrics.stars]\ntype = \"star\"\n")?;
        stack.reload().await?;
        assert_eq!(
            code(stars(json!(6))).await?.0,
            "out_of_range",
            "a broken file changes nothing"
        );
        std::fs::write(&file, "[metrics.stars]\ntype = \"integer\"\nmax = 10\n")?;
        stack.reload().await?;
        assert_eq!(
            stack.api.feedback(&stars(json!(6))).await?.states(),
            ["visible"]
        );
        Ok(())
    })
}

#[test]
fn a_request_that_is_none_is_refused_as_a_whole() -> Result<()> {
    run(small_limits(), async |stack| {
        let api = &stack.api;
        let json_type = "application/json";
        let post = async |body: &str| api.post_text("/v1/feedback", json_type, body).await;
        for body in [
            "",
            "{",
            &format!("{{\"trace_id\": {SECRET}}}"),
            "[{\"trace_id\":\"t\"},",
            "\u{feff}[",
        ] {
            refused(&post(body).await?, 400, "invalid_json");
        }
        let lines =
            format!("{{\"trace_id\":\"t\",\"metric\":\"m\",\"value\":1}}\n{{\"a\": {SECRET}\n");
        refused(
            &api.post_text("/v1/feedback", "application/x-ndjson", &lines)
                .await?,
            400,
            "invalid_json",
        );
        refused(
            &api.post_text("/v1/feedback", "text/csv", SECRET).await?,
            415,
            "unsupported_media_type",
        );
        refused(&post(&SECRET.repeat(20_000)).await?, 413, "body_too_large");
        let many = vec![json!({"trace_id": "t", "metric": "m", "value": 1}); 51];
        refused(
            &api.post("/v1/feedback", &Value::from(many)).await?,
            413,
            "too_many_events",
        );
        refused(&api.get("/v2/nothing").await?, 404, "not_found");
        refused(
            &api.send(api.request(Method::DELETE, "/v1/feedback"))
                .await?,
            405,
            "method_not_allowed",
        );

        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&vec![b' '; 1_000_000])?;
        let gzip = |body: Vec<u8>| {
            let request = api
                .request(Method::POST, "/v1/feedback")
                .header(CONTENT_TYPE, json_type);
            request.header(CONTENT_ENCODING, "gzip").body(body)
        };
        refused(
            &api.send(gzip(packed.finish()?)).await?,
            413,
            "body_too_large",
        );
        refused(&api.send(gzip(SECRET.into())).await?, 400, "invalid_json");
        let unknown = api
            .request(Method::POST, "/v1/feedback")
            .header(CONTENT_TYPE, json_type);
        let unknown = unknown.header(CONTENT_ENCODING, "snappy").body(SECRET);
        refused(&api.send(unknown).await?, 415, "unsupported_media_type");

        assert_eq!(stack.db.current().await?, Vec::<Value>::new());
        assert!(!stack.log.text().contains(SECRET), "in the log");
        Ok(())
    })
}

#[test]
fn p5_a_body_that_does_not_arrive_is_given_up() -> Result<()> {
    run(small_limits(), async |stack| {
        let address = stack.api.base().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await?;
        let head = "POST /v1/feedback HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                    content-length: 100\r\n\r\n{\"trace_id\":";
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        tokio::time::timeout(support::DEADLINE, stream.read_to_end(&mut answer)).await??;
        let answer = String::from_utf8(answer)?;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("body_timeout"), "{answer}");
        Ok(())
    })
}

#[test]
fn p8_portkeys_client_is_refused_in_portkeys_shape() -> Result<()> {
    run(small_limits(), async |stack| {
        let post = async |body: Value| stack.api.post("/portkey/v1/feedback", &body).await;
        for (body, field) in [
            (json!({"trace_id": "t", "value": 11}), "value"),
            (json!({"value": 1}), "trace_id"),
            (json!({"trace_id": SECRET}), "value"),
            (json!({"trace_id": "t", "value": 1, "weight": 2}), "weight"),
            (
                json!([{"trace_id": "t", "value": 1}, {"trace_id": "t", "value": SECRET}]),
                "[1].value",
            ),
        ] {
            let answer = post(body.clone()).await?;
            assert_eq!(answer.status, 400, "{body}: {}", answer.text);
            assert_eq!(answer.at("/status"), "failure");
            let message = answer.at("/error/message").as_str().unwrap_or_default();
            assert!(message.contains(field), "{field}: {}", answer.text);
            assert!(!answer.text.contains(SECRET), "{}", answer.text);
        }
        assert_eq!(
            stack.db.current().await?,
            Vec::<Value>::new(),
            "a batch is taken whole or not at all"
        );
        Ok(())
    })
}
