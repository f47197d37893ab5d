//! A time that somebody types.

use std::str::FromStr;
use std::time::Duration;

use plaudit_event::Micros;

/// A point in time: RFC 3339 text, or how long ago, such as `2h`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment(pub(crate) Micros);

/// The text is no time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a time such as 2026-01-02T03:04:05Z, or how long ago, such as 2h")]
pub(crate) struct NoMoment;

impl Moment {
    fn before(now: Micros, ago: Duration) -> Self {
        let ago = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
        Self(Micros(now.0.saturating_sub(ago)))
    }
}

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        if let Ok(time) = text.parse() {
            return Ok(Self(time));
        }
        let ago = humantime::parse_duration(text).map_err(|_| NoMoment)?;
        Ok(Self::before(Micros::now(), ago))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_ago() {
        let moment = |text: &str| text.parse::<Moment>();
        assert_eq!(
            moment("1970-01-01T00:00:02Z"),
            Ok(Moment(Micros(2_000_000)))
        );
        assert_eq!(
            Moment::before(Micros(5_000_000), Duration::from_secs(2)),
            Moment(Micros(3_000_000))
        );
        assert!(moment("2h").is_ok_and(|then| then.0 < Micros::now()));
        for text in ["", "2", "yesterday", "2026-01-02"] {
            assert_eq!(moment(text), Err(NoMoment), "{text}");
        }
    }
}
