//! LangSmith: two releases of its client for Python, both clients of each, and the one
//! for JavaScript.
//!
//! Each gives feedback one by one, and much of it in the background, in batches.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use support::{Api, Stack};

mod rows;

use crate::client::{Client, Said};
use crate::site::{Key, Rows, WRONG_KEY, against_keys};
use rows::{check_rows, take_tokens};

const RUN: &str = "01990000-0000-7000-8000-000000000001";
const TRACE: &str = "01990000-0000-7000-8000-000000000002";
const PROJECT: &str = "01990000-0000-7000-8000-000000000003";
const EXPERIMENT: &str = "01990000-0000-7000-8000-000000000004";
const GROUP: &str = "01990000-0000-7000-8000-000000000005";
const JUDGE: &str = "01990000-0000-7000-8000-000000000006";
const WHOLE: &str = "01990000-0000-7000-8000-000000000007";
const TWICE: &str = "01990000-0000-7000-8000-000000000008";
const RATED: &str = "01990000-0000-7000-8000-000000000009";
const LISTED: &str = "01990000-0000-7000-8000-00000000000a";

/// How much is given in the background: more than fits into two batches.
const MUCH: usize = 250;

/// What a client of some release sends.
#[derive(Clone, Copy)]
struct Release {
    version: &'static str,
    /// It names the project of a run.
    names_project: bool,
    /// It declares how scores are to be read.
    has_configs: bool,
    /// Its async client takes all that the other takes.
    async_is_whole: bool,
}

const NEW: Release = Release {
    version: "0.15.0",
    names_project: true,
    has_configs: true,
    async_is_whole: true,
};

const OLD: Release = Release {
    version: "0.4.31",
    names_project: false,
    has_configs: false,
    async_is_whole: false,
};

#[test]
fn p8_the_python_clients_work_unmodified() -> Result<()> {
    python(NEW)
}

#[test]
fn p8_the_older_python_clients_work_unmodified() -> Result<()> {
    python(OLD)
}

#[test]
fn p8_the_python_client_loses_nothing_in_the_background() -> Result<()> {
    background(
        &Client::python_with("langsmith", NEW.version, "background.py")?,
        &[],
    )
}

#[test]
fn p8_the_older_python_client_loses_nothing_in_the_background() -> Result<()> {
    background(
        &Client::python_with("langsmith", OLD.version, "background.py")?,
        &[],
    )
}

#[test]
fn p8_the_javascript_client_loses_nothing_in_the_background() -> Result<()> {
    background(&Client::javascript("langsmith", "0.12.0")?, &["background"])
}

#[test]
fn p8_the_javascript_client_works_unmodified() -> Result<()> {
    let client = Client::javascript("langsmith", "0.12.0")?;
    against_keys(["js"], async |stack, [key]| {
        let base = format!("{}/langsmith", stack.api.base());
        let said = client
            .run(stack, &["once", &base, &key.secret, WRONG_KEY])
            .await?;
        let read = said.returned("read");
        let sent = json!({
            "id": WHOLE, "run_id": RUN, "trace_id": TRACE, "session_id": PROJECT, "key": "correctness", "score": 0.1235,
            "value": {"label": "ok"}, "comment": "très bien", "correction": {"answer": "42"},
            "comparative_experiment_id": EXPERIMENT,
        });
        assert_shows(read, &sent);
        assert_eq!(said.returned("by_browser"), 200);
        assert_eq!(*said.returned("list_tokens"), json!([]));
        assert_eq!(said.returned("declare")["feedback_key"], "stars");
        let listed = said.returned("list");
        assert_eq!(keys(listed), ["thumb", "twice", "words"].into());
        assert_shows(
            said.returned("read_updated"),
            &json!({"score": 0.5, "comment": null}),
        );
        said.raised("read_deleted", "LangSmithNotFoundError", 404);
        said.raised("wrong_key", "Error", 401);

        rows::check_rows_of_javascript(Rows::of(stack, key.project).await?, &said);
        Ok(())
    })
}

