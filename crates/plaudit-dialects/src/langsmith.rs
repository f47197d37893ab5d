//! LangSmith: feedback one by one and in batches between runs, its changes and
//! reads, presigned tokens, and how the scores of a key are to be read.
//!
//! As its clients send it (`langsmith` for Python 0.15.0 and 0.4.31, for JavaScript
//! 0.12.0, recorded). What `/info` says makes them send feedback with a trace in
//! the background, many at once; each has an id of its own, and saying it twice is
//! one feedback.
//!
//! A feedback is about a run, or a whole project. Its score is also its value when
//! it has no other. What the API has and the event has not (`extra`, `error`,
//! `start_time`, …) is in `metadata` by its own name, and reads put it back.
//! `modified_at` is the version. Not kept: runs, and fields of a change that the
//! API does not change. Not checked: that a run is there, since feedback may come
//! first. Tokens are not listed, since signed ones are not stored to be.

use http::{HeaderMap, Method, StatusCode};
use plaudit_event::Dialect;
use serde_json::json;

use crate::json::written;
use crate::sniff::{has_any_key, is_made_by};
use crate::{Access, Action, Answer, Call, Endpoint, Form, Refusal, Vendor, public};

mod answer;
mod config;
mod configs;
mod item;
mod list;
mod metadata;
mod put;
mod query;
mod redeem;
mod take;
#[cfg(test)]
mod tests;
mod tokens;

/// LangSmith's API.
pub const VENDOR: Vendor = Vendor {
    dialect: Dialect::Langsmith,
    // The documented paths begin with `/api/v1`, the clients' do not.
    mounts: &["/langsmith", "/langsmith/api/v1", "/api/v1", ""],
    endpoints: &[
        saying(Method::GET, "/info", Access::Public, info),
        taking(Method::POST, "/feedback", ONE),
        taking(Method::POST, "/feedback/eager", ONE),
        taking(Method::POST, "/runs/multipart", PARTS),
        taking(Method::POST, "/runs/batch", RUNS),
        taking(Method::PATCH, "/feedback/{id}", CHANGE),
        taking(Method::DELETE, "/feedback/{id}", DELETE),
        reading("/feedback/{id}", ONE_STORED),
        reading("/feedback", STORED),
        taking(Method::POST, "/feedback/tokens", MINT),
        saying(Method::GET, "/feedback/tokens", Access::Read, no_list),
        redeeming(Method::POST, POST_TOKEN),
        redeeming(Method::GET, GET_TOKEN),
        saying(Method::OPTIONS, TOKEN_PATH, Access::Public, |_, _| {
            Ok(public::preflight())
        }),
        declaring(Method::POST, CREATE_CONFIG),
        declaring(Method::PATCH, CHANGE_CONFIG),
        declaring(Method::DELETE, DELETE_CONFIG),
        saying(
            Method::GET,
            "/feedback-configs",
            Access::Read,
            configs::list,
        ),
    ],
    recognises: |hints| is_langsmith(hints.headers, hints.body),
    fault: Some(|fault| answer::detail(fault.status, &fault.text()).body),
};

const TOKEN_PATH: &str = "/feedback/tokens/{id}";

const ONE: Action = take(take::one, answer::noted);
const PARTS: Action = Action::Take {
    body: Form::Parts(|name| name.starts_with("feedback.")),
    parse: take::parts,
    answer: answer::batch,
};
const RUNS: Action = take(take::runs, answer::batch);
const CHANGE: Action = take(take::change, answer::noted);
const DELETE: Action = take(take::delete, answer::noted);
const MINT: Action = take(tokens::mint, answer::noted);
const CREATE_CONFIG: Action = take(configs::create, answer::noted);
const CHANGE_CONFIG: Action = take(configs::change, answer::noted);
const DELETE_CONFIG: Action = take(configs::delete, configs::gone);

const ONE_STORED: Action = Action::Read {
    ask: list::ask_one,
    show: list::show_one,
};
const STORED: Action = Action::Read {
    ask: list::ask,
    show: list::show,
};
const POST_TOKEN: Action = Action::Redeem {
    // A browser's beacon is plain text.
    body: Form::Any,
    ask: redeem::ask,
    parse: redeem::post,
    answer: redeem::used,
};
const GET_TOKEN: Action = Action::Redeem {
    body: Form::Any,
    ask: redeem::ask,
    parse: redeem::get,
    answer: redeem::used,
};

