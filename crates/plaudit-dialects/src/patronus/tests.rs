use http::{HeaderName, HeaderValue};
use plaudit_event::{Micros, codec};
use proptest::collection::vec;
use proptest::sample::select;

use super::*;
use crate::fixtures::World;

type Parse = for<'a> fn(&Call<'a>, &'a [u8]) -> Result<Parsed, Refusal>;

/// What each body is read by.
const PARSERS: [Parse; 3] = [
    feedback::give,
    annotation::annotate,
    evaluation_feedback::submit,
];

fn read(parse: Parse, body: &[u8]) -> Result<Parsed, Refusal> {
    let world = World::new("p");
    let call = Call {
        path: &[("id", "17")],
        ..world.call(Micros(1_767_323_045_000_000))
    };
    parse(&call, body)
}

#[test]
fn p8_answers_and_events_are_as_recorded() {
    crate::fixtures::check(&VENDOR);
}

#[test]
fn a_request_is_patronuss_by_client_body_or_parameters() {
    let recognised = |header: &'static str, query: &str, body: &str| {
        let name = HeaderName::from_static(header);
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("0"))]);
        recognises(&Hints {
            headers: &headers,
            query,
            body: body.as_bytes(),
        })
    };
    assert!(recognised("x-stainless-retry-count", "", ""));
    assert!(recognised("x-a", "", r#"{"feedback_positive":true}"#));
    for query in [
        "evaluation_run_id=1",
        "evaluator_id=e",
        "profile_name=p",
        "limit=1&offset=2",
    ] {
        assert!(recognised("x-a", query, ""), "{query}");
    }
    assert!(!recognised("x-a", "", ""));
    assert!(!recognised("x-a", "limit=5&trace_id=offset", ""));
    assert!(!recognised("x-a", "offset=1", r#"{"trace_id":"t"}"#));
}

#[test]
fn p3_p4_one_opinion_a_result_is_said_again_and_taken_back() {
    let ids: Vec<_> = [
        read(evaluation_feedback::submit, br#"{"feedback":"positive"}"#),
        read(evaluation_feedback::submit, br#"{"feedback":"negative"}"#),
        read(evaluation_feedback::delete, b""),
    ]
    .into_iter()
    .map(|parsed| parsed.unwrap().batch.ids().next().unwrap())
    .collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);
    // Its id is no integer, so it cannot be deleted for good.
    assert_eq!(id::integer(ids[0]), None);
}

#[test]
fn p7_no_fault_repeats_what_was_sent() {
    for body in [
        r#""SECRET""#,
        r#"{"SECRET""#,
        r#"{"feedback_positive":"SECRET"}"#,
        r#"{"feedback_positive":true,"evaluation_result_id":["SECRET"]}"#,
        r#"{"feedback_positive":true,"evaluation_result_id":"SECRET","evaluator_id":"SECRET"}"#,
        r#"{"annotation_criteria_id":"SECRET","value_text":"SECRET"}"#,
        r#"{"annotation_criteria_id":"SECRET","value_score":"SECRET"}"#,
        r#"{"feedback":"SECRET"}"#,
    ] {
        for parse in PARSERS {
            let refusal = read(parse, body.as_bytes()).unwrap_err();
            assert!(!refusal.to_string().contains("SECRET"), "{refusal}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result(body: Vec<u8>) {
        for parse in PARSERS {
            if let Ok(parsed) = read(parse, &body) {
                proptest::prop_assert_eq!(parsed.batch.len(), 1);
            }
        }
    }

    #[test]
    fn any_json_of_the_right_names_gives_a_result(
        fields in vec((
            select(&["feedback_positive", "evaluation_result_id", "evaluation_run_id",
                "evaluator_id", "evaluation_run_candidate_input_id", "profile_name", "feedback",
                "annotation_criteria_id", "log_id", "explanation", "value_pass", "value_score",
                "value_text", "foo"][..]),
            select(&["null", "1", "1e999", "\"positive\"", "\"12\"", "true", "{}", "[1]", "\"\"",
                "\"\\ud800\""][..]),
        ), 0..8)
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        let body = format!("{{{}}}", fields.join(","));
        for parse in PARSERS {
            match read(parse, body.as_bytes()) {
                Ok(parsed) => {
                    let record = parsed.batch.records().next().unwrap();
                    proptest::prop_assert!(codec::decode(record.value, || None).is_ok());
                }
                Err(Refusal::Answered(answer)) => {
                    proptest::prop_assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
                }
                Err(other) => proptest::prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn any_query_gives_a_result(query: String) {
        let world = World::new("p");
        let call = Call {
            query: &query,
            ..world.call(Micros(0))
        };
        if let Ok(search) = list::ask(&call) {
            proptest::prop_assert_eq!(search.dialect, Some(Dialect::Patronus));
        }
    }

    #[test]
    fn any_integer_and_its_id_give_each_other(integer in 1..=i64::MAX) {
        let id = id::named(integer).unwrap();
        proptest::prop_assert_eq!(id::integer(id), Some(integer));
    }
}
