//! TensorZero: two releases of its client for Python, five months and one rewrite
//! apart, and the gateway itself, which is in the package.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::client::{Client, Said};
use crate::site::{
    OPEN_PROJECT, Rows, UnknownMetrics, WRONG_KEY, against_anyone, against_keys_and_metrics, with,
};

const INFERENCE: &str = "0196c682-72e0-7c83-a92b-9d1a3c7630f2";
const EPISODE: &str = "0196c682-72e0-7c83-a92b-9d1a3c7630f3";

const METRICS: &str = r#"
[metrics.accepted]
type = "boolean"
level = "inference"

[metrics.stars]
type = "float"
level = "episode"
"#;

/// What the gateway and Plaudit are told, in the gateway's words.
const GATEWAY: &str = r#"
[gateway]
unstable_disable_feedback_target_validation = true

[metrics.accepted]
type = "boolean"
level = "inference"
optimize = "max"

[metrics.stars]
type = "float"
level = "episode"
optimize = "max"
"#;

#[test]
fn p8_the_python_clients_work_unmodified() -> Result<()> {
    let client = Client::python("tensorzero", "2026.6.0")?;
    let reject = UnknownMetrics::Reject;
    against_keys_and_metrics(["sync", "async"], reject, METRICS, async |stack, keys| {
        for (key, path) in keys.iter().zip(["/tensorzero", ""]) {
            let base = format!("{}{path}", stack.api.base());
            let arguments = [key.project, &base, &key.secret, WRONG_KEY];
            let said = client.run(stack, &arguments).await?;
            check_answers(&said, |answer| answer);
            let text = said.raised("wrong_key", "TensorZeroError", 401);
            assert!(text.contains("TensorZero authentication error: "), "{text}");
            assert!(!text.contains(WRONG_KEY), "{text}");
            let mut rows = Rows::of(stack, key.project).await?;
            check_rows(&mut rows, &said, |answer| answer);
            rows.end();
        }
        Ok(())
    })
}

/// It asks for the status first, sends no key, returns the answer where it should
/// return the id in it, and takes a prefix for a file unless a slash is behind it.
#[test]
fn p8_the_older_python_clients_work_unmodified() -> Result<()> {
    let client = Client::python("tensorzero", "2025.6.0")?;
    against_anyone(UnknownMetrics::Reject, METRICS, async |stack| {
        let mut all = Vec::new();
        for (kind, path) in [("sync", "/tensorzero/"), ("async", "")] {
            let base = format!("{}{path}", stack.api.base());
            let said = client.run(stack, &[kind, &base, "", ""]).await?;
            check_answers(&said, |answer| &answer["feedback_id"]);
            all.push(said);
        }
        let mut rows = Rows::of(stack, OPEN_PROJECT).await?;
        for said in &all {
            check_rows(&mut rows, said, |answer| &answer["feedback_id"]);
        }
        rows.end();
        Ok(())
    })
}

/// Where the gateway finds fault, Plaudit finds the same and says it in the same words,
/// its own configuration being the gateway's.
#[test]
fn p8_the_gateway_itself_gives_the_same_answers() -> Result<()> {
    let gateway = Client::python_with("tensorzero", "2026.6.0", "ask.py")?;
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("tensorzero.toml");
    std::fs::write(&config, GATEWAY)?;
    let metrics = import(&config)?;
    let config = config.to_str().context("a path that is text")?;
    let requests = requests();
    let text = Value::Object(requests.clone()).to_string();
    let reject = UnknownMetrics::Reject;
    against_keys_and_metrics(["asked"], reject, &metrics, async |stack, [key]| {
        let base = format!("{}/tensorzero", stack.api.base());
        let original = gateway
            .run(stack, &["embedded", config, "-", &text])
            .await?;
        let ours = ["http", &base, &key.secret, &text];
        let ours = gateway.run(stack, &ours).await?;
        let mut kept = 0;
        for (call, request) in &requests {
            let [original, ours] = [&original, &ours].map(|said| said.line(call));
            if original.get("returned").is_some() {
                assert!(ours.get("returned").is_some(), "{call}: {ours:#}");
                kept += usize::from(request["dryrun"] != true);
            } else {
                assert_eq!(ours, original, "{call}");
            }
        }
        let stored = stack.db.number("SELECT count() FROM {db}.feedback_current");
        stack.settled().await?;
        assert_eq!(usize::try_from(stored.await?)?, kept);
        Ok(())
    })
}

/// The metrics of a gateway's configuration, as Plaudit's own.
fn import(config: &Path) -> Result<String> {
    let program = support::binary()?;
    let output = std::process::Command::new(program)
        .args(["config", "import-tensorzero"])
        .arg(config)
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "no metrics: {complaint}");
    Ok(String::from_utf8(output.stdout)?)
}

