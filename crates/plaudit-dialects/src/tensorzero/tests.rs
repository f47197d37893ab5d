use http::HeaderValue;
use plaudit_event::{Micros, Registry, UnknownMetrics, codec};
use proptest::collection::vec;
use proptest::sample::select;

use super::*;
use crate::Hints;
use crate::fixtures::World;

const ID: &str = "0196c682-72e0-7c83-a92b-9d1a3c7630f2";

fn read_with(registry: Registry, body: &[u8]) -> Result<Parsed, Refusal> {
    let world = World::with_registry("p", registry);
    parse(&world.call(Micros(1_767_323_045_000_000)), body)
}

fn read(body: &str) -> Result<Parsed, Refusal> {
    read_with(Registry::default(), body.as_bytes())
}

fn denied(body: &str) -> Answer {
    match read(body) {
        Err(Refusal::Answered(answer)) => *answer,
        other => panic!("{body} gives {other:?}"),
    }
}

#[test]
fn p8_answers_and_events_are_as_recorded() {
    crate::fixtures::check(&VENDOR);
}

#[test]
fn a_dry_run_is_checked_and_keeps_nothing() {
    let body = |metric: &str, value: &str| {
        format!(
            r#"{{"inference_id":"{ID}","metric_name":"{metric}","value":{value},"dryrun":true}}"#
        )
    };
    let fates = Fates {
        deliveries: &[],
        states: &[],
        request_id: "r",
    };
    let tried = || {
        let parsed = read(&body("m", "1")).unwrap();
        assert!(parsed.batch.is_empty());
        answer(&parsed, &fates).body
    };
    let (first, second) = (tried(), tried());
    assert_ne!(first, second);
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    let id = first["feedback_id"].as_str().unwrap();
    assert_eq!(Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert_eq!(
        denied(&body("comment", "1")).status,
        StatusCode::BAD_REQUEST
    );
}

#[test]
fn who_is_not_let_in_is_told_what_is_wrong_with_the_header() {
    let told = |value: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.extend(value.map(|value| (AUTHORIZATION, HeaderValue::from_static(value))));
        fault(&Fault {
            status: StatusCode::UNAUTHORIZED,
            field: None,
            message: "who is this",
            headers: &headers,
            route: None,
        })
    };
    let text = "TensorZero authentication error: Error performing authentication: ";
    for (header, fault) in [
        (None, "Authorization header is required"),
        (
            Some("Basic SECRET"),
            "Authorization header must start with 'Bearer '",
        ),
        (
            Some("Bearer SECRET"),
            "Provided API key does not exist in the database",
        ),
    ] {
        assert_eq!(told(header), error(&format!("{text}{fault}")));
    }
}

#[test]
fn what_nobody_serves_is_named() {
    let fault = fault(&Fault {
        status: StatusCode::NOT_FOUND,
        field: None,
        message: "nothing is here",
        headers: &HeaderMap::new(),
        route: Some((&Method::POST, "/tensorzero/inference")),
    });
    assert_eq!(fault, error("Route not found: POST /tensorzero/inference"));
}

