//! Humanloop: a release of its client for Python of each generation, and the one for
//! JavaScript.
//!
//! The generations before 0.4 ask for `/v1` or `/v3` of the host and drop what else is
//! in the URL, so that they work at the root only.

use anyhow::Result;
use serde_json::{Value, json};
use support::Stack;
use support::log::Log;

use crate::client::{Client, Said};
use crate::site::{Key, Rows, WRONG_KEY, against_keys, with};

/// A key of another service, which the clients send along.
const PROVIDER_KEY: &str = "sk-SECRET0123456789abcdef";

#[test]
fn p8_the_python_client_0_1_works_unmodified() -> Result<()> {
    let client = Client::python_with("humanloop", "0.1.8", "driver_0_1.py")?;
    against_keys(["first"], async |stack, [key]| {
        let arguments = [stack.api.base(), &key.secret, WRONG_KEY];
        let said = client.run(stack, &arguments).await?;
        for (call, field, content) in [
            ("label", "label", "good"),
            ("label_again", "label", "bad"),
            ("text", "text", "très bien"),
        ] {
            let answer = said.returned(call);
            assert_eq!(answer[field], content, "{call}");
            assert_eq!(
                (&answer["log_id"], &answer["source"]),
                (&json!("data_1"), &json!("ada"))
            );
            check_id(answer);
        }
        assert_eq!(
            said.returned("label")["id"],
            said.returned("label_again")["id"]
        );
        assert_eq!(said.returned("several").as_array().map(Vec::len), Some(2));
        said.raised("wrong_key", "HTTPError", 401);

        let mut rows = Rows::of(stack, key.project).await?;
        let of_ada = json!({"source_kind": "ada"});
        take(
            &mut rows,
            ("data_1", "rating"),
            &with(&text("bad", 0.into()), &of_ada),
        );
        let corrected = json!({"correction": "très bien", "source_kind": "ada"});
        take(&mut rows, ("data_1", "correction"), &corrected);
        take(&mut rows, ("data_2", "action"), &text("copy", Value::Null));
        take(
            &mut rows,
            ("data_2", "comment"),
            &json!({"comment": "hasty"}),
        );
        rows.end();
        Ok(())
    })
}

#[test]
fn p8_the_python_client_0_3_works_unmodified() -> Result<()> {
    python("0.3.3", "HTTPError", [("sync", ""), ("sync", "/")])
}

#[test]
fn p8_the_python_clients_0_4_work_unmodified() -> Result<()> {
    python(
        "0.4.9",
        "ApiException",
        [("sync", "/humanloop/v4"), ("async", "")],
    )
}

#[test]
fn p8_the_python_clients_0_5_work_unmodified() -> Result<()> {
    python(
        "0.5.18",
        "ApiException",
        [("sync", "/humanloop/v4"), ("async", "/v4/")],
    )
}

#[test]
fn p8_the_python_clients_0_7_work_unmodified() -> Result<()> {
    python(
        "0.7.35",
        "ApiException",
        [("sync", "/humanloop/v4"), ("async", "/v4")],
    )
}

