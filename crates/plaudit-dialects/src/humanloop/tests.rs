use plaudit_event::{Event, Micros, Operation, codec};
use proptest::collection::vec;
use proptest::sample::select;
use uuid::Uuid;

use super::*;
use crate::fixtures::World;

const FATES: Fates<'_> = Fates {
    deliveries: &[],
    states: &[],
    request_id: "r",
};

fn read(body: &[u8]) -> Result<Parsed, Refusal> {
    let world = World::new("p");
    parse(&world.call(Micros(1_767_323_045_000_000)), body)
}

/// The ids that `bodies` come to.
fn ids<const N: usize>(bodies: [&str; N]) -> [Uuid; N] {
    bodies.map(|body| {
        let parsed = read(body.as_bytes()).unwrap();
        parsed.batch.ids().next().unwrap()
    })
}

#[test]
fn p8_answers_and_events_are_as_recorded() {
    crate::fixtures::check(&VENDOR);
}

#[test]
fn p3_a_user_has_one_rating_and_one_of_each_issue() {
    let [good, bad, unset, others, elsewhere] = ids([
        r#"{"type":"rating","value":"good","data_id":"d","user":"u"}"#,
        r#"{"group":"rating","label":"bad","log_id":"d","user":"u"}"#,
        r#"{"type":"rating","data_id":"d","user":"u","unset":true}"#,
        r#"{"type":"rating","value":"good","data_id":"d"}"#,
        r#"{"type":"rating","value":"good","data_id":"e","user":"u"}"#,
    ]);
    assert_eq!((good, good), (bad, unset));
    assert_ne!(good, others);
    assert_ne!(good, elsewhere);

    let [rude, rude_again, long, list, list_again, number, word] = ids([
        r#"{"type":"issue","value":"rude","data_id":"d"}"#,
        r#"{"type":"issue","value":"\u0072ude","data_id":"d","unset":true}"#,
        r#"{"type":"issue","value":"long","data_id":"d"}"#,
        r#"{"type":"issue","value":["a", "b"],"data_id":"d"}"#,
        r#"{"type":"issue","value":["a","b"],"data_id":"d","user":""}"#,
        r#"{"type":"issue","value":1,"data_id":"d"}"#,
        r#"{"type":"issue","value":"1","data_id":"d"}"#,
    ]);
    assert_eq!((rude, list), (rude_again, list_again));
    assert_ne!(rude, long);
    assert_ne!(number, word);
}

#[test]
fn p4_unset_withdraws_and_a_later_call_reopens() {
    let body = br#"[{"type":"rating","value":"good","data_id":"d"},
        {"type":"rating","data_id":"d","unset":true},
        {"type":"rating","value":"bad","data_id":"d"}]"#;
    let parsed = read(body).unwrap();
    let events: Vec<Event<'_>> = parsed
        .batch
        .records()
        .map(|record| codec::decode(record.value, || None).unwrap())
        .collect();
    assert!(matches!(events[0].operation, Operation::Put(_)));
    assert!(matches!(events[1].operation, Operation::Withdraw(_)));
    assert!(matches!(events[2].operation, Operation::Put(_)));
    assert!(events.is_sorted_by_key(Event::row_version));
}

#[test]
fn p7_keys_of_model_providers_are_kept_nowhere() {
    let secret =
        r#""provider_api_keys":{"openai":"sk-SECRET"},"provider_api_k\u0065ys":"sk-SECRET""#;
    let good = format!(r#"{{"type":"rating","value":"good","data_id":"d",{secret}}}"#);
    for body in [
        good.clone(),
        format!("[{good},{good}]"),
        format!(r#"{{"type":"rating","data_id":"d",{secret}}}"#),
        format!(r#"{{"type":7,"data_id":"d",{secret}}}"#),
        format!("[{good},{{{secret}}}]"),
        format!("{good}{good}"),
        good.replace('}', ""),
    ] {
        match read(body.as_bytes()) {
            Ok(parsed) => {
                assert!(!parsed.batch.is_empty());
                for record in parsed.batch.records() {
                    let event = std::str::from_utf8(record.value).unwrap();
                    assert!(!event.contains("SECRET"), "{event}");
                }
                assert!(!parsed.note.contains("SECRET"), "{}", parsed.note);
                assert!(!answer(&parsed, &FATES).body.contains("SECRET"));
            }
            Err(refusal) => assert!(!refusal.to_string().contains("SECRET"), "{refusal}"),
        }
    }
}

#[test]
fn p7_no_fault_repeats_what_was_sent() {
    for body in [
        r#""SECRET""#,
        r#"{"type":"SECRET","value":"SECRET"}"#,
        r#"{"type":["SECRET"],"value":"SECRET"}"#,
        r#"{"type":"a","value":{"SECRET":1},"data_id":"SECRET"}"#,
        r#"{"type":"a","value":"SECRET","data_id":"SECRET","unset":"SECRET"}"#,
        r#"{"type":"a","value":"SECRET","data_id":"SECRET","created_at":"SECRET"}"#,
        r#"{"type":"a","group":"SECRET"}"#,
    ] {
        let refusal = read(body.as_bytes()).unwrap_err();
        assert!(!refusal.to_string().contains("SECRET"), "{refusal}");
    }
}

#[test]
fn a_request_is_humanloops_by_the_names_of_its_fields() {
    let recognised = |body: &str| {
        recognises(&Hints {
            headers: &http::HeaderMap::new(),
            query: "",
            body: body.as_bytes(),
        })
    };
    assert!(recognised(
        r#"{"group":"rating","label":"good","log_id":"l"}"#
    ));
    assert!(recognised(r#"[{"group":"rating","label":"good"}]"#));
    assert!(recognised(
        r#"{"type":"rating","value":"good","data_id":"d"}"#
    ));
    for body in [
        r#"{"key":"k","type":"x"}"#,
        r#"{"metric_name":"m","type":"x"}"#,
        r#"{"trace_id":"t","metric":"m","type":"x"}"#,
        r#"{"trace_id":"t","metadata":{"type":"x","group":"g"}}"#,
        "[]",
    ] {
        assert!(!recognised(body), "{body}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result(body: Vec<u8>) {
        if let Ok(parsed) = read(&body) {
            proptest::prop_assert!(parsed.batch.len() <= 100);
        }
    }

    #[test]
    fn any_json_of_the_right_names_gives_a_result(
        array: bool,
        fields in vec((
            select(&["type", "type", "group", "value", "label", "text", "data_id", "data_id",
                "log_id", "user", "source", "created_at", "unset", "provider_api_keys", "x"][..]),
            select(&["null", "1", "1e999", "\"rating\"", "\"correction\"", "\"good\"", "true",
                "{\"a\":\"sk-SECRET\"}", "[1]", "\"2024-05-05T01:02:03\"", "\"\\ud800\""][..]),
        ), 0..8)
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        let object = format!("{{{}}}", fields.join(","));
        let body = if array { format!("[{object}]") } else { object };
        match read(body.as_bytes()) {
            Ok(parsed) => {
                let record = parsed.batch.records().next().unwrap();
                proptest::prop_assert!(codec::decode(record.value, || None).is_ok());
                let shown: &RawValue = serde_json::from_str(&parsed.note).unwrap();
                proptest::prop_assert_eq!(raw::kind(shown) == Kind::Array, array);
            }
            Err(Refusal::Answered(answer)) => {
                proptest::prop_assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
            }
            Err(other) => proptest::prop_assert!(false, "{other:?}"),
        }
    }
}
