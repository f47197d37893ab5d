//! What a vendor's read is shown; what it looks for is a [`Search`](crate::Search).

use plaudit_event::{Feedback, Micros};

/// A feedback as readers see it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<'a> {
    /// What it says.
    pub feedback: Feedback<'a>,
    /// When it was received; also when it was created, unless it says.
    pub received_at: Micros,
    /// When it was last put or changed.
    pub modified_at: Micros,
}