#[test]
fn p8_the_javascript_client_works_unmodified() -> Result<()> {
    let client = Client::javascript("humanloop", "3.0.0")?;
    against_keys(["prefixed", "root"], async |stack, keys| {
        // The one that is built in ends with `/v3`.
        for (key, path) in keys.iter().zip(["/humanloop/v3", "/v4"]) {
            let base = format!("{}{path}", stack.api.base());
            let said = client.run(stack, &[&base, &key.secret, WRONG_KEY]).await?;
            for call in ["rating", "rating_again", "correction", "comment", "unset"] {
                check_id(said.returned(call));
            }
            assert_eq!(
                said.returned("rating")["id"],
                said.returned("rating_again")["id"]
            );
            let message = said.raised("no_type", "Error", 422);
            assert!(message.contains(r#""loc":["body","type"]"#), "{message}");
            said.raised("wrong_key", "Error", 401);

            let mut rows = Rows::of(stack, key.project).await?;
            let of_ada = json!({"rater": "ada"});
            let again = with(&text("bad", 0.into()), &json!({"created_at": GIVEN}));
            take(&mut rows, ("data_1", "rating"), &with(&again, &of_ada));
            let corrected = json!({"correction": "très bien"});
            take(
                &mut rows,
                ("data_1", "correction"),
                &with(&corrected, &of_ada),
            );
            rows.end();
        }
        Ok(())
    })
}

/// When the rating was given that is given again.
const GIVEN: &str = "2024-05-05T01:02:03.000004Z";

/// Runs a client of a later generation in these ways, each with a base URL.
fn python(version: &str, class: &str, ways: [(&str, &str); 2]) -> Result<()> {
    let client = Client::python("humanloop", version)?;
    let takes_any_value = version.starts_with("0.7");
    against_keys(["one", "other"], async |stack, keys| {
        for (key, (kind, path)) in keys.iter().zip(ways) {
            let base = format!("{}{path}", stack.api.base());
            let arguments = [kind, &base, &key.secret, WRONG_KEY, PROVIDER_KEY];
            let said = client.run(stack, &arguments).await?;
            check_answers(&said, class);
            check_rows(stack, key, takes_any_value).await?;
        }
        keeps_no_secret(stack).await
    })
}

fn check_answers(said: &Said, class: &str) {
    for (call, kind, value) in [
        ("rating", "rating", json!("good")),
        ("rating_again", "rating", json!("bad")),
        ("correction", "correction", json!("très bien")),
        ("copied", "action", json!("copy")),
        ("custom", "mood", json!("calm")),
        ("unset", "comment", Value::Null),
    ] {
        let answer = said.returned(call);
        assert_eq!(
            (&answer["type"], &answer["value"]),
            (&json!(kind), &value),
            "{call}"
        );
        assert_eq!(
            (&answer["data_id"], &answer["user"]),
            (&json!("data_1"), &json!("ada"))
        );
        check_id(answer);
    }
    let id = |call| &said.returned(call)["id"];
    assert_eq!(id("rating"), id("rating_again"));
    assert_eq!(id("comment"), id("unset"));
    assert_eq!(id("regenerated"), id("regenerated_again"));
    assert_ne!(id("copied"), id("regenerated"));
    assert_ne!(id("rating"), id("rating_of_another"));
    let several = said.returned("several").as_array().expect("a list");
    assert_eq!(several.len(), 2);
    several.iter().for_each(check_id);

    // What a client says of the body, if anything, is its own affair.
    said.raised("no_value", class, 422);
    said.raised("no_data_id", class, 422);
    let text = said.raised("wrong_key", class, 401);
    assert!(!text.contains(WRONG_KEY), "{text}");
}

async fn check_rows(stack: &Stack, key: &Key, takes_any_value: bool) -> Result<()> {
    let mut rows = Rows::of(stack, key.project).await?;
    let mut of = |rater: &str, of: (&str, &str), others: &Value| {
        take_of(&mut rows, rater, of, others);
    };
    // The comment is not there: it was unset.
    let again = with(&text("bad", 0.into()), &json!({"created_at": GIVEN}));
    of("ada", ("data_1", "rating"), &again);
    of("bob", ("data_1", "rating"), &text("good", 1.into()));
    of("", ("data_1", "rating"), &text("good", 1.into()));
    of(
        "ada",
        ("data_1", "correction"),
        &json!({"correction": "très bien"}),
    );
    of("ada", ("data_1", "mood"), &text("calm", Value::Null));
    of("", ("data_2", "rating"), &text("bad", 0.into()));
    of(
        "",
        ("data_2", "correction"),
        &json!({"correction": "better"}),
    );
    if takes_any_value {
        let yes = json!({"value_type": "bool", "value": true, "score": 1});
        of("", ("data_1", "fluent"), &yes);
        let stars = json!({"value_type": "float", "value": 4.5, "score": 4.5});
        of("", ("data_1", "stars"), &stars);
        let words = json!({"value_type": "json", "value": ["slow", "rude"]});
        of("", ("data_1", "issues"), &words);
    }
    for action in ["copy", "regenerate"] {
        let these = json!({"metric": "action", "value": action});
        let on = json!({
            "trace_id": "data_1", "target_kind": "datapoint", "target_id": "data_1", "dialect": "humanloop",
            "rater": "ada", "value_type": "text",
        });
        rows.take(&these, &on);
    }
    rows.end();
    Ok(())
}

/// The keys that clients send along are in no table, no topic and no log.
async fn keeps_no_secret(stack: &Stack) -> Result<()> {
    stack.settled().await?;
    let tables = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
        .replace("currentDatabase()", &format!("'{}'", stack.db.name()));
    let mut looked_at = 0;
    for table in stack.db.rows(&tables).await? {
        let table = table["name"].as_str().unwrap_or_default();
        let sql = format!(
            "SELECT count() AS rows, countIf(position(toString(tuple(*)), '{PROVIDER_KEY}') > 0) AS secrets FROM {{db}}.{table}"
        );
        let found = &stack.db.rows(&sql).await?[0];
        assert_eq!(found["secrets"], 0, "{table}");
        looked_at += found["rows"].as_u64().unwrap_or_default();
    }
    assert!(looked_at > 0, "no table has a row");

    let contents: Vec<String> = stack
        .contents()
        .await?
        .iter()
        .map(|content| String::from_utf8_lossy(content).into_owned())
        .collect();
    // What is not secret is there to be found.
    assert!(contents.iter().any(|content| content.contains("data_1")));
    for content in contents {
        assert!(!content.contains(PROVIDER_KEY), "{content}");
    }
    for log in [&stack.log, Log::of_process()] {
        assert!(!log.has(PROVIDER_KEY), "{}", log.text());
    }
    Ok(())
}

fn take(rows: &mut Rows, of: (&str, &str), others: &Value) {
    let rater = others["rater"].as_str().unwrap_or_default();
    take_of(rows, rater, of, others);
}

fn take_of(rows: &mut Rows, rater: &str, (data_id, metric): (&str, &str), others: &Value) {
    let these = json!({"trace_id": data_id, "metric": metric, "rater": rater});
    let always = json!({"target_kind": "datapoint", "target_id": data_id, "dialect": "humanloop"});
    rows.take(&these, &with(&always, others));
}

fn text(value: &str, score: Value) -> Value {
    json!({"value_type": "text", "value": value, "score": score})
}

fn check_id(answer: &Value) {
    let id = answer["id"].as_str().unwrap_or_default();
    assert!(id.starts_with("ann_"), "{answer:#}");
}
