//! Query parameters, each of which is known, given once and well formed.
//!
//! Errors name the parameter and never repeat what it held.

use std::borrow::Cow;
use std::str::FromStr;

use plaudit_event::{Dialect, Micros, TargetKind};
use plaudit_service::{ApiError, ErrorCode};
use plaudit_store::read::{Filter, Position, TargetFilter};

use crate::{QueryConfig, cursor};

/// The parameters of one request, to be taken by name.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

/// Some of a list.
#[derive(Debug, PartialEq)]
pub(crate) struct Paging {
    pub(crate) limit: usize,
    pub(crate) after: Option<Position>,
}

/// Times between which feedback was received.
#[derive(Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) from: Option<Micros>,
    pub(crate) to: Option<Micros>,
}

/// What a parameter that takes a tag begins with.
const TAG: &str = "tag.";

/// The longest name that an error repeats, in characters.
const MAX_NAME_CHARS: usize = 64;

impl Params {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// What is left is not known.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(MAX_NAME_CHARS).collect();
                let error = ApiError::new(ErrorCode::InvalidParameter, "is not a parameter here");
                Err(error.in_field(name))
            }
        }
    }

    /// Takes a parameter that is given at most once and is not empty.
    fn take(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        let mut texts = self
            .0
            .extract_if(.., |(known, _)| known == name)
            .map(|(_, text)| text);
        match (texts.next(), texts.next()) {
            (_, Some(_)) => Err(ApiError::invalid_parameter(name, "given once")),
            (Some(text), None) if text.is_empty() => Err(empty(name)),
            (text, None) => Ok(text),
        }
    }

    fn parse<T: FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        let parsed = text.parse();
        parsed
            .map(Some)
            .map_err(|_| ApiError::invalid_parameter(name, expected))
    }

    fn time(&mut self, name: &'static str) -> Result<Option<Micros>, ApiError> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        // A `+` before the offset that was not escaped arrives as a space.
        let parsed = text.replace(' ', "+").parse();
        let expected = "an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z";
        parsed
            .map(Some)
            .map_err(|_| ApiError::invalid_parameter(name, expected))
    }

    /// `from` and `to`.
    pub(crate) fn interval(&mut self) -> Result<Interval, ApiError> {
        Ok(Interval {
            from: self.time("from")?,
            to: self.time("to")?,
        })
    }

    /// `limit` and `cursor`.
    pub(crate) fn paging(
        &mut self,
        config: &QueryConfig,
        default_limit: usize,
    ) -> Result<Paging, ApiError> {
        let expected = format!("an integer from 1 to {}", config.max_limit);
        let limit = self.parse("limit", &expected)?.unwrap_or(default_limit);
        if !(1..=config.max_limit).contains(&limit) {
            return Err(ApiError::invalid_parameter("limit", &expected));
        }
        let after =
            match self.take("cursor")? {
                None => None,
                Some(text) => Some(cursor::decode(&text).map_err(|_| {
                    ApiError::invalid_parameter("cursor", "a next_cursor of this API")
                })?),
            };
        Ok(Paging { limit, after })
    }

    /// `by=tag.K`: the tag's key.
    pub(crate) fn by_tag(&mut self) -> Result<Option<String>, ApiError> {
        let Some(text) = self.take("by")? else {
            return Ok(None);
        };
        match text.strip_prefix(TAG) {
            Some(key) if !key.is_empty() => Ok(Some(key.to_owned())),
            _ => Err(ApiError::invalid_parameter("by", "tag. and a tag's key")),
        }
    }

    /// Every filter of a list.
    pub(crate) fn filter(&mut self) -> Result<Filter, ApiError> {
        let Interval { from, to } = self.interval()?;
        Ok(Filter {
            trace_id: self.take("trace_id")?,
            metric: self.take("metric")?,
            dialect: self.parse("dialect", &one_of(Dialect::ALL.map(Dialect::name)))?,
            rater: self.take("rater")?,
            target: self.take("target")?.map(target),
            session_id: self.take("session_id")?,
            experiment_id: self.take("experiment_id")?,
            group_id: self.take("group_id")?,
            tags: self.tags()?,
            from,
            to,
        })
    }

    /// `tag.K=V`, each key once.
    fn tags(&mut self) -> Result<Vec<(String, String)>, ApiError> {
        let mut tags: Vec<(String, String)> = Vec::new();
        for (name, text) in self.0.extract_if(.., |(name, _)| name.starts_with(TAG)) {
            let key = name.strip_prefix(TAG).unwrap_or_default();
            if key.is_empty() {
                return Err(ApiError::invalid_parameter(TAG, "followed by a tag's key"));
            }
            if text.is_empty() {
                return Err(empty(name));
            }
            if tags.iter().any(|(known, _)| known == key) {
                return Err(ApiError::invalid_parameter(name, "given once"));
            }
            tags.push((key.to_owned(), text));
        }
        Ok(tags)
    }
}

