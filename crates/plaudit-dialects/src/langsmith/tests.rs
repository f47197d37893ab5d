use plaudit_event::{
    Declaration, Feedback, Json, Micros, Operation, Registries, Registry, UnknownMetrics, codec,
};
use serde_json::Value;

use super::*;
use crate::fixtures::World;
use crate::{Hints, Parsed, Stored, Token};

const NOW: Micros = Micros(1_767_323_045_000_000);
const ID: &str = "01a200d2-225c-734d-b959-07625b1b2e69";
const RUN: &str = "22222222-2222-2222-2222-222222222222";

fn with_call<T>(run: impl FnOnce(&Call<'_>) -> T) -> T {
    let world = World::new("p");
    run(&world.call(NOW))
}

fn one(body: &str) -> Result<Parsed, Refusal> {
    with_call(|call| take::one(call, body.as_bytes()))
}

fn answered(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Answered(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

/// The feedback that the one event of a request puts.
fn put(parsed: &Parsed) -> Feedback<'static> {
    let record = parsed.batch.records().next().expect("there is an event");
    match codec::decode(record.value, || None).unwrap().operation {
        Operation::Put(feedback) => feedback.into_owned(),
        other => panic!("{other:?}"),
    }
}

fn shown(feedback: Feedback<'_>) -> Value {
    serde_json::from_str(&shown_text(feedback)).unwrap()
}

fn shown_text(feedback: Feedback<'_>) -> String {
    let stored = Stored {
        feedback,
        received_at: NOW,
        modified_at: NOW,
    };
    list::show_one(&crate::Search::default(), &[stored]).body
}

#[test]
fn p8_answers_and_events_are_as_recorded() {
    crate::fixtures::check(&VENDOR);
}

#[test]
fn feedback_is_recognised_by_its_client_or_its_fields() {
    let recognised = |agent: &'static str, body: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::USER_AGENT,
            http::HeaderValue::from_static(agent),
        );
        (VENDOR.recognises)(&Hints {
            headers: &headers,
            query: "",
            body: body.as_bytes(),
        })
    };
    assert!(recognised("langsmith-py/0.15.0-httpx2", "[]"));
    assert!(recognised("curl", r#"{"trace_id":"t","key":"k"}"#));
    assert!(recognised("curl", r#"{"feedback_source":null}"#));
    assert!(!recognised(
        "curl",
        r#"{"metric_name":"m","inference_id":null}"#
    ));
    assert!(!recognised("curl", r#"{"type":"rating","data_id":"d"}"#));
}

#[test]
fn p8_value_and_score_are_read_back_as_they_were_sent() {
    let scores = ["null", "true", "false", "1", "0.25", "-3"];
    let values = [
        "null",
        "true",
        "1",
        "0.25",
        "\"good\"",
        "\"\"",
        "\"1\"",
        "{\"a\":[1]}",
    ];
    for score in scores {
        for value in values {
            let body = format!(r#"{{"run_id":"{RUN}","score":{score},"value":{value}}}"#);
            let shown = shown(put(&one(&body).unwrap()));
            let sent: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(shown["value"], sent["value"], "{body}");
            let number = |json: &Value| json.as_f64();
            assert_eq!(number(&shown["score"]), number(&sent["score"]), "{body}");
            assert_eq!(
                shown["score"].is_boolean(),
                sent["score"].is_boolean(),
                "{body}"
            );
        }
    }
}

#[test]
fn p8_a_changed_score_is_shown_whether_the_value_repeated_it_or_not() {
    let after = |sent: &str, change: &str| {
        let body = format!(r#"{{"id":"{ID}","run_id":"{RUN}",{sent}}}"#);
        let mut feedback = put(&one(&body).unwrap());
        let world = World::new("p");
        let path = [("id", ID)];
        let call = Call {
            path: &path,
            ..world.call(NOW)
        };
        let parsed = take::change(&call, change.as_bytes()).unwrap();
        let record = parsed.batch.records().next().unwrap();
        match codec::decode(record.value, || None).unwrap().operation {
            Operation::Patch { patch, .. } => patch.into_owned().apply(&mut feedback),
            other => panic!("{other:?}"),
        }
        let shown = shown(feedback);
        (shown["score"].clone(), shown["value"].clone())
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (sent, change, score, value) in [
        (r#""score":1"#, r#"{"score":false}"#, "false", "null"),
        (r#""score":true"#, r#"{"score":0.5}"#, "0.5", "null"),
        (r#""score":1"#, r#"{"score":null}"#, "null", "null"),
        (r#""comment":"c""#, r#"{"score":1}"#, "1", "null"),
        (
            r#""score":1,"value":"good""#,
            r#"{"score":0.5}"#,
            "0.5",
            r#""good""#,
        ),
        (r#""value":3"#, r#"{"score":0.5}"#, "0.5", "3"),
        (r#""score":1"#, r#"{"value":"good"}"#, "1.0", r#""good""#),
    ] {
        assert_eq!(
            after(sent, change),
            (json(score), json(value)),
            "{sent} {change}"
        );
    }
}

#[test]
fn p3_a_hundred_parts_are_a_hundred_events_with_their_own_ids_and_versions() {
    let parts: Vec<_> = (0..100)
        .map(|n| {
            format!(
                r#"{{"id":"01a200d2-225c-734d-b959-0762500000{n:02}","trace_id":"{RUN}","key":"k","score":{n},"modified_at":"2026-01-02T03:04:0{}.5"}}"#,
                n % 5
            )
        })
        .collect();
    let read = |body: String| with_call(|call| take::parts(call, body.as_bytes()).unwrap());
    let parsed = read(parts.join("\x1e"));
    assert_eq!((parsed.batch.len(), parsed.rejected.len()), (100, 0));
    // Said again, it is the same to the byte: one row.
    let again = read(parts.join(""));
    assert!(parsed.batch.records().eq(again.batch.records()));
}

#[test]
fn p7_no_answer_repeats_what_was_sent() {
    for fields in [
        r#""score":"SECRET""#,
        r#""run_id":"SECRET""#,
        r#""created_at":"SECRET""#,
        r#""feedback_source":"SECRET""#,
        r#""feedback_source":{"metadata":"SECRET"}"#,
        r#""comment":["SECRET"]"#,
        r#""id":"SECRET""#,
        r#""key":{"SECRET":1}"#,
    ] {
        let body = format!(r#"{{"trace_id":"{RUN}",{fields}}}"#);
        let answer = answered(one(&body).unwrap_err());
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!answer.body.contains("SECRET"), "{}", answer.body);
    }
    let body = format!(
        r#"{{"trace_id":"{RUN}","comment":"SECRET","value":"SECRET","extra":{{"a":"SECRET"}}}}"#
    );
    assert!(!one(&body).unwrap().note.contains("SECRET"));
}

// === configurations ===

fn declared(config: &str, is_enforced: bool) -> Registries {
    let body =
        format!(r#"{{"feedback_key":"k","feedback_config":{config},"is_enforced":{is_enforced}}}"#);
    let mut parsed = with_call(|call| configs::create(call, body.as_bytes())).unwrap();
    let declaration = parsed.declarations.pop().expect("it is declared");
    // As it comes back from the topic.
    let text = serde_json::to_string(&declaration).unwrap();
    let declaration: Declaration = serde_json::from_str(&text).unwrap();
    Registries::new(Registry::empty(UnknownMetrics::Accept)).with([("p".into(), declaration)])
}

fn under<T>(registries: &Registries, run: impl FnOnce(&Call<'_>) -> T) -> T {
    let world = World::new("p");
    run(&Call {
        registries,
        ..world.call(NOW)
    })
}

#[test]
fn an_enforced_configuration_is_held_to_and_another_is_not() {
    let status = |config, is_enforced, fields: &str| {
        let registries = declared(config, is_enforced);
        let body = format!(r#"{{"run_id":"{RUN}","key":"k",{fields}}}"#);
        let parsed = under(&registries, |call| take::one(call, body.as_bytes()));
        parsed.map(drop).map_err(|refusal| answered(refusal).body)
    };
    let continuous = r#"{"type":"continuous","min":0,"max":5}"#;
    let categorical =
        r#"{"type":"categorical","categories":[{"value":1,"label":"good"},{"value":0}]}"#;
    for (config, fields, good) in [
        (continuous, r#""score":5"#, true),
        (continuous, r#""score":true"#, true),
        (continuous, r#""score":1,"value":"words beside it""#, true),
        (continuous, r#""value":"words alone""#, true),
        (continuous, r#""score":5.1"#, false),
        (continuous, r#""score":-1,"value":"words""#, false),
        (categorical, r#""score":1,"value":"good""#, true),
        (categorical, r#""score":0"#, true),
        (categorical, r#""value":"good""#, true),
        (categorical, r#""comment":"c""#, true),
        (categorical, r#""score":2"#, false),
        (categorical, r#""value":"bad""#, false),
        (r#"{"type":"freeform"}"#, r#""value":{"a":1}"#, true),
    ] {
        assert_eq!(
            status(config, true, fields).is_ok(),
            good,
            "{config} {fields}"
        );
        assert_eq!(status(config, false, fields), Ok(()), "{config} {fields}");
    }
}

#[test]
fn a_key_is_declared_once_by_its_feedback() {
    let config = r#""feedback_config":{"type":"continuous","min":0,"max":1}"#;
    let body = format!(r#"{{"run_id":"{RUN}","key":"k","score":7,{config}}}"#);
    let first = one(&body).unwrap();
    assert_eq!(first.declarations.len(), 1);
    let metric = first.declarations[0].declared.as_ref().unwrap();
    assert!(!metric.enforced, "a feedback decides nothing for others");

    let registries = declared(r#"{"type":"freeform"}"#, false);
    let later = under(&registries, |call| take::one(call, body.as_bytes())).unwrap();
    assert!(later.declarations.is_empty());
    assert_eq!(shown(put(&later))["feedback_config"]["max"], 1);

    let twice = format!("{body}\x1e{body}");
    let batch = with_call(|call| take::parts(call, twice.as_bytes())).unwrap();
    assert_eq!((batch.batch.len(), batch.declarations.len()), (2, 1));

    // What is no configuration is kept, and declares nothing.
    let body = body.replace("continuous", "SECRET");
    assert!(one(&body).unwrap().declarations.is_empty());
}

#[test]
fn a_declared_key_is_the_same_changed_or_in_conflict() {
    let registries = declared(r#"{"type":"continuous","min":0,"max":5}"#, false);
    let create = |body: &str| under(&registries, |call| configs::create(call, body.as_bytes()));
    let same = r#"{"feedback_key":"k","feedback_config":{"max":5.0,"min":0,"type":"continuous","categories":null}}"#;
    let parsed = create(same).unwrap();
    assert!(parsed.declarations.is_empty());
    assert!(parsed.note.contains(r#""is_enforced":false"#));

    let other = r#"{"feedback_key":"k","feedback_config":{"type":"continuous","min":0,"max":6}}"#;
    assert_eq!(
        answered(create(other).unwrap_err()).status,
        StatusCode::BAD_REQUEST
    );

    let enforced = same.replace("\"feedback_key\"", "\"is_enforced\":true,\"feedback_key\"");
    assert_eq!(create(&enforced).unwrap().declarations.len(), 1);

    let change = br#"{"feedback_key":"k","is_enforced":true,"is_lower_score_better":true}"#;
    let changed = under(&registries, |call| configs::change(call, change)).unwrap();
    let metric = changed.declarations[0].declared.as_ref().unwrap();
    assert_eq!((metric.enforced, metric.max), (true, Some(5.0)));

    let world = World::new("p");
    let call = Call {
        registries: &registries,
        query: "feedback_key=k&name_contains=k&limit=1",
        ..world.call(NOW)
    };
    let listed: Value = serde_json::from_str(&configs::list(&call, b"").unwrap().body).unwrap();
    assert_eq!(listed[0]["feedback_config"]["max"], 5.0);
    assert_eq!(listed[0]["modified_at"], NOW.to_string());
    let gone = configs::delete(&call, b"").unwrap();
    assert_eq!(gone.declarations[0].declared, None);
}

// === tokens ===

fn token(project: &str, dialect: Dialect) -> Token<'_> {
    Token {
        id: ID.parse().unwrap(),
        project: project.into(),
        dialect,
        trace_id: RUN.into(),
        target: None,
        metric: "k".into(),
        rater: None,
        expires_at: Micros(NOW.0 + 1),
    }
}

fn redeem(token: &Token<'_>, now: Micros) -> Result<Parsed, Refusal> {
    let world = World::new("");
    let path = [("id", ID)];
    let signed = world.call(now).tokens.unwrap().sign(token);
    let query = format!("token={signed}");
    let call = Call {
        path: &path,
        query: &query,
        ..world.call(now)
    };
    assert_eq!(redeem::ask(&call).unwrap(), None, "nothing has to be found");
    redeem::post(&call, br#"{"score":1}"#, None)
}

#[test]
fn p7_a_token_says_whose_it_is_and_is_good_for_its_own_api_and_time() {
    let parsed = redeem(&token("owner", Dialect::Langsmith), NOW).unwrap();
    assert_eq!(&*parsed.batch.project, "owner");
    let record = parsed.batch.records().next().unwrap();
    let event = codec::decode(record.value, || None).unwrap();
    assert_eq!((&*event.project, event.version_time), ("owner", NOW));

    for (dialect, now) in [
        (Dialect::Native, NOW),
        (Dialect::Langsmith, Micros(NOW.0 + 1)),
    ] {
        let refused = answered(redeem(&token("owner", dialect), now).unwrap_err());
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
}

#[test]
fn without_a_secret_no_token_is_given_out() {
    let world = World::new("p");
    let call = Call {
        tokens: None,
        ..world.call(NOW)
    };
    let body = format!(r#"{{"run_id":"{RUN}","feedback_key":"k"}}"#);
    let refused = answered(tokens::mint(&call, body.as_bytes()).unwrap_err());
    assert_eq!(refused.status, StatusCode::NOT_IMPLEMENTED);
}

// === any input ===

/// Every parser of the API gives a result, and what it takes can be decoded.
fn survives(body: &[u8]) {
    let world = World::new("p");
    let query = String::from_utf8_lossy(body);
    let path = [("id", ID)];
    let call = Call {
        path: &path,
        query: &query,
        ..world.call(NOW)
    };
    let found = Stored {
        feedback: put(&one(&format!(
            r#"{{"run_id":"{RUN}","presigned":{{"expires_at":"2027-01-01T00:00:00Z"}}}}"#
        ))
        .unwrap()),
        received_at: NOW,
        modified_at: NOW,
    };
    let results = [
        take::one(&call, body),
        take::parts(&call, body),
        take::runs(&call, body),
        take::change(&call, body),
        tokens::mint(&call, body),
        redeem::post(&call, body, Some(&found)),
        redeem::get(&call, body, Some(&found)),
        configs::create(&call, body),
        configs::change(&call, body),
        configs::delete(&call, body),
    ];
    for parsed in results.into_iter().flatten() {
        assert!(parsed.batch.len() + parsed.rejected.len() <= 100);
        for record in parsed.batch.records() {
            let event = codec::decode(record.value, || None).unwrap();
            if let Operation::Put(feedback) = event.operation {
                // Half a surrogate pair is JSON, and no text of Rust's.
                let shown = shown_text(feedback);
                assert!(
                    Json::parse(&shown).is_ok_and(|json| json.is_object()),
                    "{shown}"
                );
            }
        }
    }
    for search in [list::ask(&call), list::ask_one(&call)]
        .into_iter()
        .flatten()
    {
        assert!(search.limit <= 100);
    }
    assert!(
        configs::list(&call, body).is_ok_and(|answer| answer.body.starts_with('[')) || {
            // Only a wrong page is refused.
            query.contains("limit") || query.contains("offset")
        }
    );
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result(body: Vec<u8>) {
        survives(&body);
    }

    #[test]
    fn any_json_of_the_right_names_gives_a_result(
        items in proptest::collection::vec(
            proptest::collection::vec((
                proptest::sample::select(&["id", "run_id", "trace_id", "key", "score", "value",
                    "comment", "correction", "feedback_source", "extra", "feedback_config",
                    "created_at", "session_id", "feedback_key", "expires_in", "metadata", "post",
                    "feedback", "presigned", "modified_at", "feedback_group_id"][..]),
                proptest::sample::select(&["null", "1", "-1.5e3", "1e999", "\"t\"", "true", "{}",
                    "\"22222222222222222222222222222222\"", "[1]", "\"2026-01-02 03:04:05\"",
                    "{\"type\":\"continuous\",\"min\":0}", "{\"metadata\":{\"__run\":{\"run_id\":\"r\"}}}",
                    "{\"days\":1,\"hours\":-1}", "[{\"run_id\":\"22222222-2222-2222-2222-222222222222\"}]",
                    "\"\\ud800\"", "{\"a\":\"b\",\"\":\"c\"}"][..]),
            ), 0..10),
            1..4,
        ),
        separator in proptest::sample::select(&["", "\x1e", ",", "&score="][..]),
    ) {
        let items: Vec<_> = items
            .iter()
            .map(|fields| {
                let fields: Vec<_> =
                    fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
                format!("{{{}}}", fields.join(","))
            })
            .collect();
        let body = items.join(separator);
        survives(body.as_bytes());
        survives(format!("[{body}]").as_bytes());
        survives(format!("{{\"feedback\":[{body}]}}").as_bytes());
    }
}
