//! ClickHouse: the tables, what is written to them and what is asked of them.
//!
//! The only SQL of Plaudit is here. The write side (`insert`, `row`, `ledger`,
//! `changes`) serves the sink, step by step of its protocol; the read side
//! (`read`) serves the query service; `audit` serves `plaudit verify`,
//! `forget` serves `plaudit rebuild`. All speak HTTP to a server that may be a
//! cluster, a single node or the engine in this very process: there is one code
//! path.

mod audit;
mod changes;
mod cluster;
mod columns;
mod config;
mod enums;
mod error;
mod forget;
mod insert;
mod ledger;
mod migrate;
mod native;
pub mod read;
mod retention;
mod row;
mod rows;
mod schema;
mod store;
mod transport;

pub use audit::{Identity, OutcomeRun, RowAt};
pub use changes::{Change, ChangeKind, GaveUp, encode_change};
pub use config::{ClickhouseConfig, ClusterConfig, InsertCompression};
pub use error::{StoreError, Verdict};
pub use insert::{Payload, Table};
pub use ledger::{LedgerEnds, LedgerRange, MAX_SPAN, encode_range};
pub use migrate::{MigrateError, Migrated};
pub use row::{RowPosition, encode_feedback};
pub use rows::{CurrentRow, StoredOffset};
pub use store::Store;
