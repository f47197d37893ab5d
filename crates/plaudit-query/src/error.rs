//! What a failed read means for the one who asked.

use plaudit_service::{ApiError, ErrorCode};
use plaudit_store::Verdict;
use plaudit_store::read::ReadError;

/// Seconds after which a read that could not be answered is worth another try.
const RETRY_AFTER: u32 = 1;

/// The answer to a read that failed.
///
/// That ClickHouse is away is known to readiness, which says so once; what
/// needs a person is logged here.
pub(crate) fn failed(error: ReadError) -> ApiError {
    match error {
        ReadError::TooLarge(_) => ApiError::new(
            ErrorCode::InvalidParameter,
            "the answer is too large: ask for fewer",
        )
        .in_field("limit"),
        ReadError::TooSlow(_) => too_slow(),
        ReadError::Failed(error) => match error.verdict() {
            Verdict::Away | Verdict::Busy | Verdict::Retry => {
                tracing::debug!(%error, "cannot read from ClickHouse");
                ApiError::unavailable("the store does not answer", RETRY_AFTER)
            }
            Verdict::Poison | Verdict::Fatal => {
                tracing::error!(%error, "a read failed and will fail again");
                ApiError::unavailable("the store cannot answer this", RETRY_AFTER)
            }
        },
        error => {
            tracing::error!(%error, "a read failed");
            ApiError::unavailable("the store cannot answer this", RETRY_AFTER)
        }
    }
}

/// The answer to a read that was ended.
pub(crate) fn too_slow() -> ApiError {
    ApiError::unavailable(
        "this took too long: narrow it by trace, metric or time",
        RETRY_AFTER,
    )
}

/// The answer to one request too many.
pub(crate) fn busy() -> ApiError {
    ApiError::unavailable("too many requests at one time", RETRY_AFTER)
}
