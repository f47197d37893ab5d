//! What the intake answers to a native request, borrowed from the body.
//!
//! Reading an answer costs no allocation an item unless a text has an escape in
//! it: a load generator reads hundreds of thousands of items a second.

use plaudit_event::{Receipt, Text};
use serde::Deserialize;
use uuid::Uuid;

use crate::Reason;

/// The answer to `POST /v1/feedback`.
#[derive(Debug, Deserialize)]
pub struct Answer<'a> {
    /// Items with a receipt.
    pub accepted: u64,
    /// Items that will never be taken as they are.
    pub rejected: u64,
    /// One for each item of the request, in its order.
    #[serde(borrow)]
    pub items: Vec<AnswerItem<'a>>,
}

/// What became of one item.
#[derive(Debug, Deserialize)]
pub struct AnswerItem<'a> {
    /// The item's place in the request, from 0.
    pub index: usize,
    /// What became of it.
    pub status: ItemStatus,
    /// The feedback's id; absent when the item was rejected.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// `topic:partition:offset`, when accepted.
    #[serde(borrow, default)]
    pub receipt: Option<Text<'a>>,
    /// `visible`, `duplicate`, `pending`, `dead_lettered` or `expired`, when the
    /// request asked to wait.
    #[serde(borrow, default)]
    pub state: Option<Text<'a>>,
    /// What is wrong with it, when rejected.
    #[serde(borrow, default)]
    pub error: Option<ItemError<'a>>,
}

/// The three fates of an item.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ItemStatus {
    /// Durable: it has a receipt.
    Accepted,
    /// Never to be sent again as it is.
    Rejected,
    /// It may be durable or not: to be sent again with the same id.
    #[serde(other)]
    Unconfirmed,
}

/// Why an item was rejected.
#[derive(Debug, Deserialize)]
pub struct ItemError<'a> {
    /// Such as `out_of_range`.
    #[serde(borrow)]
    pub code: Text<'a>,
    /// The field, as the request spells it.
    #[serde(borrow, default)]
    pub field: Option<Text<'a>>,
    /// For people; never the field's content.
    #[serde(borrow, default)]
    pub message: Option<Text<'a>>,
}

// === impl AnswerItem ===

impl AnswerItem<'_> {
    /// The item's end, or `None` while it has to be sent again.
    ///
    /// An acceptance without a receipt that can be read proves nothing, so it is
    /// no end either.
    pub(crate) fn verdict(&self) -> Option<Result<Receipt, Reason>> {
        match self.status {
            ItemStatus::Accepted => self.receipt.as_ref()?.parse().ok().map(Ok),
            ItemStatus::Rejected => Some(Err(self.rejection())),
            ItemStatus::Unconfirmed => None,
        }
    }

    fn rejection(&self) -> Reason {
        let text = |text: &Text<'_>| text.as_str().to_owned();
        let error = self.error.as_ref();
        Reason::Rejected {
            code: error.map_or_else(String::new, |error| text(&error.code)),
            field: error.and_then(|error| error.field.as_ref()).map(text),
            message: error.and_then(|error| error.message.as_ref()).map(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_as_the_api_documents_it() {
        let body = r#"{"accepted":1,"rejected":1,"items":[
            {"index":0,"status":"accepted","id":"018f3f2e-0000-7000-8000-000000000001","receipt":"plaudit.feedback:3:1042","state":"visible"},
            {"index":1,"status":"rejected","error":{"code":"out_of_range","field":"weight","message":"must be 0 to 1"}},
            {"index":2,"status":"unconfirmed","id":"018f3f2e-0000-7000-8000-000000000002"},
            {"index":3,"status":"of_a_later_version"},
            {"index":4,"status":"accepted","receipt":"not one"}]}"#;
        let answer: Answer<'_> = serde_json::from_str(body).unwrap();
        let verdicts: Vec<_> = answer.items.iter().map(AnswerItem::verdict).collect();

        let receipt = "plaudit.feedback:3:1042".parse::<Receipt>().unwrap();
        assert!(matches!(&verdicts[0], Some(Ok(own)) if *own == receipt));
        assert!(matches!(
            &verdicts[1],
            Some(Err(Reason::Rejected { code, field: Some(field), .. }))
                if code == "out_of_range" && field == "weight"
        ));
        assert!(verdicts[2..].iter().all(Option::is_none));
    }
}
