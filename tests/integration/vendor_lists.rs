//! The vendors' lists, asked of a real engine by every filter that they have.

use anyhow::Result;
use serde_json::{Value, json};
use support::{Api, Options, run};

fn id(n: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{n:02}")
}

/// The last two digits of the ids of a list, in its order.
async fn listed(api: &Api, query: &str) -> Result<Vec<u8>> {
    let answer = api.get(&format!("/langsmith/feedback?{query}")).await?;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    let items = answer.json.as_array().cloned().unwrap_or_default();
    let digits = |item: &Value| {
        let id = item["id"].as_str().unwrap_or_default();
        id.get(34..).unwrap_or_default().parse().unwrap_or(0)
    };
    Ok(items.iter().map(digits).collect())
}

#[test]
fn p8_langsmiths_list_has_every_filter_of_the_api() -> Result<()> {
    run(Options::default(), async |stack| {
        let feedback = [
            json!({"id": id(1), "run_id": id(51), "trace_id": id(50), "key": "a", "score": 1,
                "created_at": "2026-01-01T00:00:00Z", "session_id": id(71), "comment": "c",
                "feedback_source": {"type": "model", "user_id": id(81)}}),
            json!({"id": id(2), "run_id": id(52), "key": "b", "value": "text",
                "created_at": "2026-01-02T00:00:00", "session_id": id(72),
                "comparative_experiment_id": id(91), "feedback_source": {"type": "app"}}),
            json!({"id": id(3), "session_id": id(73), "key": "b", "score": true,
                "created_at": "2026-01-03T00:00:00+00:00"}),
        ];
        // One after the other: the list is by receipt, newest first.
        for one in &feedback {
            let taken = stack.api.post("/langsmith/feedback", one).await?;
            assert_eq!(taken.status, 200, "{}", taken.text);
        }
        stack.settled().await?;
        for (query, expected) in [
            ("", &[3, 2, 1][..]),
            ("limit=2", &[3, 2]),
            ("limit=2&offset=2", &[1]),
            (&format!("run={}", id(51)), &[1]),
            (&format!("run={}&run={}", id(51), id(52)), &[2, 1]),
            ("key=b", &[3, 2]),
            ("key=a&key=b", &[3, 2, 1]),
            ("source=model", &[1]),
            ("source=FeedbackSourceType.API", &[3]),
            ("source=app&source=api", &[3, 2]),
            (&format!("session={}", id(72)), &[2]),
            (&format!("user={}", id(81)), &[1]),
            ("has_comment=True", &[1]),
            ("has_comment=false", &[3, 2]),
            ("has_score=false", &[2]),
            ("level=run", &[2, 1]),
            ("level=session", &[3]),
            ("min_created_at=2026-01-02T00:00:00", &[3, 2]),
            ("max_created_at=2026-01-02T00:00:00", &[2, 1]),
            (&format!("comparative_experiment_id={}", id(91)), &[2]),
        ] {
            assert_eq!(listed(&stack.api, query).await?, expected, "{query}");
        }
        let refused = stack.api.get("/langsmith/feedback?limit=101").await?;
        assert_eq!(refused.status, 422);
        assert!(refused.at("/detail").is_array(), "{}", refused.text);
        Ok(())
    })
}

#[test]
fn p8_a_vendors_read_fails_in_the_vendors_shape() -> Result<()> {
    run(Options::default(), async |stack| {
        let long = stack.api.get("/patronus/v1/feedback?limit=100000").await?;
        assert_eq!(long.status, 400, "{}", long.text);
        assert!(long.json.get("detail").is_some(), "{}", long.text);
        Ok(())
    })
}