/// `kind:id`, or an id of any kind. An id that begins like a kind needs its own
/// kind before it.
fn target(text: String) -> TargetFilter {
    if let Some((kind, id)) = text.split_once(':')
        && let Ok(kind) = kind.parse::<TargetKind>()
    {
        return TargetFilter {
            kind: Some(kind),
            id: id.to_owned(),
        };
    }
    TargetFilter {
        kind: None,
        id: text,
    }
}

fn empty(name: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::new(ErrorCode::InvalidParameter, "must not be empty").in_field(name)
}

fn one_of<const N: usize>(names: [&str; N]) -> String {
    format!("one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let owned = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Params::new(owned.collect())
    }

    fn fault(result: Result<impl std::fmt::Debug, ApiError>) -> (String, String) {
        let error = result.expect_err("a fault");
        assert_eq!(error.code, ErrorCode::InvalidParameter);
        (
            error.field.unwrap_or_default().into_owned(),
            error.message.into_owned(),
        )
    }

    #[test]
    fn every_filter_is_read() {
        let mut params = params(&[
            ("trace_id", "t"),
            ("metric", "m"),
            ("dialect", "portkey"),
            ("rater", "u"),
            ("target", "run:r:1"),
            ("session_id", "s"),
            ("experiment_id", "e"),
            ("group_id", "g"),
            ("tag.env", "prod"),
            ("tag.tag.x", "y"),
            ("from", "2026-01-02T04:04:05 01:00"),
            ("to", "2026-01-02T03:04:06Z"),
        ]);
        let filter = params.filter().unwrap();
        params.finish().unwrap();
        let from = Micros(1_767_323_045_000_000);
        let text = |text: &str| Some(text.to_owned());
        let expected = Filter {
            trace_id: text("t"),
            metric: text("m"),
            dialect: Some(Dialect::Portkey),
            rater: text("u"),
            target: Some(TargetFilter {
                kind: Some(TargetKind::Run),
                id: "r:1".to_owned(),
            }),
            session_id: text("s"),
            experiment_id: text("e"),
            group_id: text("g"),
            tags: vec![
                ("env".to_owned(), "prod".to_owned()),
                ("tag.x".to_owned(), "y".to_owned()),
            ],
            from: Some(from),
            to: Some(Micros(from.0 + 1_000_000)),
        };
        assert_eq!(filter, expected);
        assert_eq!(
            target("r:1".to_owned()),
            TargetFilter {
                kind: None,
                id: "r:1".to_owned()
            }
        );
    }

    #[test]
    fn a_fault_names_its_parameter() {
        for (pairs, field) in [
            (&[("dialect", "secret")][..], "dialect"),
            (&[("from", "yesterday")], "from"),
            (&[("to", "2026-01-02")], "to"),
            (&[("metric", "")], "metric"),
            (&[("rater", "a"), ("rater", "b")], "rater"),
            (&[("tag.", "x")], "tag."),
            (&[("tag.k", "")], "tag.k"),
            (&[("tag.k", "a"), ("tag.k", "a")], "tag.k"),
        ] {
            let (named, message) = fault(params(pairs).filter());
            assert_eq!(named, field);
            assert!(!message.contains("secret"), "{message}");
        }
        let mut unknown = params(&[("metric", "m"), ("metrics", "m")]);
        unknown.filter().unwrap();
        assert_eq!(fault(unknown.finish()).0, "metrics");
        for by in ["env", "tag.", "tagenv"] {
            assert_eq!(fault(params(&[("by", by)]).by_tag()).0, "by");
        }
    }

    #[test]
    fn p5_a_page_is_bounded() {
        let config = QueryConfig::default();
        let paging = |pairs: &[(&str, &str)]| params(pairs).paging(&config, 7);
        assert_eq!(
            paging(&[]).unwrap(),
            Paging {
                limit: 7,
                after: None
            }
        );
        assert_eq!(paging(&[("limit", "1000")]).unwrap().limit, 1000);
        for limit in ["0", "1001", "-1", "x", "1e2", "99999999999999999999"] {
            let (field, message) = fault(paging(&[("limit", limit)]));
            assert_eq!(
                (&*field, &*message),
                ("limit", "must be an integer from 1 to 1000")
            );
        }
        let position = Position {
            received_at: Micros(5),
            trace_id: "t".to_owned(),
            id: Uuid::nil(),
        };
        let cursor = cursor::encode(&position);
        assert_eq!(
            paging(&[("cursor", &cursor)]).unwrap().after,
            Some(position)
        );
        assert_eq!(fault(paging(&[("cursor", "AQ")])).0, "cursor");
    }
}
