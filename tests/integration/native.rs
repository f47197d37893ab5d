//! The native API: what is sent is what is read back.

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use plaudit_event::Operation;
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value, json};
use std::io::Write as _;
use support::{Options, Stack, run};
use uuid::Uuid;

use crate::events;

fn thumb(trace: &str, value: bool) -> Value {
    json!({"trace_id": trace, "metric": "helpful", "value": value})
}

/// The one row that readers see.
async fn only_row(stack: &Stack) -> Result<Value> {
    let mut rows = stack.db.current().await?;
    assert_eq!(rows.len(), 1, "{rows:#?}");
    Ok(rows.remove(0))
}

#[test]
fn p1_every_field_of_a_put_is_read_back() -> Result<()> {
    run(Options::default(), async |stack| {
        let id = Uuid::new_v4().to_string();
        let sent = json!({
            "operation": "put", "id": id, "trace_id": "t-1", "target": {"kind": "run", "id": "r-1"},
            "metric": "helpful", "value": 0.75, "score": 0.5, "weight": 0.25, "comment": "c \u{1f600}",
            "correction": {"text": "better"}, "tags": {"env": "prod", "über": "ja"},
            "metadata": {"n": [1, null]}, "rater": "ada",
            "source": {"kind": "app", "info": {"page": 2}, "run_id": "s-1"}, "group_id": "g",
            "experiment_id": "e", "session_id": "s", "created_at": "2026-01-02T03:04:05.000006Z",
            "modified_at": "2026-01-02T03:04:06Z"
        });
        let answer = stack.api.feedback(&sent).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(
            (answer.at("/accepted"), answer.at("/rejected")),
            (&json!(1), &json!(0))
        );
        assert_eq!(answer.id(0)?, id);
        assert_eq!(answer.states(), ["visible"]);

        let row = only_row(stack).await?;
        let modified_us = 1_767_323_046_000_000_i64;
        let expected = json!({
            "project": "default", "trace_id": "t-1", "id": id, "version": modified_us << 12, "is_deleted": 0,
            "target_kind": "run", "target_id": "r-1", "metric": "helpful", "value_type": "float",
            "value": "0.75", "score": 0.5, "weight": 0.25, "comment": "c \u{1f600}",
            "correction": "{\"text\":\"better\"}", "tags": {"env": "prod", "über": "ja"},
            "metadata": "{\"n\":[1,null]}", "rater": "ada", "source_kind": "app",
            "source_info": "{\"page\":2}", "source_run_id": "s-1", "group_id": "g",
            "experiment_id": "e", "session_id": "s", "created_at": "2026-01-02T03:04:05.000006Z",
            "dialect": "native", "topic": stack.kafka.topic,
        });
        for (column, content) in expected.as_object().unwrap() {
            assert_eq!(&row[column], content, "{column}");
        }
        let receipt = format!(
            "{}:{}:{}",
            stack.kafka.topic, row["partition"], row["offset"]
        );
        assert_eq!(answer.receipt(0)?, receipt);

        // The same through the read API, which the intake passes on.
        let read = stack.api.get(&format!("/v1/feedback/{id}")).await?;
        assert_eq!(read.status, 200, "{}", read.text);
        for field in [
            "id",
            "trace_id",
            "target",
            "metric",
            "value",
            "score",
            "weight",
            "comment",
            "correction",
            "tags",
            "metadata",
            "rater",
            "source",
            "group_id",
            "experiment_id",
            "session_id",
            "created_at",
        ] {
            assert_eq!(read.json[field], sent[field], "{field}");
        }
        let state = stack.api.get(&format!("/v1/receipts/{receipt}")).await?;
        assert_eq!(state.json, json!({"receipt": receipt, "state": "visible"}));
        Ok(())
    })
}

#[test]
fn a_value_keeps_its_type_and_reads_as_a_score() -> Result<()> {
    run(Options::default(), async |stack| {
        let cases = [
            ("a", json!(true), "bool", json!(1.0)),
            ("b", json!(-3), "int", json!(-3.0)),
            ("c", json!(1e3), "float", json!(1000.0)),
            ("d", json!("good"), "text", Value::Null),
            ("e", json!([1, {"k": 2}]), "json", Value::Null),
        ];
        let items: Vec<Value> = cases
            .iter()
            .map(|(metric, value, ..)| json!({"trace_id": "t", "metric": metric, "value": value}))
            .collect();
        assert_eq!(
            stack.api.feedback(&Value::from(items)).await?.states(),
            ["visible"; 5]
        );
        let rows = stack.db.current().await?;
        for (row, (metric, value, kind, score)) in rows.iter().zip(&cases) {
            assert_eq!(row["metric"], *metric);
            assert_eq!(row["value_type"], *kind, "{metric}");
            let kept: Value = serde_json::from_str(row["value"].as_str().unwrap())?;
            assert_eq!(&kept, value, "{metric}");
            assert_eq!(row["score"].as_f64(), score.as_f64(), "{metric}");
        }
        Ok(())
    })
}