#[test]
fn a_request_is_tensorzeros_by_its_client_or_the_names_of_its_fields() {
    let recognised = |body: &str| {
        recognises(&Hints {
            headers: &HeaderMap::new(),
            query: "",
            body: body.as_bytes(),
        })
    };
    assert!(recognises(&Hints {
        headers: &HeaderMap::from_iter([(
            http::header::USER_AGENT,
            HeaderValue::from_static("TensorZero/2026.6.0"),
        )]),
        query: "",
        body: b"",
    }));
    assert!(recognised(r#"{"metric_name":"m"}"#));
    assert!(recognised(r#"{"episode_id":null,"value":1}"#));
    assert!(!recognised(
        r#"{"key":"metric_name","extra":{"metric_name":1}}"#
    ));
    assert!(!recognised(""));
}

#[test]
fn the_reserved_names_are_not_the_registrys() {
    let registry = |unknown| {
        let text = "[metrics.comment]\ntype = \"boolean\"\nlevel = \"episode\"";
        Registry::from_toml(text, unknown).unwrap()
    };
    for (metric, unknown) in [
        ("comment", UnknownMetrics::Accept),
        ("demonstration", UnknownMetrics::Reject),
    ] {
        let body = format!(r#"{{"inference_id":"{ID}","metric_name":"{metric}","value":"x"}}"#);
        assert!(read_with(registry(unknown), body.as_bytes()).is_ok());
    }
}

#[test]
fn a_metric_that_is_not_enforced_takes_any_value() {
    let text = "[metrics.m]\ntype = \"boolean\"\nenforced = false";
    let body = |value| format!(r#"{{"inference_id":"{ID}","metric_name":"m","value":{value}}}"#);
    let read = |value| {
        let registry = Registry::from_toml(text, UnknownMetrics::Reject).unwrap();
        read_with(registry, body(value).as_bytes())
    };
    assert!(read("\"x\"").is_ok());
    assert!(read("null").is_err());
}

#[test]
fn p7_no_answer_repeats_a_value() {
    for body in [
        r#""SECRET""#,
        r#"["SECRET"]"#,
        r#"{"internal":"SECRET"}"#,
        r#"{"dryrun":"SECRET"}"#,
        r#"{"tags":"SECRET"}"#,
        r#"{"tags":{"a":["SECRET"]}}"#,
        r#"{"metric_name":["SECRET"]}"#,
        r#"{"inference_id":{"a":"SECRET"}}"#,
        r#"{"foo":"SECRET"}"#,
        r#"{"value":{"SECRET":nul}}"#,
        r#"{"value":["SECRET",]}"#,
        r#"{"metric_name":"stars","value":"SECRET"}"#,
        r#"{"metric_name":"comment","value":["SECRET"]}"#,
        r#"{"metric_name":"demonstration","value":[{"type":"SECRET"}]}"#,
        r#"{"metric_name":"demonstration","value":[{"type":"text","text":["SECRET"]}]}"#,
    ] {
        let with_id = body.replace("\"value\"", &format!("\"inference_id\":\"{ID}\",\"value\""));
        for body in [body, &with_id] {
            if let Err(Refusal::Answered(answer)) = read(body) {
                assert!(!answer.body.contains("SECRET"), "{}", answer.body);
            }
        }
    }
}

#[test]
fn a_long_name_is_cut() {
    let answer = denied(&format!(r#"{{"{}":1}}"#, "é".repeat(1000)));
    assert!(answer.body.chars().filter(|char| *char == 'é').count() == 512);
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result(body: Vec<u8>) {
        match read_with(Registry::default(), &body) {
            Ok(parsed) => proptest::prop_assert!(parsed.batch.len() <= 1),
            Err(refusal) => {
                proptest::prop_assert!(matches!(refusal, Refusal::Answered(_)), "{refusal:?}");
            }
        }
    }

    #[test]
    fn any_json_of_the_right_names_gives_a_result(
        fields in vec((
            select(&["episode_id", "inference_id", "metric_name", "metric_name", "value", "value",
                "internal", "tags", "dryrun", "foo"][..]),
            select(&["null", "1", "1e999", "\"comment\"", "\"demonstration\"", "\"m\"", "true",
                "\"0196c682-72e0-7c83-a92b-9d1a3c7630f2\"", "{}", "{\"a\":\"b\"}", "[1]",
                "[{\"type\":\"tool_call\"}]", "\"\\ud800\""][..]),
        ), 0..8)
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        match read(&format!("{{{}}}", fields.join(","))) {
            Ok(parsed) => {
                for record in parsed.batch.records() {
                    proptest::prop_assert!(codec::decode(record.value, || None).is_ok());
                }
            }
            Err(Refusal::Answered(answer)) => proptest::prop_assert!(answer.status.is_client_error()),
            Err(other) => proptest::prop_assert!(false, "{other:?}"),
        }
    }
}