fn python(release: Release) -> Result<()> {
    let client = Client::python("langsmith", release.version)?;
    against_keys(["sync", "async"], async |stack, [sync, other]| {
        let origin = stack.api.base();
        let prefixed = format!("{origin}/langsmith");
        let arguments = ["sync", &prefixed, &sync.secret, WRONG_KEY];
        let said = client.run(stack, &arguments).await?;
        check_creations(&said, release);
        check_changes(&said);
        if release.has_configs {
            check_configs(&said);
        }
        check_tokens(&said).await?;
        eager(stack, &sync).await?;
        check_rows(stack, &sync, &said, release).await?;

        let arguments = ["async", origin, &other.secret, WRONG_KEY];
        let said = client.run(stack, &arguments).await?;
        if release.async_is_whole {
            check_creations(&said, release);
        } else {
            check_plain(&said);
        }
        check_tokens(&said).await?;
        take_tokens(&mut Rows::of(stack, other.project).await?, &said);
        said.raised("read_deleted", "LangSmithNotFoundError", Value::Null);
        Ok(())
    })
}

fn background(client: &Client, before: &[&str]) -> Result<()> {
    against_keys(["much"], async |stack, [key]| {
        let (base, count) = (format!("{}/langsmith", stack.api.base()), MUCH.to_string());
        let mut arguments = before.to_vec();
        arguments.extend([&*base, &key.secret, &count]);
        let said = client.run(stack, &arguments).await?;
        for call in ["give", "flush"] {
            assert_eq!(*said.returned(call), Value::Null, "{call}");
        }
        let trace = said.returned("trace").as_str().context("a trace")?;
        stack.settled().await?;
        let sql = format!(
            "SELECT count() AS rows, uniqExact(id) AS ids, uniqExact(score) AS scores, sum(score) AS total, \
             countIf(trace_id = '{trace}' AND target_id = '{trace}' AND value = toString(score) \
             AND metric = concat('metric-', toString(score % 7)) AND dialect = 'langsmith') AS right \
             FROM {{db}}.feedback_current WHERE project = '{}'",
            key.project
        );
        let found = &stack.db.rows(&sql).await?[0];
        let total = MUCH * (MUCH - 1) / 2;
        let expected =
            json!({"rows": MUCH, "ids": MUCH, "scores": MUCH, "total": total, "right": MUCH});
        assert_eq!(*found, expected);
        Ok(())
    })
}

fn check_creations(said: &Said, release: Release) {
    for call in [
        "whole",
        "changed",
        "thumb",
        "one",
        "words",
        "unnamed",
        "of_project",
        "twice",
        "twice_again",
        "left",
        "right",
        "with_config",
        "listed_0",
        "listed_1",
        "listed_2",
    ] {
        assert!(said.returned(call)["id"].is_string(), "{call}");
    }
    let text = said.raised("long_key", "LangSmithError", Value::Null);
    assert!(text.contains("422") && text.contains("key"), "{text}");
    let text = said.raised("wrong_key", "LangSmithAuthError", Value::Null);
    assert!(!text.contains(WRONG_KEY), "{text}");

    let read = said.returned("read");
    let sent = json!({
        "id": WHOLE, "run_id": RUN, "trace_id": TRACE, "key": "correctness", "score": 0.1235, "value": {"label": "ok"},
        "comment": "très bien", "correction": {"answer": "42"}, "comparative_experiment_id": EXPERIMENT,
        "feedback_group_id": GROUP, "extra": {"lang": "fr", "n": 2},
    });
    assert_shows(read, &sent);
    let source = json!({"type": "model", "metadata": {"model": "judge-1", "n": 1, "__run": {"run_id": JUDGE}}});
    assert_shows(&read["feedback_source"], &source);
    if release.names_project {
        assert_eq!(read["session_id"], PROJECT);
    }
    let scores = |call: &str| -> Vec<Option<f64>> {
        let listed = said.returned(call).as_array().expect("a list").iter();
        listed.map(|feedback| feedback["score"].as_f64()).collect()
    };
    let mut listed = scores("list");
    listed.sort_by(|one, other| one.partial_cmp(other).expect("numbers"));
    assert_eq!(listed, [Some(0.0), Some(1.0), Some(2.0)]);
    assert_eq!(scores("list_limited").len(), 2);
    assert_eq!(
        keys(said.returned("list_by_key")),
        ["thumb", "twice"].into()
    );
    assert_eq!(
        keys(said.returned("list_by_source")),
        ["correctness"].into()
    );
    assert_eq!(*said.returned("list_nothing"), json!([]));
}

