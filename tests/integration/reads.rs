//! The read API: filters, pages, means.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use support::{Answer, Options, Stack, run};

fn ids(answer: &Answer) -> Vec<String> {
    let items = answer
        .at("/items")
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item["id"].as_str())
        .map(str::to_owned)
        .collect()
}

/// Follows the cursor to the end.
async fn all_pages(stack: &Stack, path: &str) -> Result<Vec<Vec<String>>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = stack.api.get(&format!("{path}{cursor}")).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        pages.push(ids(&answer));
        match answer.at("/next_cursor").as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(pages),
        }
    }
}

#[test]
fn p3_pages_have_every_feedback_once_in_order() -> Result<()> {
    run(Options::default(), async |stack| {
        let item = |n: usize| json!({"trace_id": format!("t-{}", n % 7), "metric": format!("m-{}", n % 3), "value": n});
        let sent = stack.api.feedback(&(0..57).map(item).collect()).await?;
        assert_eq!(sent.status, 200, "{}", sent.text);
        let all: BTreeSet<String> = (0..57).map(|n| sent.id(n)).collect::<Result<_>>()?;
        for (path, expected) in [
            ("/v1/feedback?limit=10", 57),
            ("/v1/feedback?metric=m-1&limit=10", 19),
            ("/v1/feedback?trace_id=t-3&limit=3", 8),
        ] {
            let pages = all_pages(stack, path).await?;
            let flat: Vec<String> = pages.concat();
            let distinct: BTreeSet<String> = flat.iter().cloned().collect();
            assert_eq!((flat.len(), distinct.len()), (expected, expected), "{path}");
            assert!(distinct.is_subset(&all));
        }
        assert_eq!(all_pages(stack, "/v1/feedback?limit=1000").await?.len(), 1);
        Ok(())
    })
}

#[test]
fn a_page_does_not_move_when_feedback_is_added_behind_it() -> Result<()> {
    run(Options::default(), async |stack| {
        let item = |n: usize| json!({"trace_id": "t", "metric": "m", "value": n});
        let first: BTreeSet<String> = {
            let sent = stack.api.feedback(&(0..20).map(item).collect()).await?;
            (0..20).map(|n| sent.id(n)).collect::<Result<_>>()?
        };
        let page = stack.api.get("/v1/feedback?limit=8").await?;
        stack.api.feedback(&(20..30).map(item).collect()).await?;
        let mut seen: BTreeSet<String> = ids(&page).into_iter().collect();
        let mut next = page
            .at("/next_cursor")
            .as_str()
            .context("no next page")?
            .to_owned();
        loop {
            let page = stack
                .api
                .get(&format!("/v1/feedback?limit=8&cursor={next}"))
                .await?;
            for id in ids(&page) {
                assert!(seen.insert(id.clone()), "{id} twice");
            }
            match page.at("/next_cursor").as_str() {
                Some(cursor) => next = cursor.to_owned(),
                None => break,
            }
        }
        assert!(first.is_subset(&seen), "none that was there is missed");
        Ok(())
    })
}

#[test]
fn every_filter_finds_its_own_and_nothing_else() -> Result<()> {
    run(Options::default(), async |stack| {
        let found = json!({"trace_id": "t-1", "metric": "m-1", "value": 1, "rater": "ada", "session_id": "s-1",
            "experiment_id": "e-1", "group_id": "g-1", "target": {"kind": "run", "id": "r-1"},
            "tags": {"env": "prod", "model": "a b"}});
        let other =
            json!({"trace_id": "t-2", "metric": "m-2", "value": 1, "tags": {"env": "test"}});
        let sent = stack.api.feedback(&json!([found, other])).await?;
        let id = sent.id(0)?;
        for filter in [
            "trace_id=t-1",
            "metric=m-1",
            "rater=ada",
            "session_id=s-1",
            "experiment_id=e-1",
            "group_id=g-1",
            "target=r-1",
            "target=run:r-1",
            "tag.env=prod",
            "tag.env=prod&tag.model=a+b",
            "metric=m-1&tag.env=prod&rater=ada",
        ] {
            let answer = stack.api.get(&format!("/v1/feedback?{filter}")).await?;
            assert_eq!(ids(&answer), [id.as_str()], "{filter}: {}", answer.text);
        }
        for (filter, count) in [
            ("dialect=native", 2),
            ("dialect=portkey", 0),
            ("tag.env=prod&metric=m-2", 0),
            ("to=2020-01-01T00:00:00Z", 0),
            ("from=2020-01-01T00:00:00Z", 2),
        ] {
            let answer = stack.api.get(&format!("/v1/feedback?{filter}")).await?;
            assert_eq!(ids(&answer).len(), count, "{filter}: {}", answer.text);
        }
        Ok(())
    })
}

