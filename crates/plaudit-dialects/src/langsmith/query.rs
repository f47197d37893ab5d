//! The parameters that LangSmith's lists have in common.

use plaudit_event::{FieldError, ItemCode};

use super::answer::invalid_in;
use crate::{Call, Refusal};

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paging {
    pub(super) limit: u64,
    pub(super) offset: u64,
}

/// The longest page. A client takes a shorter one than it asked for as the last:
/// one that asks for more is refused, not given less.
const MAX_LIMIT: u64 = 100;

// === impl Paging ===

impl Paging {
    /// Reads `limit` and `offset`.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Refusal> {
        let mut paging = Self {
            limit: MAX_LIMIT,
            offset: 0,
        };
        for (name, text) in call.params() {
            match &*name {
                "limit" => {
                    let limit = text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
                    paging.limit = limit.ok_or_else(|| wrong("limit", "must be 1 to 100"))?;
                }
                "offset" => {
                    let offset = text.parse().ok();
                    paging.offset = offset.ok_or_else(|| wrong("offset", "must be 0 or more"))?;
                }
                _ => {}
            }
        }
        Ok(paging)
    }
}

/// 422 for a parameter.
pub(super) fn wrong(parameter: &'static str, message: &'static str) -> Refusal {
    let error = FieldError::new(ItemCode::OutOfRange, parameter, message);
    invalid_in("query", &error).into()
}
