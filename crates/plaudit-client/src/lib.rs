//! The Rust client of Plaudit: feedback that never makes the caller wait.
//!
//! [`Client::create_feedback`] returns at once; a bounded queue is sent in the
//! background, in batches, and a request that fails for a while is sent again
//! with the same ids, so that a retry never makes a second feedback (promise
//! **P3**). A full queue is an error to the caller, never growth (**P5**). What
//! cannot be delivered reaches a callback, with the reason and the item itself.
//!
//! It is not a load generator and not an admin tool. Where every request is to be
//! measured or steered, [`Api`] is one exchange at a time without queue or retry.
//!
//! ```no_run
//! use plaudit_client::{Client, Value, feedback};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://127.0.0.1:8080")
//!     .api_key("pk_live_…")
//!     .on_given_up(|given_up| eprintln!("feedback {}: {}", given_up.id, given_up.reason))
//!     .build()?;
//!
//! // Returns at once, with the id that the feedback will have.
//! let mut thumb = feedback("trace-1", "helpful");
//! thumb.value = Value::of(&true);
//! thumb.tags.insert("env", "prod");
//! let id = client.create_feedback(&thumb)?;
//!
//! // Waits for the receipt, behind everything that was queued before.
//! let receipt = client.retract(id).await?;
//! println!("{receipt}");
//!
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! HTTPS is believed by this machine's authorities, or by those in
//! [`ClientBuilder::ca_file`]. A client handed to [`ClientBuilder::http_client`] brings
//! its own.
//!
//! Where next: [`Client`] for applications, [`Api`] and [`Answer`] for the wire.

mod answer;
mod api;
mod builder;
mod client;
mod deliver;
mod error;
mod item;
mod queue;
mod read;

pub use answer::{Answer, AnswerItem, ItemError, ItemStatus};
pub use api::{Api, Reply, Wait};
pub use builder::{BatchLimits, BuildError, ClientBuilder, RetryPolicy};
pub use client::{Client, feedback};
pub use error::{Error, GivenUp, Reason, RequestError};
pub use plaudit_event::{
    Edit, Feedback, Json, Micros, Patch, Receipt, Source, Tags, Target, TargetKind, Value,
};
pub use read::{MetricCount, MetricSummary, TraceFeedback, TraceItem, TraceMetric};
pub use uuid::Uuid;
