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
