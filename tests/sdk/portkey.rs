//! Portkey: `portkey-ai` for Python, both clients of it, and for JavaScript.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use plaudit_service::{AuthConfig, AuthMode, Keyring, Scope};
use serde_json::{Value, json};
use support::{DEADLINE, Options, Stack, repository, run};
use tokio::process::Command;

use crate::install;

const WRONG_KEY: &str = "pl_0123456789abcdef_wrong";

fn folder(language: &str) -> PathBuf {
    repository().join("tests/sdk/portkey").join(language)
}

/// Runs a driver and reads what the client said.
async fn drive(mut command: Command, arguments: &[&str]) -> Result<Value> {
    let child = command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, child)
        .await
        .context("the driver does not end")??;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the driver failed: {text}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What a driver of any language has to have got, and what has to be stored then.
async fn check(stack: &Stack, said: &Value, names_of_exceptions: [&str; 2]) -> Result<()> {
    for (call, ids, message) in [
        ("create", 1, "Feedback successfully saved"),
        ("bulk", 2, "Feedback successfully saved"),
        ("update", 1, "Feedback successfully updated"),
    ] {
        let answer = &said[call];
        assert_eq!(answer["status"], "success", "{call}: {said:#}");
        assert!(
            answer["message"].is_string(),
            "{call} has no message, such as {message}"
        );
        assert_eq!(
            answer["feedback_ids"].as_array().map(Vec::len),
            Some(ids),
            "{call}: {said:#}"
        );
    }
    assert_eq!(
        said["create"]["feedback_ids"][0],
        said["update"]["feedback_ids"][0]
    );

    let [bad_request, unauthorized] = names_of_exceptions;
    for (call, name, status, field) in [
        ("bad_value", bad_request, 400, "value"),
        ("no_trace", bad_request, 400, "trace_id"),
        ("wrong_key", unauthorized, 401, "key"),
    ] {
        let error = &said[call];
        assert_eq!(
            (&error["exception"], &error["status"]),
            (&json!(name), &json!(status)),
            "{call}: {said:#}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains(field) && !message.contains(WRONG_KEY),
            "{call}: {message}"
        );
    }
    stored(stack, said).await
}

/// Every field of every feedback, as the table has it.
async fn stored(stack: &Stack, said: &Value) -> Result<()> {
    stack.settled().await?;
    let mut rows = stack.db.current().await?;
    assert_eq!(rows.len(), 3, "{rows:#?}");
    let updated = row(&mut rows, &said["create"]["feedback_ids"][0])?;
    let expected = json!({
        "project": "team", "trace_id": "trace-1", "target_kind": "trace", "target_id": "trace-1",
        "metric": "feedback", "value_type": "int", "value": "-3", "score": -3, "comment": "", "correction": "",
        "tags": {"_user": "bob"}, "metadata": "{\"_user\":\"bob\"}", "rater": "bob", "source_kind": "api",
        "dialect": "portkey", "is_deleted": 0,
    });
    assert_columns(&updated, &expected);

    let plain = row(&mut rows, &said["bulk"]["feedback_ids"][0])?;
    let expected = json!({
        "project": "team", "trace_id": "trace-1", "value_type": "int", "value": "1", "score": 1, "weight": 1,
        "tags": {}, "metadata": "", "rater": "", "dialect": "portkey",
    });
    assert_columns(&plain, &expected);
    let weighted = row(&mut rows, &said["bulk"]["feedback_ids"][1])?;
    let expected = json!({"value": "-10", "score": -10, "weight": 0.25, "tags": {"env": "prod"}});
    assert_columns(&weighted, &expected);

    // What was created first is still in the table, under its update.
    let id = said["create"]["feedback_ids"][0]
        .as_str()
        .context("an id")?;
    let sql = format!("SELECT * FROM {{db}}.feedback WHERE id = '{id}' ORDER BY version LIMIT 1");
    let mut first = stack.db.rows(&sql).await?;
    let expected = json!({
        "value": "5", "score": 5, "weight": 0.5, "rater": "ada",
        "tags": {"_user": "ada", "_prompt": "p-1", "text": "très bien"},
    });
    let first = first.pop().context("a row")?;
    assert_columns(&first, &expected);
    let metadata: Value = serde_json::from_str(first["metadata"].as_str().context("text")?)?;
    let sent =
        json!({"_user": "ada", "_prompt": "p-1", "text": "très bien", "nested": {"k": [1, null]}});
    assert_eq!(metadata, sent);
    Ok(())
}

fn row(rows: &mut Vec<Value>, id: &Value) -> Result<Value> {
    let at = rows
        .iter()
        .position(|row| row["id"] == *id)
        .context("a row of this id")?;
    Ok(rows.swap_remove(at))
}

fn assert_columns(row: &Value, expected: &Value) {
    for (column, content) in expected.as_object().into_iter().flatten() {
        assert_eq!(&row[column], content, "{column}");
    }
}

/// Runs a client against a stack with keys.
fn against_the_stack(
    client: impl AsyncFnOnce(String, String) -> Result<Value>,
    names_of_exceptions: [&str; 2],
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("keys");
    let key = Keyring::create_key(&file, "team", &[Scope::Write], None, None)?;
    let options = Options {
        auth: AuthConfig {
            mode: AuthMode::Keys,
            keys_file: Some(file),
            ..AuthConfig::default()
        },
        ..Options::default()
    };
    run(options, async |stack| {
        let base = format!("{}/portkey/v1", stack.api.base());
        let said = client(base, key.secret.expose().to_owned()).await?;
        check(stack, &said, names_of_exceptions).await
    })
}

fn python(kind: &str) -> Result<()> {
    let python = install::python("portkey-python", &folder("python"))?;
    let client = async |base: String, key: String| {
        let mut command = Command::new(python);
        command.arg(folder("python").join("driver.py"));
        drive(command, &[kind, &base, &key, WRONG_KEY, "trace-1"]).await
    };
    against_the_stack(client, ["BadRequestError", "AuthenticationError"])
}

#[test]
fn p8_the_python_client_works_unmodified() -> Result<()> {
    python("sync")
}

#[test]
fn p8_the_async_python_client_works_unmodified() -> Result<()> {
    python("async")
}

#[test]
fn p8_the_javascript_client_works_unmodified() -> Result<()> {
    let home = install::node("portkey-js", &folder("js"))?;
    let client = async |base: String, key: String| {
        let mut command = Command::new("node");
        command.arg(home.join("driver.mjs"));
        drive(command, &[&base, &key, WRONG_KEY, "trace-1"]).await
    };
    against_the_stack(client, ["BadRequestError", "AuthenticationError"])
}
