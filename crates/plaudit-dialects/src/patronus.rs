//! Patronus: feedback on the results of its evaluations.
//!
//! `POST`, `GET` and `DELETE /v1/feedback`, and what came after it:
//! `/v1/evaluation-results/{id}/evaluation-feedback` and `POST /v1/annotate`.
//! Recorded with `patronus-api` 0.3.0 and with the older client of its repository.
//!
//! What is rated is either a result of the monitoring (`evaluation_result_id`) or a
//! sample of an evaluation run, named by run, evaluator, input and profile. One
//! feedback names one of them. Its id is an integer to the API (module `id`).
//!
//! The successors are other metrics, since they follow other rules: an evaluation
//! feedback is one a result, said anew or withdrawn, and so it is in no list that
//! its integer could be deleted from for good. An annotation's metric is its
//! criterion.
//!
//! Fields that the API does not document are kept in `metadata`. Whether a result,
//! a run or a criterion exists is not checked.

use http::{HeaderMap, Method, StatusCode};
use plaudit_event::{Dialect, FieldError, Operation};

use crate::fastapi::{self, Place};
use crate::sniff::has_any_key;
use crate::{Access, Action, Answer, Call, Endpoint, Fates, Form, Hints, Parsed, Refusal, Vendor};

mod annotation;
mod evaluation_feedback;
mod feedback;
mod id;
mod list;
#[cfg(test)]
mod tests;

/// Patronus's API.
pub const VENDOR: Vendor = Vendor {
    dialect: Dialect::Patronus,
    mounts: &["/patronus", ""],
    endpoints: &[
        taking(
            Method::POST,
            "/v1/feedback",
            Form::Json,
            feedback::give,
            feedback::answer,
        ),
        Endpoint {
            method: Method::GET,
            path: "/v1/feedback",
            access: Access::Read,
            action: Action::Read {
                ask: list::ask,
                show: list::show,
            },
        },
        taking(
            Method::DELETE,
            "/v1/feedback/{id}",
            Form::Any,
            delete,
            no_content,
        ),
        taking(
            Method::POST,
            "/v1/evaluation-results/{id}/evaluation-feedback",
            Form::Json,
            evaluation_feedback::submit,
            no_content,
        ),
        taking(
            Method::DELETE,
            "/v1/evaluation-results/{id}/evaluation-feedback",
            Form::Any,
            evaluation_feedback::delete,
            no_content,
        ),
        taking(
            Method::POST,
            "/v1/annotate",
            Form::Json,
            annotation::annotate,
            annotation::answer,
        ),
    ],
    recognises,
    fault: Some(fastapi::fault),
};

const fn taking(
    method: Method,
    path: &'static str,
    body: Form,
    parse: for<'a> fn(&Call<'a>, &'a [u8]) -> Result<Parsed, Refusal>,
    answer: fn(&Parsed, &Fates<'_>) -> Answer,
) -> Endpoint {
    Endpoint {
        method,
        path,
        access: Access::Write,
        action: Action::Take {
            body,
            parse,
            answer,
        },
    }
}

/// Its clients say what made them in every request; a list without a client is
/// told by the parameters that only this API has.
fn recognises(hints: &Hints<'_>) -> bool {
    is_generated(hints.headers)
        || has_any_key(hints.body, &["feedback_positive"])
        || hints.body.is_empty() && list::is_asked(hints.query)
}

fn is_generated(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with("x-stainless-"))
}

/// Reads `DELETE /v1/feedback/{id}`.
fn delete<'a>(call: &Call<'a>, _: &'a [u8]) -> Result<Parsed, Refusal> {
    let integer: i64 = path_integer(call)?;
    let mut batch = call.batch(0);
    // Nothing has any other integer, and so nothing is left of it.
    if let Some(id) = id::named(integer) {
        let operation = Operation::Retract { id };
        batch.push(&call.event(Dialect::Patronus, call.time_of(0), operation));
    }
    Ok(Parsed::whole(batch))
}

fn path_integer(call: &Call<'_>) -> Result<i64, Refusal> {
    let text = call.path("id").unwrap_or_default();
    text.parse().map_err(|_| {
        let error = FieldError::wrong_type("id", "an integer");
        fastapi::unprocessable(Place::Path, &[error])
    })
}

fn no_content(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    fastapi::shortfall(parsed, fates)
        .unwrap_or_else(|| Answer::new(StatusCode::NO_CONTENT, String::new()))
}