#[test]
fn p4_a_patch_changes_what_it_names_and_nothing_else() -> Result<()> {
    run(Options::default(), async |stack| {
        let put = json!({"trace_id": "t", "metric": "helpful", "value": true, "comment": "c", "rater": "r",
            "tags": {"k": "v"}});
        let id = stack.api.feedback(&put).await?.id(0)?;
        let patch =
            json!({"operation": "patch", "id": id, "comment": null, "value": false, "weight": 0.5});
        let answer = stack.api.feedback(&patch).await?;
        assert_eq!(answer.states(), ["visible"], "{}", answer.text);
        let row = only_row(stack).await?;
        assert_eq!((&row["value"], &row["score"]), (&json!("false"), &json!(0)));
        assert_eq!((&row["comment"], &row["weight"]), (&json!(""), &json!(0.5)));
        assert_eq!(
            (&row["rater"], &row["tags"]),
            (&json!("r"), &json!({"k": "v"}))
        );
        let read = stack.api.get(&format!("/v1/feedback/{id}")).await?;
        assert_eq!(read.json["changes"], 1);
        Ok(())
    })
}

#[test]
fn p4_a_retracted_feedback_is_never_revived() -> Result<()> {
    run(Options::default(), async |stack| {
        let id = stack.api.feedback(&thumb("t", true)).await?.id(0)?;
        let retract = json!({"operation": "retract", "id": id});
        assert_eq!(stack.api.feedback(&retract).await?.states(), ["visible"]);
        assert_eq!(stack.db.current().await?, Vec::<Value>::new());
        let mut again = thumb("t", false);
        again["id"] = json!(id);
        assert_eq!(stack.api.feedback(&again).await?.status, 200);
        let patch = json!({"operation": "patch", "id": id, "comment": "late"});
        assert_eq!(stack.api.feedback(&patch).await?.status, 200);
        assert_eq!(stack.db.current().await?, Vec::<Value>::new());
        assert_eq!(
            stack.api.get(&format!("/v1/feedback/{id}")).await?.status,
            404
        );
        Ok(())
    })
}

#[test]
fn p4_a_withdrawn_feedback_is_reopened_by_a_later_put_only() -> Result<()> {
    run(Options::default(), async |stack| {
        let id = Uuid::now_v7();
        let time = |later| plaudit_event::Micros(events::now().0 + later);
        let put = |value| Operation::Put(events::feedback(id, "t", value));
        let withdraw = Operation::Withdraw(events::feedback(id, "t", 1));
        stack
            .produce(&[events::at(time(0), put(1)), events::at(time(10), withdraw)])
            .await?;
        stack.settled().await?;
        assert_eq!(stack.db.current().await?, Vec::<Value>::new());
        stack
            .produce(&[events::at(time(-1_000_000), put(2))])
            .await?;
        stack.settled().await?;
        assert_eq!(
            stack.db.current().await?,
            Vec::<Value>::new(),
            "an older put"
        );
        stack
            .produce(&[events::at(time(20_000_000), put(3))])
            .await?;
        stack.settled().await?;
        assert_eq!(only_row(stack).await?["value"], "3");
        Ok(())
    })
}

#[test]
fn p3_an_idempotency_key_makes_two_requests_one_feedback() -> Result<()> {
    run(Options::default(), async |stack| {
        let body = json!([thumb("t", true), thumb("t", false)]).to_string();
        let send = async || {
            let request = stack
                .api
                .request(Method::POST, "/v1/feedback?wait=visible&timeout_ms=30000");
            let request = request
                .header("Idempotency-Key", "k-1")
                .header(CONTENT_TYPE, "application/json");
            stack.api.send(request.body(body.clone())).await
        };
        let (first, second) = (send().await?, send().await?);
        assert_eq!(first.states(), ["visible", "visible"]);
        assert_eq!((first.id(0)?, first.id(1)?), (second.id(0)?, second.id(1)?));
        // A copy is known as one only where the sink happens to look.
        for state in second.states() {
            assert!(matches!(state, "visible" | "duplicate"), "{state}");
        }
        assert_ne!(first.receipt(0)?, second.receipt(0)?);
        assert_eq!(stack.db.current().await?.len(), 2);
        Ok(())
    })
}

