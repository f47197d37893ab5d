//! Faults on a running stack, and the count of what they cost.
//!
//! The oracle and its table are public: every suite that breaks things counts by them.

mod oracle;
mod table;

pub use oracle::{Count, Oracle, Sent};
pub use table::{Line, Table};
