//! From Kafka to ClickHouse: nothing lost, nothing seen twice, the later one wins.
//!
//! A thread polls Kafka and writes rows into the open batch. A
//! closed batch goes through the seven steps of the protocol on
//! the runtime, several batches at a time; when its steps are done its offsets may
//! be committed. Every step can be done again: a crash between any two of them,
//! or a second sink that does the same work, changes nothing a reader sees.
//!
//! The steps, and where they are:
//!
//! | step | what | where |
//! | --- | --- | --- |
//! | 1 | read back what is stored already | `read_back` |
//! | 2 | insert rows, isolate poison | `rows` |
//! | 3 | insert changes | `steps` |
//! | 4 | fold changes into rows | `fold` |
//! | 5 | dead letters | `dead_letter` |
//! | 6 | ledger | `outcomes` |
//! | 7 | commit | `offsets`, `consume` |

mod batch;
mod config;
mod consume;
mod dead_letter;
mod fold;
mod give_up;
mod isolate;
mod local;
mod metrics;
mod offsets;
mod origin;
mod outcomes;
mod pending;
mod read_back;
mod rebuild;
mod retry;
mod rows;
mod service;
mod start;
mod steps;

pub use config::{BatchConfig, ChangesConfig, OnExhausted, OnExpired, RetryConfig, SinkConfig};
pub use consume::SinkError;
pub use dead_letter::header as dead_letter_header;
pub use local::{LocalRecord, LocalSink, LocalSinkError, NotStored, TOPIC as LOCAL_TOPIC};
pub use rebuild::{Rebuild, RebuildError, RebuildRange};
pub use service::run;
pub use steps::Stop;