// Names in a feedback's metadata that Plaudit gives.

/// The score as it was sent, where the event alone does not tell.
const SCORE: &str = "score";
/// What the source has beside type, metadata and user.
const SOURCE: &str = "feedback_source";
/// The terms of the token that the feedback was made with.
pub const PRESIGNED: &str = "presigned";
/// When a client with a clock that is ahead says that it changed the feedback.
const AHEAD: &str = "modified_at";
/// What is not shown under its own name.
const HIDDEN: [&str; 4] = [SCORE, SOURCE, PRESIGNED, AHEAD];

/// The version whose behaviour this is. Clients batch from 0.8.10 on.
const VERSION: &str = "0.12.5";

/// The most feedback that a client sends at once, unless the intake takes fewer.
const MAX_BATCH: usize = 100;

/// After so many bytes a client closes a batch: one item above it must still fit
/// into a body.
const MAX_BATCH_BYTES: usize = 8 << 20;

type Parse = for<'a> fn(&Call<'a>, &'a [u8]) -> Result<crate::Parsed, Refusal>;
type Write = fn(&crate::Parsed, &crate::Fates<'_>) -> Answer;
type Say = for<'a> fn(&Call<'a>, &'a [u8]) -> Result<Answer, Refusal>;

const fn take(parse: Parse, answer: Write) -> Action {
    Action::Take {
        body: Form::Any,
        parse,
        answer,
    }
}

const fn taking(method: Method, path: &'static str, action: Action) -> Endpoint {
    endpoint(method, path, Access::Write, action)
}

const fn reading(path: &'static str, action: Action) -> Endpoint {
    endpoint(Method::GET, path, Access::Read, action)
}

const fn redeeming(method: Method, action: Action) -> Endpoint {
    endpoint(method, TOKEN_PATH, Access::Public, action)
}

const fn declaring(method: Method, action: Action) -> Endpoint {
    endpoint(method, "/feedback-configs", Access::Admin, action)
}

const fn saying(method: Method, path: &'static str, access: Access, say: Say) -> Endpoint {
    endpoint(method, path, access, Action::Say(say))
}

const fn endpoint(method: Method, path: &'static str, access: Access, action: Action) -> Endpoint {
    Endpoint {
        method,
        path,
        access,
        action,
    }
}

/// By the client's name, else by a field that only this API's feedback has, unless
/// the client's name is another's.
fn is_langsmith(headers: &HeaderMap, body: &[u8]) -> bool {
    if ["Konfig/", "TensorZero/"]
        .iter()
        .any(|name| is_made_by(headers, name))
    {
        return false;
    }
    is_made_by(headers, "langsmith-")
        || has_any_key(body, &["key", "feedback_source", "run_id", "session_id"])
}

/// What makes the clients send in the background, by multipart, compressed. All
/// fields of the batch's configuration are there: where one is missing, Python's
/// sending thread dies, and feedback with it.
fn info<'a>(call: &Call<'a>, _body: &'a [u8]) -> Result<Answer, Refusal> {
    let body = json!({
        "version": VERSION,
        "batch_ingest_config": {
            "use_multipart_endpoint": true,
            "scale_up_qsize_trigger": 1000,
            "scale_up_nthreads_limit": 16,
            "scale_down_nempty_trigger": 4,
            "size_limit": MAX_BATCH.min(call.max_events),
            "size_limit_bytes": MAX_BATCH_BYTES,
        },
        "instance_flags": {
            "zstd_compression_enabled": true,
            "gzip_body_enabled": true,
        },
    });
    Ok(Answer::new(StatusCode::OK, written(&body)))
}

#[expect(clippy::unnecessary_wraps, reason = "as endpoints are")]
fn no_list<'a>(_call: &Call<'a>, _body: &'a [u8]) -> Result<Answer, Refusal> {
    Ok(Answer::new(StatusCode::OK, "[]".to_owned()))
}
