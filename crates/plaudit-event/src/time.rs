//! Points in time, in microseconds.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z, the resolution of every time in
/// Plaudit.
///
/// On the wire it is the bare number; in the APIs it is RFC 3339 text with a
/// `Z`, such as `2026-01-02T03:04:05.000006Z`.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

/// The text is not an RFC 3339 time with an offset, or lies outside 1900 to 2299.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct InvalidTime;

impl Micros {
    /// 1900-01-01, the earliest that ClickHouse's `DateTime64(6)` holds.
    const EARLIEST: Self = Self(-2_208_988_800_000_000);
    /// 2299-12-31T23:59:59.999999Z, the latest.
    const LATEST: Self = Self(10_413_791_999_999_999);

    /// The time by this process's clock.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Milliseconds since 1970, as Kafka's record timestamps count.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl FromStr for Micros {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let time: jiff::Timestamp = text.parse().map_err(|_| InvalidTime)?;
        let micros = Self(time.as_microsecond());
        if (Self::EARLIEST..=Self::LATEST).contains(&micros) {
            Ok(micros)
        } else {
            Err(InvalidTime)
        }
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.6}"),
            // Outside of jiff's years -9999 to 9999: show the number.
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_any_offset_and_shown_in_utc() {
        let time: Micros = "2026-01-02T04:04:05.000006+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-02T03:04:05.000006Z");
        assert_eq!(Micros(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Micros(-1).as_millis(), -1);
    }

    #[test]
    fn naive_far_and_broken_times_are_refused() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "9999-01-01T00:00:00Z",
            "now",
        ] {
            assert_eq!(text.parse::<Micros>(), Err(InvalidTime), "{text}");
        }
    }
}
