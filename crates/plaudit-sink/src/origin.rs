//! Where the records come from, as far as a step has to know.

use std::time::Duration;

use plaudit_kafka::Admin;

/// The log that offsets are of.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A topic: other sinks may have other partitions of it.
    Topic(Admin),
    /// A sequence of this process.
    Local,
}

impl Origin {
    /// One question to a partition's leader. The consumer's own connection would
    /// answer it behind a fetch that waits for records.
    pub(crate) const ASK: Duration = Duration::from_secs(5);
}