#[test]
fn p3_a_rater_has_one_opinion_where_that_is_asked_for() -> Result<()> {
    run(Options::default(), async |stack| {
        for (rater, value) in [("ada", true), ("bob", true), ("ada", false)] {
            let mut body = thumb("t", value);
            body["rater"] = json!(rater);
            body["one_per_rater"] = json!(true);
            assert_eq!(stack.api.feedback(&body).await?.states(), ["visible"]);
        }
        let mut seen: Vec<_> = stack.db.current().await?;
        seen.sort_by_key(|row| row["rater"].to_string());
        let seen: Vec<_> = seen
            .iter()
            .map(|row| (&row["rater"], &row["value"]))
            .collect();
        assert_eq!(
            seen,
            [
                (&json!("ada"), &json!("false")),
                (&json!("bob"), &json!("true"))
            ]
        );
        Ok(())
    })
}

#[test]
fn content_is_never_an_identity() -> Result<()> {
    run(Options::default(), async |stack| {
        let twice = json!([thumb("t", true), thumb("t", true)]);
        assert_eq!(
            stack.api.feedback(&twice).await?.states(),
            ["visible", "visible"]
        );
        assert_eq!(stack.db.current().await?.len(), 2);
        Ok(())
    })
}

#[test]
fn p4_an_id_that_is_sent_again_is_a_new_version() -> Result<()> {
    run(Options::default(), async |stack| {
        let id = stack.api.feedback(&thumb("t", true)).await?.id(0)?;
        let mut again = thumb("t", false);
        again["id"] = json!(id);
        assert_eq!(stack.api.feedback(&again).await?.states(), ["visible"]);
        assert_eq!(only_row(stack).await?["value"], "false");
        // Under another trace it is another feedback.
        again["trace_id"] = json!("u");
        assert_eq!(stack.api.feedback(&again).await?.states(), ["visible"]);
        assert_eq!(stack.db.current().await?.len(), 2);
        Ok(())
    })
}

#[test]
fn one_bad_item_among_a_hundred_is_the_only_one_that_is_not_stored() -> Result<()> {
    run(Options::default(), async |stack| {
        let mut items: Vec<Value> = (0..100).map(|n| thumb(&format!("t-{n}"), true)).collect();
        items[41]["weight"] = json!(7);
        let answer = stack.api.feedback(&Value::from(items)).await?;
        assert_eq!(answer.status, 207);
        assert_eq!(
            (answer.at("/accepted"), answer.at("/rejected")),
            (&json!(99), &json!(1))
        );
        let bad = answer.at("/items/41");
        assert_eq!(
            (&bad["index"], &bad["status"]),
            (&json!(41), &json!("rejected"))
        );
        let error =
            json!({"code": "out_of_range", "field": "weight", "message": bad["error"]["message"]});
        assert_eq!(bad["error"], error);
        assert_eq!(stack.db.current().await?.len(), 99);
        Ok(())
    })
}

#[test]
fn lines_of_json_are_items_and_blank_lines_are_none() -> Result<()> {
    run(Options::default(), async |stack| {
        let body = format!("{}\n\n{}\n", thumb("a", true), thumb("b", true));
        let path = "/v1/feedback?wait=visible&timeout_ms=30000";
        let answer = stack
            .api
            .post_text(path, "application/x-ndjson", &body)
            .await?;
        assert_eq!(answer.states(), ["visible", "visible"], "{}", answer.text);
        assert_eq!(stack.db.current().await?.len(), 2);
        Ok(())
    })
}

#[test]
fn a_compressed_body_is_the_same_body() -> Result<()> {
    run(Options::default(), async |stack| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(thumb("t", true).to_string().as_bytes())?;
        let request = stack
            .api
            .request(Method::POST, "/v1/feedback?wait=visible&timeout_ms=30000");
        let request = request
            .header(CONTENT_ENCODING, "gzip")
            .header(CONTENT_TYPE, "application/json");
        let answer = stack.api.send(request.body(packed.finish()?)).await?;
        assert_eq!(answer.states(), ["visible"], "{}", answer.text);
        Ok(())
    })
}
