//! One feedback in each API, as its client sends it.

use plaudit_event::Dialect;

/// The same thing said in each API: a value, a tag, who said it.
pub(super) const SINGLE: [(Dialect, &str, &str); 6] = [
    (
        Dialect::Native,
        "/v1/feedback",
        r#"{"trace_id":"0196c682-72e0-7c83-a92b-9d1a3c7630f2","metric":"helpful","value":true,"rater":"ada","tags":{"env":"production"}}"#,
    ),
    (
        Dialect::Portkey,
        "/v1/feedback",
        r#"{"trace_id":"0196c682-72e0-7c83-a92b-9d1a3c7630f2","value":5,"weight":0.5,"metadata":{"_user":"ada","env":"production"}}"#,
    ),
    (
        Dialect::Tensorzero,
        "/feedback",
        r#"{"episode_id":null,"inference_id":"0196c682-72e0-7c83-a92b-9d1a3c7630f2","metric_name":"helpful","value":true,"internal":false,"tags":{"user_id":"ada","env":"production"},"dryrun":null}"#,
    ),
    (
        Dialect::Patronus,
        "/v1/feedback",
        r#"{"feedback_positive":true,"evaluation_result_id":"1234567891234567890"}"#,
    ),
    (
        Dialect::Humanloop,
        "/v4/feedback",
        r#"{"type":"rating","value":"good","data_id":"data_1","user":"ada","provider_api_keys":{}}"#,
    ),
    (
        Dialect::Langsmith,
        "/feedback",
        r#"{"id":"01a200d2-225c-734d-b959-07625b1b2e69","created_at":"2026-11-22T01:15:01.085086+00:00","modified_at":"2026-11-22T01:15:01.085094+00:00","run_id":"22222222-2222-2222-2222-222222222222","trace_id":"22222222-2222-2222-2222-222222222222","key":"helpful","score":1,"feedback_source":{"type":"api","metadata":{"env":"production"}},"session_id":"44444444-4444-4444-4444-444444444444","extend_trace_retention":true}"#,
    ),
];
