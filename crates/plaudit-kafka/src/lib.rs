//! Kafka as Plaudit uses it: confirmed writes, group reads, topics.
//!
//! The only crate that knows `rdkafka`; none of its types are in the public
//! names here. It moves bytes: what is in a record is the business of
//! `plaudit-event`, and when an offset may be committed is the business of
//! `plaudit-sink`.
//!
//! Promise **P1**: a [`Delivery::Confirmed`] is a record that every in-sync
//! replica has (`acks=all`, idempotent producer). Promise **P5**: every queue
//! has a bound, and a full one answers at once ([`Reason::QueueFull`]).
//!
//! - [`KafkaConfig`]: the section `kafka` of the configuration.
//! - [`ConfirmingProducer`]: one confirmation object per request.
//! - [`GroupConsumer`]: a member of the sink's group, driven by one thread.
//! - [`TopicReader`]: reads a topic without a group, for tools.
//! - [`Admin`]: topics, watermarks, committed offsets.
//!
//! Numbers (queue length, lag, failures by closed code) are exposed as values;
//! metric names belong to the services.

mod admin;
mod config;
mod confirmation;
mod consumer;
mod error;
mod health;
mod message;
mod partition;
mod producer;
mod properties;
mod reader;
mod settings;

pub use admin::{Admin, TopicReport, Watermarks};
pub use config::{KafkaConfig, Properties};
pub use confirmation::{Delivery, Pending, Reason};
pub use consumer::{
    Assigned, CommitError, ConsumeError, GroupConsumer, OutOfRange, PartitionLag, Rebalance,
    StartOffset,
};
pub use error::KafkaError;
pub use health::Health;
pub use message::Message;
pub use partition::{murmur2, partition_for};
pub use producer::{ConfirmingProducer, Record, Unflushed};
pub use reader::{Read, TopicReader};
