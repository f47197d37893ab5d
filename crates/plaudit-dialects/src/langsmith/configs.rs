//! `/feedback-configs`: declares how the scores of a key are to be read.
//!
//! Shows every key that is declared, by whichever API. What the registry's file
//! declares cannot be changed here.

use http::StatusCode;
use plaudit_event::{Declaration, Edit, FieldError, Text, identity};
use serde::de::MapAccess;
use serde_json::json;
use serde_json::value::RawValue;

use super::answer::{detail, invalid, invalid_in};
use super::config::{Config, Declared};
use super::query::Paging;
use crate::sent::{Fault, Fields, FromSent, Sent, content};
use crate::vendor::text;
use crate::{Answer, Call, Fates, Parsed, Refusal};

/// What a request says of a key. A field that was not sent is kept.
#[derive(Default)]
struct Sending<'a> {
    fault: Option<FieldError>,
    key: Option<Text<'a>>,
    config: Option<&'a RawValue>,
    is_enforced: Option<bool>,
    is_lower_score_better: Edit<bool>,
}

impl<'de> FromSent<'de> for Sending<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut sending = Sending::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "feedback_key" => sending.key = content(fields.read("feedback_key")?),
                "feedback_config" => sending.config = fields.raw()?,
                "is_enforced" => sending.is_enforced = content(fields.read("is_enforced")?),
                "is_lower_score_better" => {
                    sending.is_lower_score_better = fields.read("is_lower_score_better")?;
                }
                _ => drop(fields.raw()?),
            }
        }
        sending.fault = fields.fault;
        Ok(Ok(sending))
    }
}

/// `POST`: declares a key, or says again what is declared.
pub(super) fn create<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let (key, sending) = read(call, body)?;
    let config = sending
        .config
        .ok_or_else(|| FieldError::missing("feedback_config"));
    let config = config.and_then(Config::read);
    let declared = Declared {
        feedback_config: config.map_err(|error| invalid(&error))?,
        is_enforced: sending.is_enforced.unwrap_or(false),
        is_lower_score_better: content(sending.is_lower_score_better),
        modified_at: Some(call.received_at.to_string()),
    };
    let Some(known) = known(call, &key) else {
        return Ok(declaring(call, &key, declared));
    };
    if known.feedback_config != declared.feedback_config {
        let message = "the feedback key has another configuration";
        return Err(detail(StatusCode::BAD_REQUEST, message).into());
    }
    let same = known.is_enforced == declared.is_enforced
        && known.is_lower_score_better == declared.is_lower_score_better;
    if same {
        return Ok(unchanged(call, shown(call, &key, &known)));
    }
    refuse_of_file(call, &key)?;
    Ok(declaring(call, &key, declared))
}

/// `PATCH`: changes what is declared of a key.
pub(super) fn change<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let (key, sending) = read(call, body)?;
    let Some(mut declared) = known(call, &key) else {
        let message = "the feedback key has no configuration";
        return Err(detail(StatusCode::NOT_FOUND, message).into());
    };
    refuse_of_file(call, &key)?;
    if let Some(config) = sending.config {
        declared.feedback_config = Config::read(config).map_err(|error| invalid(&error))?;
    }
    if let Some(is_enforced) = sending.is_enforced {
        declared.is_enforced = is_enforced;
    }
    sending
        .is_lower_score_better
        .apply(&mut declared.is_lower_score_better);
    declared.modified_at = Some(call.received_at.to_string());
    Ok(declaring(call, &key, declared))
}

/// `DELETE`: declares a key no longer. One that is not declared is no fault.
pub(super) fn delete<'a>(call: &Call<'a>, _body: &'a [u8]) -> Result<Parsed, Refusal> {
    let mut keys = call.params().filter(|(name, _)| name == "feedback_key");
    let (_, key) = keys
        .next()
        .ok_or_else(|| invalid_in("query", &FieldError::missing("feedback_key")))?;
    refuse_of_file(call, &key)?;
    let declaration = known(call, &key).map(|_| Declaration {
        metric: key.into_owned(),
        declared: None,
    });
    Ok(Parsed {
        declarations: declaration.into_iter().collect(),
        ..unchanged(call, String::new())
    })
}