fn requests() -> Map<String, Value> {
    let both = json!({"inference_id": INFERENCE, "episode_id": EPISODE});
    let inference = json!({"inference_id": INFERENCE});
    let episode = json!({"episode_id": EPISODE});
    let neither = json!({});
    let give = |metric: &str, value: Value, on: &Value| {
        with(on, &json!({"metric_name": metric, "value": value}))
    };
    let tagged = |tags: Value| {
        let on = with(&inference, &json!({"tags": tags}));
        give("accepted", json!(true), &on)
    };
    let internal = |request: Value| with(&request, &json!({"internal": true}));
    let dry = |request: Value| with(&request, &json!({"dryrun": true}));
    let own = json!({"tensorzero::x": "1"});
    let half_reviewed =
        json!({"tensorzero::datapoint_id": EPISODE, "tensorzero::human_feedback": "true"});
    let requests = json!({
        "good": give("accepted", json!(true), &inference),
        "good_float": give("stars", json!(4.5), &episode),
        "good_integer": give("stars", json!(4), &episode),
        "good_comment": give("comment", json!("fine"), &inference),
        "good_comment_on_episode": give("comment", json!("fine"), &episode),
        "good_dry": dry(give("accepted", json!(false), &inference)),
        "good_tags": tagged(json!({"env": "prod"})),
        "good_internal": internal(tagged(own.clone())),
        "own_tag": tagged(own.clone()),
        "own_tag_and_both_ids": with(&tagged(own), &both),
        "half_reviewed": internal(tagged(half_reviewed)),
        "both_ids": give("accepted", json!(true), &both),
        "both_ids_of_nothing": give("never", json!(true), &both),
        "comment_on_both": give("comment", json!("fine"), &both),
        "unknown": give("never", json!(true), &inference),
        "unknown_without_id": give("never", json!(true), &neither),
        "unknown_empty": give("", json!(true), &inference),
        "unknown_own": give("tensorzero::x", json!(true), &inference),
        "comment_without_id": give("comment", json!("fine"), &neither),
        "comment_of_no_text_without_id": give("comment", json!(1), &neither),
        "without_id": give("accepted", json!(true), &neither),
        "on_episode": give("accepted", json!(true), &episode),
        "on_inference": give("stars", json!(4.5), &inference),
        "shown_on_episode": give("demonstration", json!("better"), &episode),
        "shown_without_id": give("demonstration", json!("better"), &neither),
        "integer_for_boolean": give("accepted", json!(1), &inference),
        "text_for_boolean": give("accepted", json!("true"), &inference),
        "null_for_boolean": give("accepted", json!(null), &inference),
        "boolean_for_float": give("stars", json!(true), &episode),
        "text_for_float": give("stars", json!("4.5"), &episode),
        "null_for_float": give("stars", json!(null), &episode),
        "object_for_float": give("stars", json!({"n": 4}), &episode),
        "number_for_comment": give("comment", json!(1), &inference),
        "null_for_comment": give("comment", json!(null), &episode),
        "list_for_comment": give("comment", json!(["fine"]), &inference),
        "text_for_boolean_dry": dry(give("accepted", json!("true"), &inference)),
        "text_for_boolean_on_episode": give("accepted", json!("true"), &episode),
        "no_uuid": give("accepted", json!(true), &json!({"inference_id": "no-uuid"})),
    });
    match requests {
        Value::Object(requests) => requests,
        _ => unreachable!("it is written as an object"),
    }
}

const GIVEN: [&str; 8] = [
    "accepted",
    "stars",
    "whole_stars",
    "comment",
    "comment_on_episode",
    "shown_text",
    "shown_blocks",
    "reviewed",
];

fn check_answers(said: &Said, answer: impl Fn(&Value) -> &Value) {
    for call in GIVEN.into_iter().chain(["dry"]) {
        let id = answer(said.returned(call))["feedback_id"].as_str();
        let id = id.and_then(|id| id.parse::<Uuid>().ok());
        let version = id.map(|id| id.get_version_num());
        assert_eq!(version, Some(7), "{call}");
    }
    let text = said.raised("unknown_metric", "TensorZeroError", 404);
    assert!(
        text.contains(r#"{"error":"Unknown metric: never"}"#),
        "{text}"
    );
    let text = said.raised("bad_dry", "TensorZeroError", 400);
    let expected = r#"{"error":"Feedback value for metric `accepted` must be a boolean"}"#;
    assert!(text.contains(expected), "{text}");
    // The client asks nobody.
    said.raised("no_uuid", "ValueError", Value::Null);
}

fn check_rows(rows: &mut Rows, said: &Said, answer: impl Fn(&Value) -> &Value) {
    let mut take = |call: &str, (kind, target): (&str, &str), metric: &str, others: Value| {
        let these = json!({"id": answer(said.returned(call))["feedback_id"]});
        let always = json!({
            "trace_id": target, "target_kind": kind, "target_id": target, "metric": metric, "dialect": "tensorzero",
        });
        rows.take(&these, &with(&always, &others));
    };
    let (inference, episode) = (("inference", INFERENCE), ("episode", EPISODE));
    let yes = json!({
        "value_type": "bool", "value": true, "score": 1, "rater": "Alice", "tags": {"author": "Alice", "env": "prod"},
    });
    take("accepted", inference, "accepted", yes);
    let stars = json!({
        "value_type": "float", "value": 4.5, "score": 4.5, "rater": "u-1", "tags": {"user_id": "u-1"},
    });
    take("stars", episode, "stars", stars);
    let whole = json!({"value_type": "int", "value": 4, "score": 4});
    take("whole_stars", episode, "stars", whole);
    let comment = json!({"comment": "très bien"});
    take("comment", inference, "comment", comment);
    let comment = json!({"comment": "long"});
    take("comment_on_episode", episode, "comment", comment);
    let shown = json!({"correction": "better"});
    take("shown_text", inference, "demonstration", shown);
    let shown = json!({"correction": [
        {"type": "text", "text": "hi"},
        {"type": "tool_call", "id": "1", "name": "get", "arguments": {"a": 1}},
    ]});
    take("shown_blocks", inference, "demonstration", shown);
    let reviewed = json!({
        "value_type": "bool", "value": false, "score": 0, "source_kind": "human",
        "tags": {
            "tensorzero::human_feedback": "true", "tensorzero::datapoint_id": EPISODE,
            "tensorzero::evaluator_inference_id": INFERENCE, "tensorzero::internal": "true",
        },
    });
    take("reviewed", inference, "accepted", reviewed);
}