/// The older async client sends what it is given as it is.
fn check_plain(said: &Said) {
    for (call, key, score) in [("plain", "plain", 1.0), ("whole", "correctness", 0.25)] {
        let answer = said.returned(call);
        assert_eq!(
            (&answer["key"], &answer["run_id"]),
            (&json!(key), &json!(RUN)),
            "{call}"
        );
        assert!(
            answer["score"].is_null() || answer["score"] == score,
            "{call}"
        );
    }
    assert_shows(
        said.returned("read"),
        &json!({"id": WHOLE, "trace_id": TRACE, "score": 0.25}),
    );
}

fn check_changes(said: &Said) {
    assert_eq!(*said.returned("update"), Value::Null);
    let changed = json!({"score": 0.5, "comment": "later", "value": {"label": "ok"}});
    assert_shows(said.returned("read_updated"), &changed);
    assert_eq!(*said.returned("delete"), Value::Null);
    said.raised("read_deleted", "LangSmithNotFoundError", Value::Null);
}

/// How the scores of a key are to be read: declared, changed, forgotten.
fn check_configs(said: &Said) {
    let config = |max: i64| json!({"type": "continuous", "min": 0, "max": max});
    for (call, max) in [("declare", 5), ("declare_again", 5), ("change", 10)] {
        let answer = said.returned(call);
        assert_eq!(answer["feedback_key"], "stars", "{call}");
        for (name, content) in config(max).as_object().expect("an object") {
            let shown = &answer["feedback_config"][name];
            let same =
                shown == content || shown.as_f64().is_some_and(|n| Some(n) == content.as_f64());
            assert!(same, "{call}: {name} is {shown}");
        }
    }
    let text = said.raised("declare_other", "LangSmithError", Value::Null);
    assert!(text.contains("400"), "{text}");
    assert_eq!(said.returned("configs").as_array().map(Vec::len), Some(1));
    assert_eq!(*said.returned("forget"), Value::Null);
    assert_eq!(*said.returned("configs_after"), json!([]));
}

/// No client has a method for this. Its path is the documented one.
async fn eager(stack: &Stack, key: &Key) -> Result<()> {
    let api = stack.api.with_key(&key.secret);
    let feedback = json!({"run_id": RATED, "key": "eager", "score": 1});
    let answer = api.post("/api/v1/feedback/eager", &feedback).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["key"], "eager");
    Ok(())
}

/// Tokens, which are used with the client's key here and with none in a browser.
async fn check_tokens(said: &Said) -> Result<()> {
    for call in ["by_token", "by_token_again", "by_url"] {
        assert_eq!(*said.returned(call), Value::Null, "{call}");
    }
    let text = said.raised("old_token", "LangSmithError", Value::Null);
    assert!(
        text.contains("422") && text.contains("expires_at"),
        "{text}"
    );
    let url = said.returned("token_for_browser")["url"]
        .as_str()
        .context("a URL")?;
    let nobody = Api::new("");
    let answer = nobody
        .send(support::http_client().get(format!("{url}&score=1&comment=c")))
        .await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let origin = answer.headers.get("access-control-allow-origin");
    assert!(
        origin.is_some_and(|origin| origin == "*"),
        "{:?}",
        answer.headers
    );
    let forged = url.replace("token=", "token=x");
    let answer = nobody
        .send(support::http_client().get(format!("{forged}&score=0")))
        .await?;
    assert_eq!(answer.status, 403, "{}", answer.text);
    Ok(())
}

/// The keys of a list of feedback.
fn keys(listed: &Value) -> BTreeSet<&str> {
    let listed = listed.as_array().into_iter().flatten();
    listed
        .filter_map(|feedback| feedback["key"].as_str())
        .collect()
}

/// Asserts that an answer has these fields.
fn assert_shows(answer: &Value, fields: &Value) {
    for (name, content) in fields.as_object().into_iter().flatten() {
        assert_eq!(&answer[name], content, "{name}: {answer:#}");
    }
}