/// `GET`: the keys that are declared, by name.
pub(super) fn list<'a>(call: &Call<'a>, _body: &'a [u8]) -> Result<Answer, Refusal> {
    let paging = Paging::read(call)?;
    let (mut keys, mut contains) = (Vec::new(), None);
    for (name, text) in call.params() {
        match &*name {
            "key" | "feedback_key" => keys.push(text),
            "name_contains" => contains = Some(text),
            _ => {}
        }
    }
    let wanted = |key: &str| {
        (keys.is_empty() || keys.iter().any(|wanted| wanted == key))
            && contains.as_ref().is_none_or(|part| key.contains(&**part))
    };
    let page = call
        .registry()
        .iter()
        .filter(|(key, _)| wanted(key))
        .skip(usize::try_from(paging.offset).unwrap_or(usize::MAX))
        .take(usize::try_from(paging.limit).unwrap_or(usize::MAX));
    let shown: Vec<_> = page
        .map(|(key, metric)| shown(call, key, &Declared::of(metric)))
        .collect();
    Ok(Answer::new(
        StatusCode::OK,
        format!("[{}]", shown.join(",")),
    ))
}

/// Says that a key is declared no longer.
pub(super) fn gone(_: &Parsed, _: &Fates<'_>) -> Answer {
    Answer::new(StatusCode::NO_CONTENT, String::new())
}

fn read<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<(Text<'a>, Sending<'a>), Refusal> {
    let text = text(body)?;
    let sent: Sent<Sending<'a>> =
        serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
    let Ok(Edit::Set(mut sending)) = sent.0 else {
        return Err(invalid(&FieldError::wrong_type("", Sending::EXPECTED)).into());
    };
    if let Some(fault) = sending.fault.take() {
        return Err(invalid(&fault).into());
    }
    let key = sending.key.take();
    let key = key.ok_or_else(|| invalid(&FieldError::missing("feedback_key")))?;
    let max = call.limits.max_metric_bytes;
    if !(1..=max).contains(&key.len()) {
        let expected = format!("a string of 1 to {max} bytes");
        return Err(invalid(&FieldError::wrong_type("feedback_key", &expected)).into());
    }
    Ok((key, sending))
}

fn known(call: &Call<'_>, key: &str) -> Option<Declared> {
    call.registry().get(key).map(Declared::of)
}

fn refuse_of_file(call: &Call<'_>, key: &str) -> Result<(), Refusal> {
    if call.registries.file().get(key).is_none() {
        return Ok(());
    }
    let message = "the feedback key is declared for this installation";
    Err(detail(StatusCode::BAD_REQUEST, message).into())
}

fn declaring(call: &Call<'_>, key: &str, declared: Declared) -> Parsed {
    let note = shown(call, key, &declared);
    Parsed {
        declarations: vec![declared.declaration(key)],
        ..unchanged(call, note)
    }
}

fn unchanged(call: &Call<'_>, note: String) -> Parsed {
    Parsed {
        note,
        ..Parsed::whole(call.batch(0))
    }
}

/// A key as the API shows it. The workspace is the key's project, as a UUID.
fn shown(call: &Call<'_>, key: &str, declared: &Declared) -> String {
    let modified_at = declared.modified_at.as_deref();
    json!({
        "feedback_key": key,
        "feedback_config": declared.feedback_config,
        "is_enforced": declared.is_enforced,
        "is_lower_score_better": declared.is_lower_score_better.unwrap_or(false),
        "tenant_id": identity::derived(&[call.project]),
        "modified_at": modified_at.unwrap_or("1970-01-01T00:00:00.000000Z"),
    })
    .to_string()
}
