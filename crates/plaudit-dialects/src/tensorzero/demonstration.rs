//! The form of a demonstration, as far as it can be told without its function.

use serde_json::value::RawValue;

use super::Denied;
use super::params::word;
use crate::raw::{self, Kind};
use crate::sent::Entries;

/// Checks that a demonstration can be the output of some function.
pub(super) fn check(sent: &RawValue) -> Result<(), Denied> {
    match raw::kind(sent) {
        Kind::Text | Kind::Object => Ok(()),
        Kind::Array => check_blocks(sent),
        Kind::Null | Kind::Bool | Kind::Integer | Kind::Float => Err(Denied::bad_request(
            "Demonstration must be a string or an array of content blocks",
        )),
    }
}

/// An array is a chat function's when every element has a type of its own.
fn check_blocks(sent: &RawValue) -> Result<(), Denied> {
    let elements = raw::elements(sent).unwrap_or_default();
    let blocks: Option<Vec<_>> = elements.into_iter().map(Block::of).collect();
    blocks.unwrap_or_default().iter().try_for_each(Block::check)
}

struct Block<'a> {
    kind: &'a RawValue,
    entries: Entries<'a>,
}

impl<'a> Block<'a> {
    fn of(sent: &'a RawValue) -> Option<Self> {
        let entries = raw::entries(sent)?;
        let kind = find(&entries, "type").filter(|kind| raw::kind(kind) == Kind::Text)?;
        Some(Self { kind, entries })
    }

    fn check(&self) -> Result<(), Denied> {
        match raw::text(self.kind).as_deref() {
            Some("text") => self.string("text"),
            Some("tool_call") => {
                self.string("name")?;
                if find(&self.entries, "arguments").is_none() {
                    return Err(fault("missing field `arguments`"));
                }
                self.string("id")
            }
            // The gateway names the variant.
            _ => Err(fault("unknown variant, expected `text` or `tool_call`")),
        }
    }

    fn string(&self, name: &str) -> Result<(), Denied> {
        match find(&self.entries, name).map(raw::kind) {
            Some(Kind::Text) => Ok(()),
            Some(kind) => Err(fault(&format!(
                "{name}: invalid type: {}, expected a string",
                word(kind)
            ))),
            None => Err(fault(&format!("missing field `{name}`"))),
        }
    }
}

fn find<'a>(entries: &Entries<'a>, name: &str) -> Option<&'a RawValue> {
    let (_, sent) = entries.0.iter().rfind(|(key, _)| key == name)?;
    Some(sent)
}

fn fault(message: &str) -> Denied {
    Denied::bad_request(format!("Invalid demonstration content block: {message}"))
}
