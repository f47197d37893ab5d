//! Keys: who may write and read what (P7).

use std::path::Path;

use anyhow::Result;
use plaudit_service::{AuthConfig, AuthMode, Keyring, Scope};
use serde_json::{Value, json};
use support::{Options, run};

/// Options with a key file, and a key for each (project, scopes).
fn with_keys<const N: usize>(
    file: &Path,
    keys: [(&str, &[Scope]); N],
) -> Result<(Options, [String; N])> {
    let mut made = [const { String::new() }; N];
    for (text, (project, scopes)) in made.iter_mut().zip(keys) {
        let key = Keyring::create_key(file, project, scopes, None, None)?;
        key.secret.expose().clone_into(text);
    }
    let options = Options {
        auth: AuthConfig {
            mode: AuthMode::Keys,
            keys_file: Some(file.to_owned()),
            ..AuthConfig::default()
        },
        ..Options::default()
    };
    Ok((options, made))
}

fn thumb(trace: &str) -> Value {
    json!({"trace_id": trace, "metric": "helpful", "value": true})
}

#[test]
fn p7_a_key_reads_and_writes_its_own_project_only() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let both: &[Scope] = &[Scope::Write, Scope::Read];
    let (options, [ada, bob]) = with_keys(
        &directory.path().join("keys"),
        [("ada", both), ("bob", both)],
    )?;
    run(options, async |stack| {
        let (ada, bob) = (stack.api.with_key(&ada), stack.api.with_key(&bob));
        // One trace and one id in both projects: two feedbacks.
        let mut body = thumb("shared");
        body["id"] = json!(uuid::Uuid::new_v4());
        body["rater"] = json!("ada");
        assert_eq!(ada.feedback(&body).await?.states(), ["visible"]);
        body["rater"] = json!("bob");
        assert_eq!(bob.feedback(&body).await?.states(), ["visible"]);
        let id = body["id"].as_str().unwrap();
        for (api, own) in [(&ada, "ada"), (&bob, "bob")] {
            assert_eq!(
                api.get(&format!("/v1/feedback/{id}")).await?.at("/rater"),
                own
            );
            let paths = [
                "/v1/feedback",
                "/v1/feedback?trace_id=shared",
                "/v1/traces/shared/feedback",
            ];
            for path in paths {
                let answer = api.get(path).await?;
                let items = answer
                    .at("/items")
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let raters: Vec<_> = items.iter().map(|item| &item["rater"]).collect();
                assert_eq!(raters, [own], "{path}: {}", answer.text);
            }
            assert_eq!(api.get("/v1/metrics/helpful").await?.at("/count"), 1);
        }
        // Nor does a change reach over.
        let retract = json!({"operation": "retract", "id": id});
        assert_eq!(bob.feedback(&retract).await?.states(), ["visible"]);
        assert_eq!(ada.get(&format!("/v1/feedback/{id}")).await?.status, 200);
        assert_eq!(bob.get(&format!("/v1/feedback/{id}")).await?.status, 404);
        Ok(())
    })
}

#[test]
fn p7_a_key_that_is_wrong_or_lacks_a_scope_is_turned_away() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let keys: [(&str, &[Scope]); 2] = [("p", &[Scope::Write]), ("p", &[Scope::Read])];
    let (options, [writer, reader]) = with_keys(&directory.path().join("keys"), keys)?;
    run(options, async |stack| {
        let wrong = "pl_0123456789abcdef_wrong";
        for (api, status, code) in [
            (stack.api.clone(), 401, "unauthorized"),
            (stack.api.with_key(wrong), 401, "unauthorized"),
            (
                stack.api.with_key(writer.split_at(writer.len() - 1).0),
                401,
                "unauthorized",
            ),
            (stack.api.with_key(&reader), 403, "forbidden"),
        ] {
            let answer = api.post("/v1/feedback", &thumb("t")).await?;
            assert_eq!(
                (answer.status, answer.at("/error/code")),
                (status, &json!(code)),
                "{}",
                answer.text
            );
            assert!(!answer.text.contains(wrong) && !answer.text.contains(&writer));
        }
        let writer_api = stack.api.with_key(&writer);
        let answer = writer_api.post("/v1/feedback", &thumb("t")).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        stack.settled().await?;
        // Who may write may ask what became of it, and nothing else.
        let receipt = answer.receipt(0)?;
        assert_eq!(
            writer_api
                .get(&format!("/v1/receipts/{receipt}"))
                .await?
                .at("/state"),
            "visible"
        );
        assert_eq!(writer_api.get("/v1/feedback").await?.status, 403);
        assert_eq!(
            stack
                .api
                .with_key(&reader)
                .get("/v1/feedback")
                .await?
                .status,
            200
        );
        for key in [wrong, &writer, &reader] {
            assert!(!stack.log.text().contains(key), "a key in the log");
        }
        Ok(())
    })
}

#[test]
fn p8_every_header_that_a_vendors_client_uses_carries_a_key() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let scopes: &[Scope] = &[Scope::Write, Scope::Read];
    let (options, [key]) = with_keys(&directory.path().join("keys"), [("p", scopes)])?;
    run(options, async |stack| {
        for (header, text) in [
            ("authorization", format!("Bearer {key}")),
            ("x-api-key", key.clone()),
            ("x-portkey-api-key", key.clone()),
        ] {
            let request = stack
                .api
                .request(reqwest::Method::POST, "/portkey/v1/feedback");
            let request = request
                .header(header, text)
                .header("content-type", "application/json");
            let answer = stack
                .api
                .send(request.body(r#"{"trace_id":"t","value":1}"#))
                .await?;
            assert_eq!(answer.status, 200, "{header}: {}", answer.text);
        }
        Ok(())
    })
}
