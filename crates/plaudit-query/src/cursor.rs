//! Where the next page begins, as text that means nothing to a client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plaudit_event::Micros;
use plaudit_store::read::Position;
use uuid::Uuid;

/// The first byte of what this version writes, and all that it reads.
const VERSION: u8 = 1;

/// The text is no cursor of this version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidCursor;

/// Version, time, id, and the trace for the rest, in base64url.
pub(crate) fn encode(position: &Position) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&position.received_at.0.to_be_bytes());
    bytes.extend_from_slice(position.id.as_bytes());
    bytes.extend_from_slice(position.trace_id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`encode`] wrote. A cursor holds no rights: whatever it says, a
/// caller gets what lies below it in their own project.
pub(crate) fn decode(text: &str) -> Result<Position, InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
    let rest = bytes.strip_prefix(&[VERSION]).ok_or(InvalidCursor)?;
    let (time, rest) = rest.split_first_chunk().ok_or(InvalidCursor)?;
    let (id, trace_id) = rest.split_first_chunk().ok_or(InvalidCursor)?;
    let trace_id = std::str::from_utf8(trace_id).map_err(|_| InvalidCursor)?;
    if trace_id.is_empty() {
        return Err(InvalidCursor);
    }
    let received_at = Micros(i64::from_be_bytes(*time));
    // What prints as RFC 3339 and reads back is within ClickHouse's range.
    if received_at.to_string().parse() != Ok(received_at) {
        return Err(InvalidCursor);
    }
    Ok(Position {
        received_at,
        trace_id: trace_id.to_owned(),
        id: Uuid::from_bytes(*id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position() -> Position {
        Position {
            received_at: Micros(1_767_323_045_000_001),
            trace_id: "trace ?/é".to_owned(),
            id: Uuid::from_u128(7),
        }
    }

    #[test]
    fn a_cursor_reads_back() {
        assert_eq!(decode(&encode(&position())), Ok(position()));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let cursor = encode(&position());
        for cut in 0..34 {
            assert_eq!(
                decode(cursor.get(..cut).unwrap()),
                Err(InvalidCursor),
                "{cut}"
            );
        }
        let far = Position {
            received_at: Micros(i64::MAX),
            ..position()
        };
        let other_version = URL_SAFE_NO_PAD.encode([2; 40]);
        for text in [
            &encode(&far),
            &other_version,
            "not a cursor",
            &format!("{cursor}="),
        ] {
            assert_eq!(decode(text), Err(InvalidCursor), "{text}");
        }
    }
}
