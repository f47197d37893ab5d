//! The fields of one Portkey feedback.

use plaudit_event::{Edit, FieldError, Text};
use serde::de::{Deserialize, Deserializer, MapAccess};
use serde_json::value::RawValue;

use crate::raw::SECRETS;
use crate::sent::{Fault, Fields, FromSent, Sent, content};

/// One feedback, or what the JavaScript client makes of an array of them.
///
/// `null` is the same as absent: the clients send it for what was not given.
#[derive(Default)]
pub(super) struct Item<'a> {
    fault: Option<FieldError>,
    pub(super) trace_id: Option<Text<'a>>,
    pub(super) value: Option<f64>,
    pub(super) weight: Option<f64>,
    pub(super) metadata: Option<&'a RawValue>,
    pub(super) feedback_id: Option<Text<'a>>,
    /// Fields that the API does not document.
    pub(super) extra: Vec<(Text<'a>, &'a RawValue)>,
    /// Whether any other field was sent.
    documented: bool,
}

impl<'a> Item<'a> {
    /// The items of an array that was sent as an object with index keys.
    pub(super) fn as_list(&self) -> Option<Vec<&'a RawValue>> {
        if self.documented || self.extra.is_empty() {
            return None;
        }
        let mut items = Vec::with_capacity(self.extra.len());
        for (name, raw) in &self.extra {
            let digits = name.bytes().all(|byte| byte.is_ascii_digit());
            items.push((name.parse::<usize>().ok().filter(|_| digits)?, *raw));
        }
        items.sort_by_key(|(index, _)| *index);
        Some(items.into_iter().map(|(_, raw)| raw).collect())
    }

    /// The item, when no field of it is wrong by itself.
    pub(super) fn checked(self) -> Result<Self, FieldError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self),
        }
    }
}

impl<'de> FromSent<'de> for Item<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut item = Item::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            let mut documented = true;
            match name.as_str() {
                "trace_id" | "traceID" | "traceId" => {
                    item.trace_id = content(fields.read("trace_id")?);
                }
                "value" => item.value = content(fields.number("value")?),
                "weight" => item.weight = content(fields.number("weight")?),
                "metadata" => item.metadata = fields.raw()?,
                "feedback_id" | "feedbackID" | "feedbackId" => {
                    item.feedback_id = content(fields.read("feedback_id")?);
                }
                SECRETS => drop(fields.raw()?),
                _ => {
                    documented = false;
                    let raw = fields.raw()?;
                    item.extra.extend(raw.map(|raw| (name, raw)));
                }
            }
            item.documented |= documented;
        }
        item.fault = fields.fault;
        Ok(Ok(item))
    }
}

impl<'de> Deserialize<'de> for Item<'de> {
    /// What is no object is an item with that fault, not an error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Sent(item) = Sent::<Self>::deserialize(deserializer)?;
        Ok(match item {
            Ok(Edit::Set(item)) => item,
            Ok(Edit::Keep | Edit::Clear) | Err(_) => Self {
                fault: Some(FieldError::wrong_type("body", Self::EXPECTED)),
                ..Self::default()
            },
        })
    }
}
