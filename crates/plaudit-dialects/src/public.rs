//! What a browser needs of an endpoint that anyone may use: leave to read its
//! answer, and values that come as plain text.

use http::StatusCode;
use plaudit_event::{Json, Value};

use crate::Answer;

/// Any page may read the answer. Nothing here goes by a cookie or by who asks.
pub(crate) const OPEN: &[(&str, &str)] = &[("access-control-allow-origin", "*")];

const PREFLIGHT: &[(&str, &str)] = &[
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST"),
    (
        "access-control-allow-headers",
        "authorization, content-type, idempotency-key, x-api-key",
    ),
    ("access-control-max-age", "86400"),
];

/// The answer to the question whether a page may send a request.
pub(crate) fn preflight() -> Answer {
    Answer {
        fixed_headers: PREFLIGHT,
        ..Answer::new(StatusCode::NO_CONTENT, String::new())
    }
}

/// The value that a parameter or a form's field is: `true`, `false` and numbers as
/// such, anything else as text.
pub(crate) fn value(text: &str) -> Option<Value<'static>> {
    let scalar = matches!(
        text.as_bytes(),
        b"true" | b"false" | [b'-' | b'0'..=b'9', ..]
    );
    let json = Json::parse(text).ok().filter(|_| scalar);
    match json {
        Some(json) => Value::from_json(json.into_owned()),
        None => Value::of(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_a_boolean_a_number_or_text() {
        for (text, json) in [
            ("true", "true"),
            ("-1.50", "-1.50"),
            ("5", "5"),
            ("True", r#""True""#),
            ("5 stars", r#""5 stars""#),
            ("05", r#""05""#),
            ("null", r#""null""#),
            ("[1]", r#""[1]""#),
            ("\"a\"", r#""\"a\"""#),
            ("", r#""""#),
        ] {
            assert_eq!(value(text).unwrap().json(), json, "{text}");
        }
    }
}
