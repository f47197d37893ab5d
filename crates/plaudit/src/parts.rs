//! The real parts that Plaudit runs with when nobody brings a cluster: the
//! ClickHouse engine and Apache Kafka, each pinned by version and checksum.
//!
//! A part is fetched once, with the package manager of its own world (`npm`, `mvn`),
//! and kept under one directory, `.plaudit/parts` by default. Nothing here starts a
//! process that stays; that is the business of [`up`](crate::up).
//!
//! The invariant: **a part is whole or it is not there**. It is fetched and verified
//! under another name and then renamed; what a crash leaves behind is removed by the
//! next fetch, which says so.
//!
//! Everything blocks. Start at [`clickhouse_library`] and [`kafka_jars`].

mod checksum;
mod clickhouse;
mod error;
mod install;
mod java;
mod kafka;
mod tool;

pub use clickhouse::clickhouse_library;
pub use error::PartError;
pub use java::java;
pub use kafka::kafka_jars;
