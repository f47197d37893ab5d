//! Portkey's `metadata`: kept whole, and what can be searched of it as tags.

use std::borrow::Cow;
use std::collections::HashSet;

use plaudit_event::{FieldError, Json, Limits, Tags, Text};
use serde_json::value::RawValue;

use crate::json::written;
use crate::sent::Entries;

/// What a feedback's metadata comes to.
pub(super) struct Metadata<'a> {
    /// The object, with the undocumented fields of the feedback.
    pub(super) json: Json<'a>,
    /// Every string of its top level that fits a tag. One that does not fit is
    /// in the metadata all the same.
    pub(super) tags: Tags<'a>,
}

/// The key of the person who gave the feedback.
const RATER: &str = "_user";

impl<'a> Metadata<'a> {
    /// Reads metadata and puts `extra` into it; `None` when there is neither.
    ///
    /// Metadata that is a string of JSON, as an older version of the API asked
    /// for, counts as the object in the string.
    pub(super) fn read(
        sent: Option<&'a RawValue>,
        extra: &[(Text<'a>, &'a RawValue)],
        limits: &Limits,
    ) -> Result<Option<Self>, FieldError> {
        let text: Cow<'a, str> = match sent.map(RawValue::get) {
            None if extra.is_empty() => return Ok(None),
            None => "{}".into(),
            Some(text) if text.starts_with('"') => match serde_json::from_str::<Text<'a>>(text) {
                Ok(inner) => inner.into_cow(),
                Err(_) => return Err(not_an_object()),
            },
            Some(text) => text.into(),
        };
        let text = match extra {
            [] => text,
            extra => with_extra(&text, extra)?.into(),
        };
        let (json, tags) = match text {
            Cow::Borrowed(text) => index(text, limits)?,
            Cow::Owned(text) => {
                let (json, tags) = index(&text, limits)?;
                (json.into_owned(), tags.into_owned())
            }
        };
        Ok(Some(Self { json, tags }))
    }

    /// Who gave the feedback.
    pub(super) fn rater(&self, limits: &Limits) -> Option<Text<'a>> {
        let rater = self.tags.get(RATER)?;
        let fits = (1..=limits.max_id_bytes).contains(&rater.len());
        fits.then(|| rater.to_owned().into())
    }
}

fn index<'t>(text: &'t str, limits: &Limits) -> Result<(Json<'t>, Tags<'t>), FieldError> {
    let json = Json::parse(text).map_err(|_| not_an_object())?;
    let mut tags = Tags::default();
    for (key, raw) in entries(text)?.0 {
        // A string that is no Unicode is no tag.
        let content = Some(raw.get())
            .filter(|raw| raw.starts_with('"'))
            .and_then(|raw| serde_json::from_str::<Text<'t>>(raw).ok());
        if let Some(content) = content
            && tags.len() < limits.max_tags
            && (1..=limits.max_tag_key_bytes).contains(&key.len())
            && content.len() <= limits.max_tag_value_bytes
        {
            tags.insert(key, content);
        }
    }
    Ok((json, tags))
}

/// The object with more entries. Where both have a key, the object's own stays.
fn with_extra(object: &str, extra: &[(Text<'_>, &RawValue)]) -> Result<String, FieldError> {
    let entries = entries(object)?.0;
    let known: HashSet<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    let mut text = object
        .trim_ascii_end()
        .strip_suffix('}')
        .ok_or_else(not_an_object)?
        .to_owned();
    let mut first = known.is_empty();
    for (key, raw) in extra {
        if known.contains(key.as_str()) {
            continue;
        }
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        text.push_str(&written(&key));
        text.push(':');
        text.push_str(raw.get());
    }
    text.push('}');
    Ok(text)
}

fn entries(text: &str) -> Result<Entries<'_>, FieldError> {
    serde_json::from_str(text).map_err(|_| not_an_object())
}

fn not_an_object() -> FieldError {
    FieldError::wrong_type("metadata", "an object")
}
