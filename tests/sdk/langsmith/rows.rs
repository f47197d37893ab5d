//! What of the feedback that the drivers give has to be stored.

use anyhow::Result;
use serde_json::{Value, json};
use support::Stack;

use super::{EXPERIMENT, GROUP, JUDGE, LISTED, PROJECT, RATED, RUN, Release, TRACE, TWICE, WHOLE};
use crate::client::Said;
use crate::site::{Key, Rows, with};

/// What was said by tokens.
pub(super) fn take_tokens(rows: &mut Rows, said: &Said) {
    for (metric, token, others) in [
        (
            "by_token",
            "token",
            json!({
                "value_type": "int", "value": 1, "score": 1, "comment": "c", "tags": {"m": "1"}, "source_info": {"m": "1"},
            }),
        ),
        (
            "by_url",
            "token_of_url",
            json!({"value_type": "text", "value": "good"}),
        ),
        (
            "by_browser",
            "token_for_browser",
            json!({
                "value_type": "int", "value": 1, "score": 1, "comment": "c",
            }),
        ),
    ] {
        // How long the token held is kept beside it, in the dialect's own words.
        let row = rows.find(&json!({"metric": metric, "id": said.returned(token)["id"]}));
        let metadata: Value = serde_json::from_str(row["metadata"].as_str().unwrap_or_default())
            .expect("the terms of the token");
        assert!(metadata["presigned"].is_object(), "{row:#}");
        let others = with(&others, &json!({"metadata": metadata}));
        rows.take(
            &json!({"metric": metric}),
            &with(&on(RATED, RATED), &others),
        );
    }
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
    let row = rows.find(&json!({"metric": "depth"}));
    let metadata: Value = serde_json::from_str(row["metadata"].as_str().unwrap_or_default())?;
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

/// The columns of feedback on a run of a trace.
pub(super) fn on(trace: &str, run: &str) -> Value {
    json!({"trace_id": trace, "target_kind": "run", "target_id": run, "dialect": "langsmith"})
}
