use super::*;
use crate::Hints;

#[test]
fn p8_answers_and_events_are_as_recorded() {
    crate::fixtures::check(&VENDOR);
}

#[test]
fn a_request_is_portkeys_by_any_of_its_headers() {
    let recognised = |name: &'static str| {
        let name = HeaderName::from_static(name);
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(""))]);
        (VENDOR.recognises)(&Hints {
            headers: &headers,
            query: "",
            body: b"",
        })
    };
    assert!(recognised("x-portkey-api-key"));
    assert!(recognised("x-portkey-virtual-key"));
    assert!(!recognised("x-api-key"));
}

#[test]
fn values_are_integers_from_minus_ten_to_ten() {
    let read = |number| value(Some(number)).map(|value| value.json().to_owned());
    assert_eq!(read(-10.0).unwrap(), "-10");
    assert_eq!(read(-0.0).unwrap(), "0");
    assert_eq!(read(10.0).unwrap(), "10");
    for (number, code) in [
        (10.5, ItemCode::WrongType),
        (-11.0, ItemCode::OutOfRange),
        (f64::INFINITY, ItemCode::OutOfRange),
    ] {
        assert_eq!(read(number).unwrap_err().code, code);
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result(body: Vec<u8>) {
        survives(&body);
    }

    #[test]
    fn any_json_of_the_right_names_gives_a_result(
        fields in proptest::collection::vec((
            proptest::sample::select(&["trace_id", "traceID", "value", "weight", "metadata",
                "feedback_id", "0", "1", "provider_api_keys", "x"][..]),
            proptest::sample::select(&["null", "1", "-1.5e3", "1e999", "\"t\"", "true", "{}", "[1]",
                "{\"_user\":\"u\",\"a\":1}", "\"{\\\"a\\\":\\\"b\\\"}\"", "\"\\ud800\"",
                "{\"traceID\":\"t\",\"value\":1}"][..]),
        ), 0..8),
    ) {
        let fields: Vec<_> =
            fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        let body = format!("{{{}}}", fields.join(","));
        survives(body.as_bytes());
        survives(format!("[{body},{body}]").as_bytes());
    }
}

/// Every endpoint gives a result, and keeps no secret.
fn survives(body: &[u8]) {
    let world = crate::fixtures::World::new("p");
    let call = world.call(plaudit_event::Micros(1_767_323_045_000_000));
    for parse in [create, update] {
        if let Ok(parsed) = parse(&call, body) {
            for record in parsed.batch.records() {
                let text = std::str::from_utf8(record.value).unwrap();
                assert!(!text.contains("\"provider_api_keys\""), "{text}");
            }
        }
    }
}
