//! What a failure of ClickHouse means for what was asked of it.
//!
//! [`StoreError::verdict`] is the one place that decides, by the table in
//! `verdicts`; nothing else in Plaudit looks at a ClickHouse error code.

use std::fmt;

mod verdicts;

/// A request to ClickHouse that failed.
///
/// The server's text is not kept: it may quote the data (promise **P7**).
#[derive(Debug)]
pub struct StoreError {
    kind: Kind,
    detail: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Nothing answered: no connection, or one that broke.
    Unanswered,
    /// Nothing answered in time.
    TimedOut,
    /// The server answered with an exception.
    Exception(u32),
    /// The server's disk failed, which it says with the code of any exception.
    Disk,
    /// Another server of the cluster went away in mid-answer, which is said with the code
    /// of data that ends too early.
    Lost(u32),
    /// The answer was not what was asked for.
    Unexpected,
}

/// The code of whatever the server did not throw itself.
const STD_EXCEPTION: u32 = 1001;
/// What the C++ library throws when a directory cannot be made or renamed.
const FILESYSTEM_ERROR: &str = "filesystem_error";
/// `ATTEMPT_TO_READ_AFTER_EOF` and `CANNOT_READ_ALL_DATA`, whose own text quotes nothing.
const CUT_SHORT: [u32; 2] = [32, 33];
/// What is added to either when it was an answer of another server that ended.
const FROM_ANOTHER: &str = "while receiving packet from ";

/// What to do about a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Nobody answered: wait and ask again, for as long as it takes. The
    /// request may have been carried out.
    Away,
    /// The server has too much to do, too few replicas, or a disk that it cannot
    /// write to: slow down, and ask again for as long as it takes.
    Busy,
    /// The server could not do it, who knows why: ask again, a bounded number of
    /// times.
    Retry,
    /// The server cannot take this data: find the rows and set them aside.
    Poison,
    /// The server will never take anything like it: schema, rights, version.
    Fatal,
}

impl StoreError {
    /// What to do about it.
    pub fn verdict(&self) -> Verdict {
        match self.kind {
            Kind::Unanswered | Kind::TimedOut | Kind::Lost(_) => Verdict::Away,
            Kind::Unexpected => Verdict::Fatal,
            Kind::Exception(code) => verdicts::of(code),
            Kind::Disk => Verdict::Busy,
        }
    }

    /// Whether memory or time ran out: less of the same might go through.
    pub fn may_be_too_much(&self) -> bool {
        match self.kind {
            Kind::TimedOut => true,
            Kind::Exception(code) => verdicts::is_by_size(code),
            _ => false,
        }
    }

    /// Whether the answer would have been longer than what was asked for allows.
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self.kind, Kind::Exception(code) if verdicts::is_too_long(code))
    }

    /// ClickHouse's code, where the server gave one.
    pub fn code(&self) -> Option<u32> {
        match self.kind {
            Kind::Exception(code) | Kind::Lost(code) => Some(code),
            Kind::Disk => Some(STD_EXCEPTION),
            Kind::Unanswered | Kind::TimedOut | Kind::Unexpected => None,
        }
    }

    /// An answer that this version of Plaudit cannot read.
    pub(crate) fn unexpected(detail: impl Into<String>) -> Self {
        Self {
            kind: Kind::Unexpected,
            detail: detail.into(),
        }
    }

    /// A request that was not answered within its time.
    pub(crate) fn timed_out() -> Self {
        Self {
            kind: Kind::TimedOut,
            detail: "no answer in time".to_owned(),
        }
    }
}

impl From<clickhouse::error::Error> for StoreError {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;

