//! The APIs that feedback comes by: bytes to events, and outcomes to answers.
//!
//! One module a vendor. No I/O, no clock, no async: what a request says is in a
//! [`Call`], what became of its events in [`Fates`], and everything between is a
//! function. A vendor is a module and its entry in [`VENDORS`]; the intake mounts
//! what it finds there.
//!
//! Promise **P8**: what a vendor's client sends is understood, and what it gets
//! back is what it expects; the recordings are in `fixtures/`. Promise **P7**: no
//! answer repeats what a client sent, save names of fields and ids.
//!
//! Where next: [`native`] is the simplest, since the event is its shape.

mod answer;
mod batch;
mod call;
mod fastapi;
#[cfg(test)]
mod fixtures;
pub mod humanloop;
mod json;
pub mod langsmith;
pub mod native;
mod page;
pub mod patronus;
pub mod portkey;
mod public;
mod raw;
mod search;
mod sent;
mod sniff;
pub mod tensorzero;
mod token;
mod vendor;

pub use answer::{Answer, Delivery, Fates, Refused};
pub use batch::{Batch, Record};
pub use call::{Call, Content};
pub use plaudit_event::Search;
pub use search::Stored;
pub use sent::MAX_ENTRIES;
pub use token::{Token, TokenError, TokenKey};
pub use vendor::{
    Access, Action, Endpoint, Fault, Form, Hints, Mounted, ParseFound, Parsed, Refusal, Table,
    VENDORS, Vendor, choose, dialect_of, table, vendor,
};
