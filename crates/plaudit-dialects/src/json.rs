//! JSON that is written, as text.

use serde::Serialize;

/// The text of a value.
///
/// Straight into one buffer: a `serde_json::Value`'s own `to_string` goes through the
/// formatter piece by piece, which costs three times as much.
pub(crate) fn written<T: Serialize + ?Sized>(value: &T) -> String {
    // Fails for a map whose keys are no strings, and nobody writes one.
    serde_json::to_string(value).unwrap_or_default()
}