        match error {
            Error::BadResponse(text) => match exception(&text) {
                Some((STD_EXCEPTION, _)) if text.contains(FILESYSTEM_ERROR) => Self {
                    kind: Kind::Disk,
                    detail: String::new(),
                },
                Some((code, name)) if CUT_SHORT.contains(&code) && text.contains(FROM_ANOTHER) => {
                    Self {
                        kind: Kind::Lost(code),
                        detail: name,
                    }
                }
                Some((code, name)) => Self {
                    kind: Kind::Exception(code),
                    detail: name,
                },
                // A proxy's answer, or a server that is starting or going down.
                None => Self {
                    kind: Kind::Unanswered,
                    detail: "an answer that is not ClickHouse's".to_owned(),
                },
            },
            Error::Network(cause) => Self {
                kind: Kind::Unanswered,
                detail: root_cause(&*cause),
            },
            Error::TimedOut => Self::timed_out(),
            // An answer that was cut on its way.
            Error::Decompression(_) | Error::NotEnoughData => Self {
                kind: Kind::Unanswered,
                detail: "the answer was cut short".to_owned(),
            },
            Error::SchemaMismatch(_) | Error::InvalidColumnsHeader(_) => {
                Self::unexpected("the columns of the answer do not match")
            }
            Error::RowNotFound => Self::unexpected("the answer has no rows"),
            // The rest may quote data.
            _ => Self::unexpected("the answer cannot be decoded"),
        }
    }
}

/// Code and name of `Code: 60. DB::Exception: … (UNKNOWN_TABLE) (version …)`.
fn exception(text: &str) -> Option<(u32, String)> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let code = digits.parse().ok()?;
    let name = text
        .rsplit('(')
        .filter_map(|part| part.split_once(')').map(|(name, _)| name))
        .find(|name| {
            name.len() > 2
                && name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
        })
        .unwrap_or("exception");
    Some((code, name.to_owned()))
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Unanswered | Kind::TimedOut => {
                write!(f, "ClickHouse did not answer: {}", self.detail)
            }
            Kind::Exception(code) | Kind::Lost(code) => {
                write!(f, "ClickHouse error {code} ({})", self.detail)
            }
            Kind::Disk => write!(f, "ClickHouse error {STD_EXCEPTION} ({FILESYSTEM_ERROR})"),
            Kind::Unexpected => write!(f, "unexpected answer from ClickHouse: {}", self.detail),
        }
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use clickhouse::error::Error;

    use super::*;

    fn answered(text: &str) -> StoreError {
        Error::BadResponse(text.to_owned()).into()
    }

    #[test]
    fn p7_the_servers_text_is_not_kept() {
        let error = answered(
            "Code: 27. DB::Exception: Cannot parse input: expected ')' before: 'secret (TEXT)': (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.7.3.1)",
        );
        assert_eq!(
            error.to_string(),
            "ClickHouse error 27 (CANNOT_PARSE_INPUT_ASSERTION_FAILED)"
        );
        assert_eq!(error.verdict(), Verdict::Poison);
    }

    #[test]
    fn p6_a_verdict_is_by_code_and_an_answer_of_nobody_is_away() {
        let verdict =
            |code: u32| answered(&format!("Code: {code}. DB::Exception: x. (X_Y)")).verdict();
        assert_eq!(verdict(252), Verdict::Busy);
        assert_eq!(verdict(60), Verdict::Fatal);
        assert_eq!(verdict(99_999), Verdict::Retry);
        let disk = "Code: 1001. DB::Exception: std::exception. Code: 1001, type: \
             std::__1::__fs::filesystem::filesystem_error, e.what() = filesystem error: \
             in create_directories: Read-only file system [\"/data/store\"] (version 26.7.3.1)";
        assert_eq!(answered(disk).verdict(), Verdict::Busy);
        assert!(!answered(disk).to_string().contains("/data"));
        assert_eq!(verdict(1001), Verdict::Retry);
        assert_eq!(verdict(32), Verdict::Poison);
        let shard = "Code: 32. DB::Exception: Attempt to read after eof: while receiving packet \
             from 10.0.0.2:9000. (ATTEMPT_TO_READ_AFTER_EOF) (version 26.7.3.1)";
        assert_eq!(answered(shard).verdict(), Verdict::Away);
        assert_eq!(answered("502 Bad Gateway").verdict(), Verdict::Away);
        assert_eq!(StoreError::from(Error::TimedOut).verdict(), Verdict::Away);
    }
}
