//! Floors: what the bare libraries need for the work that Plaudit does.
//!
//! Two honest programs, each as somebody would write it who wants it fast and nothing
//! else: `floor-intake` (HTTP to Kafka, durable) and `floor-sink` (Kafka to ClickHouse,
//! acknowledged). They read and write the same bytes as Plaudit's services and leave out
//! all that a user would miss: keys, dialects, validation, receipts, metrics, retries,
//! duplicates, changes, outcomes. What Plaudit costs beyond them is what that costs.
//!
//! Nothing of Plaudit is in here, not even its types: a floor that shared its codec would
//! rise and fall with it.

pub mod intake;
pub mod record;
pub mod row;
