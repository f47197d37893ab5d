//! What became of receipts.
//!
//! The ledger knows partitions and offsets, not projects: whoever has a key may
//! ask about any receipt, and learns no more than its state.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use plaudit_event::{Outcome, Receipt};
use plaudit_service::{ApiError, ErrorCode};
use plaudit_store::read::{Reader, Settled};
use serde::Deserialize;

use crate::error::{busy, failed};
use crate::reads::segment;
use crate::service::App;
use crate::view::{ReceiptView, ReceiptsView};
use crate::watch::{TooManyWait, is_settled};

/// The body of `POST /v1/receipts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    receipts: Vec<String>,
    #[serde(default = "default_wait_ms")]
    timeout_ms: u64,
}

/// In how many places of the ledger one request may make us look: those of its topics'
/// partitions, and offsets of one that are far apart.
const MAX_PLACES: usize = 1024;

const fn default_wait_ms() -> u64 {
    5000
}

/// `GET /v1/receipts/{receipt}`
pub(crate) async fn one(
    State(app): State<App>,
    receipt: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let text = segment("receipt", receipt)?;
    let receipt = parse(&text, || "receipt".to_owned())?;
    let known = app
        .reader
        .receipts(std::slice::from_ref(&receipt))
        .await
        .map_err(failed)?;
    Ok(Json(view(&receipt, &known)).into_response())
}

/// `POST /v1/receipts`: answers when none is pending, or time is out.
pub(crate) async fn several(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let question = read(body)?;
    let limits = &app.config.receipts;
    if question.receipts.len() > limits.max_receipts {
        let message = format!("at most {} receipts", limits.max_receipts);
        return Err(ApiError::new(ErrorCode::TooManyEvents, message).in_field("receipts"));
    }
    let parsed = question.receipts.iter().enumerate();
    let receipts: Vec<Receipt> = parsed
        .map(|(index, text)| parse(text, || format!("receipts[{index}]")))
        .collect::<Result<_, _>>()?;
    if Reader::places(&receipts) > MAX_PLACES {
        let message = format!("receipts of at most {MAX_PLACES} partitions");
        return Err(ApiError::new(ErrorCode::TooManyEvents, message).in_field("receipts"));
    }

    let wait = Duration::from_millis(question.timeout_ms).min(limits.max_wait);
    let mut known = look(&app, &receipts).await?;
    let pending = receipts
        .iter()
        .filter(|receipt| !is_settled(known.get(receipt)));
    let pending: Vec<Receipt> = pending.cloned().collect();
    if !pending.is_empty() && !wait.is_zero() {
        let waited = tokio::time::timeout(wait, app.ledger.settled(pending)).await;
        // When time is out some may be settled all the same.
        if let Ok(Err(TooManyWait)) = waited {
            return Err(busy());
        }
        known = look(&app, &receipts).await?;
    }
    let items = receipts
        .iter()
        .map(|receipt| view(receipt, &known))
        .collect();
    Ok(Json(ReceiptsView { items }).into_response())
}

/// What the ledger knows now: a read among the others, which waits for its turn.
async fn look(app: &App, receipts: &[Receipt]) -> Result<HashMap<Receipt, Settled>, ApiError> {
    // Closed by nobody.
    let _turn = app.reads.acquire().await.map_err(|_| busy())?;
    app.reader.receipts(receipts).await.map_err(failed)
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Question, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(ErrorCode::BodyTooLarge, "the body is too large")
        }
        _ => ApiError::new(ErrorCode::BodyTimeout, "the body did not arrive"),
    })?;
    serde_json::from_slice(&body).map_err(|_| {
        let expected = "must be {\"receipts\":[\"topic:partition:offset\"],\"timeout_ms\":5000}";
        ApiError::new(ErrorCode::InvalidJson, expected)
    })
}

fn parse(text: &str, field: impl FnOnce() -> String) -> Result<Receipt, ApiError> {
    text.parse()
        .map_err(|_| ApiError::invalid_parameter(field(), "topic:partition:offset"))
}

/// A receipt that the ledger does not know is pending: it is on its way, or it
/// was never given out.
fn view(receipt: &Receipt, known: &HashMap<Receipt, Settled>) -> ReceiptView {
    let settled = known.get(receipt);
    let outcome = settled.map_or(Outcome::Pending, |settled| settled.outcome);
    let reason = settled
        .map(|settled| &settled.reason)
        .filter(|reason| !reason.is_empty());
    ReceiptView {
        receipt: receipt.to_string(),
        state: outcome.state(),
        reason: reason.cloned(),
    }
}
