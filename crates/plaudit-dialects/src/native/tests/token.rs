//! Tokens and metrics.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use plaudit_event::{Micros, Operation, Registry, UnknownMetrics, ValueType, codec};

use crate::fixtures::World;
use crate::native::{metrics, redeem, token};
use crate::{Answer, Call, Delivery, Fates, Parsed, Refusal, Refused};

const NOW: Micros = Micros(1_767_323_045_000_000);

const METRICS: &str = "[metrics.version]\ntype = \"categorical\"\ncategories = [\"1\", \"2\"]";

fn world(project: &str) -> World {
    let registry = Registry::from_toml(METRICS, UnknownMetrics::Accept).unwrap();
    World::with_registry(project, registry)
}

fn minted(project: &str, body: &str) -> String {
    let world = world(project);
    let answer = token::mint(&world.call(NOW), body.as_bytes()).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    shown["token"].as_str().unwrap().to_owned()
}

fn used(token: &str, form: bool, now: Micros, body: &[u8]) -> Result<Parsed, Refusal> {
    let world = world("");
    let path = [("id", token)];
    let call = world.call(now);
    let mut headers = call.headers.clone();
    if form {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=UTF-8");
        headers.insert(CONTENT_TYPE, form);
    }
    let call = Call {
        path: &path,
        headers: &headers,
        ..call
    };
    redeem::parse(&call, body)
}

fn answered(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Answered(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn p7_a_token_says_whose_it_is_and_until_when() {
    let token = minted("owner", r#"{"trace_id":"t","metric":"m","expires_in":60}"#);
    let parsed = used(&token, false, NOW, br#"{"value":true}"#).unwrap();
    assert_eq!(&*parsed.batch.project, "owner");
    let late = Micros(NOW.0 + 60_000_000);
    let refused = answered(used(&token, false, late, br#"{"value":true}"#).unwrap_err());
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn p3_p4_saying_it_again_is_a_later_version_of_the_same_feedback() {
    let token = minted("p", r#"{"trace_id":"t","metric":"m"}"#);
    let said = |now, body: &[u8]| {
        let parsed = used(&token, false, now, body).unwrap();
        let record = parsed.batch.records().next().unwrap();
        let event = codec::decode(record.value, || None).unwrap();
        (event.id(), event.version_time)
    };
    let (first, then) = (said(NOW, br#"{"value":1}"#), Micros(NOW.0 + 1));
    assert_eq!(said(then, br#"{"value":2}"#), (first.0, then));
}

#[test]
fn a_form_says_words_where_the_metric_has_words() {
    let kind = |metric: &str| {
        let token = minted("p", &format!(r#"{{"trace_id":"t","metric":"{metric}"}}"#));
        let parsed = used(&token, true, NOW, b"value=1&comment=").unwrap();
        let record = parsed.batch.records().next().unwrap();
        match codec::decode(record.value, || None).unwrap().operation {
            Operation::Put(feedback) => feedback.value.unwrap().kind(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(kind("version"), ValueType::Text);
    assert_eq!(kind("undeclared"), ValueType::Int);
}

#[test]
fn p1_nobody_is_thanked_for_what_is_not_kept() {
    let token = minted("p", r#"{"trace_id":"t","metric":"m"}"#);
    for form in [false, true] {
        let body: &[u8] = if form { b"value=1" } else { br#"{"value":1}"# };
        let parsed = used(&token, form, NOW, body).unwrap();
        for (delivery, status) in [
            (Delivery::Unconfirmed, StatusCode::SERVICE_UNAVAILABLE),
            (
                Delivery::Refused(Refused::TooLarge),
                StatusCode::BAD_REQUEST,
            ),
            (
                Delivery::Refused(Refused::Unstorable),
                StatusCode::BAD_REQUEST,
            ),
        ] {
            let fates = Fates {
                deliveries: &[delivery],
                states: &[],
                request_id: "r",
            };
            let answer = redeem::answer(&parsed, &fates);
            assert_eq!(answer.status, status);
            assert!(!answer.body.contains("Thank you"));
        }
    }
}

#[test]
fn without_a_secret_no_token_is_given_out_or_known() {
    let world = world("p");
    let call = Call {
        tokens: None,
        path: &[("id", "x.y")],
        ..world.call(NOW)
    };
    let refused = [
        token::mint(&call, br#"{"trace_id":"t","metric":"m"}"#).map(drop),
        redeem::ask(&call, b"").map(drop),
        redeem::parse(&call, b"{}").map(drop),
    ];
    for refusal in refused {
        let answer = answered(refusal.unwrap_err());
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result(body: Vec<u8>, form: bool) {
        let token = minted("p", r#"{"trace_id":"t","metric":"m"}"#);
        if let Ok(parsed) = used(&token, form, NOW, &body) {
            proptest::prop_assert_eq!(parsed.batch.len(), 1);
        }
        let text = String::from_utf8_lossy(&body);
        let none = used(&text, form, NOW, b"{}");
        proptest::prop_assert!(none.is_err());
        let world = world("p");
        let path = [("metric", &*text)];
        let call = Call { path: &path, ..world.call(NOW) };
        for parsed in [metrics::put(&call, &body), metrics::delete(&call, &body)].into_iter().flatten() {
            proptest::prop_assert!(parsed.batch.is_empty());
        }
        proptest::prop_assert!(token::mint(&call, &body).is_err());
    }

    #[test]
    fn any_json_of_the_right_names_gives_a_result(
        fields in proptest::collection::vec((
            proptest::sample::select(&["value", "score", "comment", "trace_id", "metric", "rater",
                "expires_in", "expires_at", "one_per_rater", "type", "min", "max", "categories",
                "optimize", "level", "enforced", "id", "target"][..]),
            proptest::sample::select(&["null", "1", "-1", "1e999", "\"t\"", "true", "[\"a\"]",
                "\"float\"", "\"max\"", "\"2030-01-01T00:00:00Z\"", "{\"kind\":\"run\",\"id\":\"r\"}"][..]),
        ), 0..8)
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        let body = format!("{{{}}}", fields.join(","));
        let world = world("p");
        let call = Call { path: &[("metric", "m")], ..world.call(NOW) };
        if let Ok(answer) = token::mint(&call, body.as_bytes()) {
            let shown: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            let token = shown["token"].as_str().unwrap();
            // What is given out can be used.
            let used = used(token, false, NOW, br#"{"comment":"c"}"#);
            proptest::prop_assert!(used.is_ok());
        }
        if let Ok(parsed) = metrics::put(&call, body.as_bytes()) {
            let declared = parsed.declarations.first().and_then(|new| new.declared.as_ref());
            proptest::prop_assert_eq!(declared.and_then(plaudit_event::Metric::problem), None);
        }
    }
}
