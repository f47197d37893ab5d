//! What of the feedback that the drivers give has to be stored.

use anyhow::Result;
use serde_json::{Value, json};
use support::Stack;

use super::{EXPERIMENT, GROUP, JUDGE, LISTED, PROJECT, RATED, RUN, Release, TRACE, TWICE, WHOLE};
use crate::client::Said;
use crate::site::{Key, Rows, with};

/// What was said by tokens.
pub(super) fn take_tokens(rows: &mut Rows, said: &Said) {
    let said_once = json!({"value_type": "int", "value": 1, "score": 1, "comment": "c"});
    let tagged = json!({"tags": {"m": "1"}, "source_info": {"m": "1"}});
    let by_url = json!({"value_type": "text", "value": "good"});
    for (metric, token, others) in [
        ("by_token", "token", with(&said_once, &tagged)),
        ("by_url", "token_of_url", by_url),
        ("by_browser", "token_for_browser", said_once),
    ] {
        take_token(rows, metric, &said.returned(token)["id"], &others);
    }
}

fn take_token(rows: &mut Rows, metric: &str, id: &Value, others: &Value) {
    let these = json!({"metric": metric, "id": id});
    // How long the token held is kept beside it, in the dialect's own words.
    let metadata = metadata(rows.find(&these));
    assert!(metadata["presigned"].is_object(), "{metadata:#}");
    let others = with(others, &json!({"metadata": metadata}));
    rows.take(&these, &with(&on(RATED, RATED), &others));
}

/// Everything that the sync client of a release gave and did not take back.
///
/// # Errors
/// When it is not visible.
pub(super) async fn check_rows(
    stack: &Stack,
    key: &Key,
    said: &Said,
    release: Release,
) -> Result<()> {
    let mut rows = Rows::of(stack, key.project).await?;
    take_tokens(&mut rows, said);
    let eager = json!({"value_type": "int", "value": 1, "score": 1});
    rows.take(
        &json!({"metric": "eager"}),
        &with(&on(RATED, RATED), &eager),
    );
    let located = if release.names_project {
        json!({"session_id": PROJECT, "metadata": {"extend_trace_retention": true}})
    } else {
        json!({})
    };
    let mut take = |metric: &str, run: &str, others: Value| {
        let these = json!({"metric": metric, "target_id": run, "value": others["value"]});
        let row = with(&with(&on(run, run), &located), &others);
        rows.take(&these, &row);
    };
    let number = |n: i64| json!({"value_type": "int", "value": n, "score": n});
    take(
        "thumb",
        RUN,
        json!({"value_type": "bool", "value": true, "score": 1}),
    );
    take("one", RUN, number(1));
    take("words", RUN, json!({"value_type": "text", "value": "good"}));
    take("unnamed", RUN, number(0));
    let comment = if release.names_project { "" } else { "c" };
    take(
        "twice",
        RUN,
        with(&number(1), &json!({"id": TWICE, "comment": comment})),
    );
    let preferred = json!({"group_id": GROUP, "experiment_id": EXPERIMENT});
    take("preferred", RUN, with(&number(1), &preferred));
    take("preferred", TRACE, with(&number(0), &preferred));
    for score in 0..3 {
        take("listed", LISTED, number(score));
    }
    let config = json!({"type": "continuous", "min": 0.0, "max": 5.0, "categories": null});
    let summary = json!({
        "target_kind": "project", "session_id": PROJECT, "value_type": "float", "value": 0.75, "score": 0.75,
    });
    take("summary", PROJECT, summary);
    let metadata = metadata(rows.find(&json!({"metric": "depth"})));
    for name in ["type", "min", "max"] {
        let shown = &metadata["feedback_config"][name];
        let same = *shown == config[name]
            || shown
                .as_f64()
                .is_some_and(|n| Some(n) == config[name].as_f64());
        assert!(same, "{metadata:#}");
    }
    let depth = with(&number(3), &json!({"metadata": metadata}));
    rows.take(
        &json!({"metric": "depth"}),
        &with(&with(&on(RUN, RUN), &located), &depth),
    );
    let mut metadata = json!({"extra": {"lang": "fr", "n": 2}, "error": false});
    if release.names_project {
        let more = json!({"start_time": "2024-05-05T01:02:03", "extend_trace_retention": false});
        metadata = with(&metadata, &more);
    }
    let whole = json!({
        "metric": "correctness", "value_type": "json", "value": {"label": "ok"}, "score": 0.1235, "comment": "très bien",
        "correction": {"answer": "42"}, "tags": {"lang": "fr", "model": "judge-1"}, "source_kind": "model",
        "source_info": {"model": "judge-1", "n": 1, "__run": {"run_id": JUDGE}}, "source_run_id": JUDGE,
        "group_id": GROUP, "experiment_id": EXPERIMENT, "metadata": metadata,
        "session_id": if release.names_project { PROJECT } else { "" },
    });
    rows.take(&json!({"id": WHOLE}), &with(&on(TRACE, RUN), &whole));
    rows.end();
    Ok(())
}

/// Everything that the JavaScript client gave and did not take back.
pub(super) fn check_rows_of_javascript(mut rows: Rows, said: &Said) {
    let said_once = json!({"value_type": "int", "value": 1, "score": 1, "comment": "c"});
    take_token(
        &mut rows,
        "by_browser",
        &said.returned("token")["id"],
        &said_once,
    );
    let located = json!({"session_id": PROJECT});
    let mut take = |metric: &str, on: Value, others: &Value| {
        rows.take(
            &json!({"metric": metric}),
            &with(&with(&on, &located), others),
        );
    };
    let whole = json!({
        "id": WHOLE, "value_type": "json", "value": {"label": "ok"}, "score": 0.5, "correction": {"answer": "42"},
        "tags": {"model": "judge-1"}, "source_kind": "model", "source_run_id": JUDGE, "experiment_id": EXPERIMENT,
        "source_info": {"model": "judge-1", "n": 1, "__run": {"run_id": JUDGE}},
        "metadata": {"feedbackConfig": {"type": "continuous", "min": 0, "max": 1}, "start_time": 1_714_870_923_000_u64},
    });
    take("correctness", on(TRACE, RUN), &whole);
    let thumb = json!({"value_type": "bool", "value": true, "score": 1});
    take("thumb", on(RUN, RUN), &thumb);
    let words = json!({"value_type": "json", "value": ["good", "short"]});
    take("words", on(RUN, RUN), &words);
    let summary =
        json!({"target_kind": "project", "value_type": "float", "value": 0.75, "score": 0.75});
    take("summary", on(PROJECT, PROJECT), &summary);
    rows.end();
}

fn metadata(row: &Value) -> Value {
    let text = row["metadata"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no metadata: {row:#}"))
}

/// The columns of feedback on a run of a trace.
fn on(trace: &str, run: &str) -> Value {
    json!({"trace_id": trace, "target_kind": "run", "target_id": run, "dialect": "langsmith"})
}
