//! `plaudit up`: the whole of Plaudit on one machine, from real parts.
//!
//! A supervisor and nothing else: Kafka is a JVM, ClickHouse is `plaudit clickhouse`,
//! and `intake`, `sink` and `query` are the child processes that production runs, told
//! by `--set` where the others are. What they do is their own business.
//!
//! The invariants: one instance a directory; no child outlives the supervisor; the
//! stop order is that of the data's way, so that nothing is accepted which nobody
//! carries on: intake, query, sink, ClickHouse, Kafka.
//!
//! Start at [`Stack`], which is the sequence; [`run`] is the command around it.

mod broker;
mod child;
mod command;
mod found;
mod keeper;
mod lock;
mod member;
mod ports;
mod probe;
mod stack;
mod tether;

pub use broker::{Broker, BrokerError, Seat, new_cluster_id};
pub use child::{Child, ChildSpec, Stopped};
pub use command::run;
pub use found::Found;
pub use keeper::{CannotLive, Keeper, Patience};
pub use lock::{DirectoryLock, LockError};
pub use member::Member;
pub use ports::{Listener, PortChoice, PortError, Ports};
pub use probe::{NotReady, Probe};
pub use stack::{Stack, UpError, UpOptions};
pub use tether::{Tether, become_tethered};
