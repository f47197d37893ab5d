//! Patronus: `patronus-api` for Python, both clients of it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::client::{Client, Said};
use crate::site::{Rows, WRONG_KEY, against_keys, with};

const RESULT: &str = "1234567891234567890";
const RUN: &str = "9876543219876543210";

#[test]
fn p8_the_python_clients_work_unmodified() -> Result<()> {
    let client = Client::python("patronus", "0.3.0")?;
    against_keys(["sync", "async"], async |stack, keys| {
        for (key, path) in keys.iter().zip(["/patronus", ""]) {
            let base = format!("{}{path}", stack.api.base());
            let arguments = [key.project, &base, &key.secret, WRONG_KEY];
            let said = client.run(stack, &arguments).await?;
            check_answers(&said);
            check_errors(&said);
            check_rows(Rows::of(stack, key.project).await?);
        }
        Ok(())
    })
}

fn check_answers(said: &Said) {
    for (call, answer) in [
        ("on_result", json!({"feedback_positive": true})),
        ("on_sample", json!({"feedback_positive": false})),
        ("says_yes", json!(null)),
        ("says_no", json!(null)),
        ("says_first", json!(null)),
        ("takes_back", json!(null)),
        ("delete", json!(null)),
        ("after_delete", json!({"feedbacks": []})),
        ("second_page", json!({"feedbacks": []})),
    ] {
        assert_eq!(*said.returned(call), answer, "{call}");
    }
    let on_result = json!({
        "evaluation_result_id": RESULT, "evaluation_run_candidate_input_id": null, "evaluation_run_id": null,
        "evaluator_id": "", "feedback_positive": true, "profile_name": null,
    });
    let on_sample = json!({
        "evaluation_result_id": null, "evaluation_run_candidate_input_id": 7, "evaluation_run_id": RUN,
        "evaluator_id": "toxicity-v1", "feedback_positive": false, "profile_name": "strict",
    });
    for (call, expected) in [
        ("all", vec![&on_result, &on_sample]),
        ("of_result", vec![&on_result]),
        ("of_run", vec![&on_sample]),
    ] {
        let mut listed = listed(said.returned(call));
        listed.sort_by_key(|entry| entry["evaluation_result_id"].is_null());
        assert_eq!(
            listed,
            expected.into_iter().cloned().collect::<Vec<_>>(),
            "{call}"
        );
    }
    let annotation = &said.returned("annotate")["evaluation"];
    for (field, content) in [
        ("log_id", json!("log-1")),
        ("annotation_criteria_id", json!("c-1")),
        ("explanation", json!("too long")),
        ("pass", json!(false)),
        ("score", json!(0.25)),
        ("text_output", json!("long")),
    ] {
        assert_eq!(annotation[field], content, "{field}");
    }
}

/// The entries of a list, without what is new in each run, which has to be well formed.
fn listed(answer: &Value) -> Vec<Value> {
    let entries = answer["feedbacks"].as_array().expect("a list");
    let entry = |entry: &Value| {
        let mut entry = entry.clone();
        let fields = entry.as_object_mut().expect("an entry");
        let number = fields.remove("id").expect("an id");
        let number = number.as_str().and_then(|id| id.parse::<i64>().ok());
        assert!(number.is_some_and(|number| number > 0), "{answer:#}");
        let time = fields.remove("created_at").expect("a time");
        assert!(
            time.as_str().is_some_and(|time| time.ends_with('Z')),
            "{answer:#}"
        );
        entry
    };
    entries.iter().map(entry).collect()
}

fn check_errors(said: &Said) {
    for (call, field) in [
        ("on_part", "evaluation_run_candidate_input_id"),
        ("on_both", "evaluation_run_id"),
        ("on_nothing", "evaluation_result_id"),
        ("nothing_said", "feedback_positive"),
        ("no_bool", "feedback_positive"),
        ("says_maybe", "feedback"),
    ] {
        let text = said.raised(call, "UnprocessableEntityError", 422);
        assert!(
            text.contains("'loc'") && text.contains(field),
            "{call}: {text}"
        );
    }
    let text = said.raised("wrong_key", "AuthenticationError", 401);
    assert!(!text.contains(WRONG_KEY), "{text}");
}

fn check_rows(mut rows: Rows) {
    let said = |value: bool, on: Value| {
        let always = json!({
            "dialect": "patronus", "value_type": "bool", "value": value, "score": i32::from(value),
        });
        with(&always, &on)
    };
    // What was deleted is not there: that on the sample, and what was taken back.
    let on_result =
        json!({"trace_id": RESULT, "target_kind": "evaluation_result", "target_id": RESULT});
    rows.take(
        &json!({"metric": "feedback_positive"}),
        &said(true, on_result),
    );
    let next = "1234567891234567891";
    let on_next = json!({"trace_id": next, "target_kind": "evaluation_result", "target_id": next});
    rows.take(
        &json!({"metric": "evaluation_feedback"}),
        &said(false, on_next),
    );
    let annotation = json!({
        "trace_id": "log-1", "target_kind": "trace", "target_id": "log-1", "score": 0.25, "comment": "too long",
        "metadata": {"value_text": "long", "value_score": 0.25},
    });
    rows.take(&json!({"metric": "c-1"}), &said(false, annotation));
    rows.end();
}
