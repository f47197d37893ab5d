//! Portkey: `portkey-ai` for Python, both clients of it, and for JavaScript.

use anyhow::Result;
use serde_json::json;
use support::Stack;

use crate::client::{Client, Said};
use crate::site::{Key, Rows, WRONG_KEY, against_keys, with};

#[test]
fn p8_the_python_clients_work_unmodified() -> Result<()> {
    let client = Client::python("portkey", "2.3.4")?;
    against_keys(["sync", "async"], async |stack, [sync, other]| {
        let origin = stack.api.base();
        let (prefixed, root) = (format!("{origin}/portkey/v1"), format!("{origin}/v1"));
        tokio::try_join!(
            async {
                let arguments = ["sync", &prefixed, &sync.secret, WRONG_KEY];
                check(stack, &sync, &client.run(stack, &arguments).await?).await
            },
            async {
                let arguments = ["async", &root, &other.secret, WRONG_KEY];
                check(stack, &other, &client.run(stack, &arguments).await?).await
            },
        )?;
        Ok(())
    })
}

#[test]
fn p8_the_javascript_client_works_unmodified() -> Result<()> {
    let client = Client::javascript("portkey", "3.1.0")?;
    against_keys(["prefixed", "root"], async |stack, keys| {
        // With a slash behind it, this client asks for `/v1//feedback`.
        for (key, path) in keys.iter().zip(["/portkey/v1", "/v1/"]) {
            let base = format!("{}{path}", stack.api.base());
            let said = client.run(stack, &[&base, &key.secret, WRONG_KEY]).await?;
            check(stack, key, &said).await?;
        }
        Ok(())
    })
}

/// What a driver in any language has to have got, and what has to be stored then.
async fn check(stack: &Stack, key: &Key, said: &Said) -> Result<()> {
    for (call, ids, message) in [
        ("create", 1, "Feedback successfully saved"),
        ("bulk", 2, "Feedback successfully saved"),
        ("changed", 1, "Feedback successfully saved"),
        ("update", 1, "Feedback successfully updated"),
    ] {
        let answer = said.returned(call);
        assert_eq!(answer["status"], "success", "{call}");
        assert_eq!(answer["message"], message, "{call}");
        let count = answer["feedback_ids"].as_array().map(Vec::len);
        assert_eq!(count, Some(ids), "{call}");
    }
    let [changed, updated] = ["changed", "update"].map(|call| id(said, call, 0));
    assert_eq!(changed, updated);

    for (call, class, status, field) in [
        ("bad_value", "BadRequestError", 400, "value"),
        ("no_trace", "BadRequestError", 400, "trace_id"),
        ("bad_bulk", "BadRequestError", 400, "[1].value"),
        ("lost_id", "BadRequestError", 400, "feedback_id"),
        ("wrong_key", "AuthenticationError", 401, "key"),
    ] {
        let text = said.raised(call, class, status);
        assert!(text.contains(field), "{call}: {text}");
        assert!(!text.contains(WRONG_KEY), "{call}: {text}");
    }
    stored(stack, key, said).await
}

async fn stored(stack: &Stack, key: &Key, said: &Said) -> Result<()> {
    let mut rows = Rows::of(stack, key.project).await?;
    let feedback = |trace: &str, value: i64| {
        json!({
            "trace_id": trace, "target_kind": "trace", "target_id": trace, "metric": "feedback", "dialect": "portkey",
            "value_type": "int", "value": value, "score": value,
        })
    };

    let created = json!({"id": id(said, "create", 0)});
    let sent =
        json!({"_user": "ada", "_prompt": "p-1", "text": "très bien", "nested": {"k": [1, null]}});
    let more = json!({
        "weight": 0.5, "rater": "ada", "tags": {"_user": "ada", "_prompt": "p-1", "text": "très bien"}, "metadata": sent,
    });
    rows.take(&created, &with(&feedback("trace-1", 5), &more));
    // An update without a weight keeps it.
    let changed = json!({"id": id(said, "changed", 0)});
    let more = json!({"weight": 0.5, "rater": "bob", "tags": {"_user": "bob"}, "metadata": {"_user": "bob"}});
    rows.take(&changed, &with(&feedback("trace-3", -3), &more));
    let plain = json!({"id": id(said, "bulk", 0)});
    rows.take(&plain, &feedback("trace-1", 1));
    let weighted = json!({"id": id(said, "bulk", 1)});
    let more = json!({"weight": 0.25, "tags": {"env": "prod"}, "metadata": {"env": "prod"}});
    rows.take(&weighted, &with(&feedback("trace-2", -10), &more));
    rows.end();
    Ok(())
}

fn id<'s>(said: &'s Said, call: &str, item: usize) -> &'s str {
    let id = said.returned(call)["feedback_ids"][item].as_str();
    id.unwrap_or_else(|| panic!("{call} has no id {item}"))
}