#[test]
fn a_feedback_that_moved_is_found_where_it_is_now_only() -> Result<()> {
    run(Options::default(), async |stack| {
        let mut body =
            json!({"trace_id": "t", "metric": "old", "value": 1, "tags": {"env": "test"}});
        let id = stack.api.feedback(&body).await?.id(0)?;
        body["id"] = json!(id);
        body["metric"] = json!("new");
        body["tags"] = json!({"env": "prod"});
        stack.api.feedback(&body).await?;
        for (filter, count) in [
            ("metric=old", 0),
            ("metric=new", 1),
            ("tag.env=test", 0),
            ("tag.env=prod", 1),
        ] {
            let answer = stack.api.get(&format!("/v1/feedback?{filter}")).await?;
            assert_eq!(ids(&answer).len(), count, "{filter}");
        }
        let metrics = stack.api.get("/v1/metrics").await?;
        assert_eq!(metrics.status, 200, "{}", metrics.text);
        let names: Vec<&Value> = metrics
            .at("/metrics")
            .as_array()
            .unwrap()
            .iter()
            .map(|item| &item["metric"])
            .collect();
        assert_eq!(names, ["new"]);
        Ok(())
    })
}

#[test]
fn a_trace_has_the_weighted_mean_of_each_metric() -> Result<()> {
    run(Options::default(), async |stack| {
        let item = |metric: &str, value: Value, weight: f64| json!({"trace_id": "t", "metric": metric, "value": value, "weight": weight});
        let items = json!([
            item("stars", json!(5), 1.0),
            item("stars", json!(1), 0.25),
            item("stars", json!(3), 0.75),
            item("helpful", json!(true), 0.5),
            item("tone", json!("warm"), 1.0),
        ]);
        assert_eq!(stack.api.feedback(&items).await?.status, 200);
        let trace = stack.api.get("/v1/traces/t/feedback").await?;
        assert_eq!(trace.at("/trace_id"), "t");
        assert_eq!(ids(&trace).len(), 5);
        let metrics = trace.at("/metrics").as_array().unwrap();
        let of = |name: &str| {
            metrics
                .iter()
                .find(|metric| metric["metric"] == name)
                .unwrap()
        };
        assert_eq!(
            (&of("stars")["count"], of("stars")["mean"].as_f64()),
            (&json!(3), Some(3.0))
        );
        assert_eq!(of("stars")["weighted_mean"].as_f64(), Some(3.75));
        assert_eq!(of("helpful")["weighted_mean"].as_f64(), Some(1.0));
        assert_eq!(of("tone")["weighted_mean"], Value::Null);

        let summary = stack.api.get("/v1/metrics/stars").await?;
        assert_eq!(
            (summary.at("/count"), summary.at("/weighted_mean").as_f64()),
            (&json!(3), Some(3.75))
        );
        assert_eq!(
            stack
                .api
                .get("/v1/traces/nobody/feedback")
                .await?
                .at("/items"),
            &json!([])
        );
        Ok(())
    })
}

#[test]
fn a_parameter_that_is_wrong_is_named() -> Result<()> {
    run(Options::default(), async |stack| {
        for (path, field) in [
            ("/v1/feedback?limit=0", "limit"),
            ("/v1/feedback?limit=x", "limit"),
            ("/v1/feedback?cursor=x", "cursor"),
            ("/v1/feedback?nonsense=1", "nonsense"),
            ("/v1/feedback?from=yesterday", "from"),
            ("/v1/feedback?dialect=klingon", "dialect"),
            ("/v1/feedback/not-an-id", "id"),
            ("/v1/metrics/m?by=env", "by"),
            ("/v1/receipts/nonsense", "receipt"),
        ] {
            let answer = stack.api.get(path).await?;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text);
            assert_eq!(
                (answer.at("/error/code"), answer.at("/error/field")),
                (&json!("invalid_parameter"), &json!(field)),
                "{path}"
            );
        }
        let openapi = stack.api.get("/openapi.json").await?;
        assert_eq!(openapi.status, 200);
        assert!(
            openapi
                .at("/paths")
                .as_object()
                .is_some_and(|paths| paths.contains_key("/v1/feedback"))
        );
        Ok(())
    })
}
