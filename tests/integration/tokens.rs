//! Feedback without a key, by a signed token; metrics declared while all runs.

use anyhow::Result;
use reqwest::Method;
use reqwest::header::{CONTENT_SECURITY_POLICY, ORIGIN};
use serde_json::json;
use support::{Answer, Api, Options, Process, run, wait_until};

async fn ask(api: &Api, method: Method, path: &str, kind: &str, body: &str) -> Result<Answer> {
    let request = api.request(method, path).header(ORIGIN, "https://app.test");
    let request = request.header("content-type", kind).body(body.to_owned());
    api.send(request).await
}

#[test]
fn p3_a_token_makes_one_feedback_however_often_and_from_wherever_it_is_used() -> Result<()> {
    run(Options::default(), async |stack| {
        let grant = json!({"trace_id": "t-1", "metric": "helpful", "rater": "ada"});
        let minted = stack.api.post("/v1/tokens", &grant).await?;
        assert_eq!(minted.status, 200, "{}", minted.text);
        let token = minted.at("/token").as_str().unwrap_or_default().to_owned();
        let path = format!("/v1/tokens/{token}");

        // What a scanner of links does.
        let page = ask(
            &stack.api,
            Method::GET,
            &format!("{path}?value=true"),
            "",
            "",
        )
        .await?;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("<form"), "{}", page.text);
        assert!(page.headers.contains_key(CONTENT_SECURITY_POLICY));
        // What a browser asks before it sends JSON.
        let preflight = ask(&stack.api, Method::OPTIONS, &path, "", "").await?;
        assert_eq!(preflight.headers["access-control-allow-origin"], "*");
        stack.settled().await?;
        assert_eq!(
            stack.db.number("SELECT count() FROM {db}.feedback").await?,
            0
        );

        for (kind, body) in [
            ("text/plain;charset=UTF-8", r#"{"value":true}"#),
            ("application/json", r#"{"value":true,"comment":"c"}"#),
            ("application/x-www-form-urlencoded", "value=false&comment=d"),
        ] {
            let said = ask(&stack.api, Method::POST, &path, kind, body).await?;
            assert_eq!(said.status, 200, "{kind}: {}", said.text);
        }
        stack.settled().await?;
        let rows = stack
            .db
            .rows(
                "SELECT toString(id) AS id, trace_id, metric, value, comment, rater \
                 FROM {db}.feedback_current",
            )
            .await?;
        let expected = json!({"id": minted.at("/id"), "trace_id": "t-1", "metric": "helpful",
            "value": "false", "comment": "d", "rater": "ada"});
        assert_eq!(rows, [expected]);

        let other = format!("{path}x");
        let refused = ask(&stack.api, Method::POST, &other, "text/plain", "{}").await?;
        assert_eq!(refused.status, 401, "{}", refused.text);
        Ok(())
    })
}

#[test]
fn a_metric_that_is_declared_reaches_every_intake_and_the_next_one_too() -> Result<()> {
    run(Options::default(), async |stack| {
        let first = Process::start("intake", &stack.settings()).await?;
        let declaration = json!({"type": "integer", "min": 1, "max": 5});
        let declare = stack.api.request(Method::PUT, "/v1/metrics/stars");
        let declared = stack.api.send(declare.json(&declaration)).await?;
        assert_eq!(declared.status, 200, "{}", declared.text);

        let event = json!({"trace_id": "t", "metric": "stars", "value": 9});
        let own = stack.api.feedback(&event).await?;
        assert_eq!(own.at("/items/0/error/code"), "out_of_range");
        // It reads of it a moment later.
        wait_until("the other intake refuses it", async || {
            Ok(first.api.post("/v1/feedback", &event).await?.status == 400)
        })
        .await?;
        let later = Process::start("intake", &stack.settings()).await?;
        let refused = later.api.post("/v1/feedback", &event).await?;
        assert_eq!(refused.at("/items/0/error/code"), "out_of_range");

        let take_back = stack.api.request(Method::DELETE, "/v1/metrics/stars");
        assert_eq!(stack.api.send(take_back).await?.status, 204);
        assert_eq!(stack.api.feedback(&event).await?.status, 200);
        wait_until("the other intake takes it", async || {
            Ok(later.api.post("/v1/feedback", &event).await?.status == 200)
        })
        .await?;
        first.stop().await?;
        later.stop().await?;
        Ok(())
    })
}
