//! A use of a presigned token: `POST` and `GET /feedback/tokens/{id}`.
//!
//! A use has the token's id, and using it again makes a new version of the same
//! feedback.

use std::borrow::Cow;
use std::sync::Arc;

use http::{StatusCode, header};
use plaudit_event::{Dialect, Edit, FieldError, Json, Text, Value, ValueType};
use serde::de::MapAccess;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::PRESIGNED;
use super::answer::{detail, invalid, invalid_in, noted};
use super::item::{Id, Item, SentSource, Time, object, score};
use super::metadata::{named, string};
use super::put::Put;
use super::take::path_id;
use super::tokens::{no_tokens, terms};
use crate::json::written;
use crate::page;
use crate::public::{self, OPEN};
use crate::sent::{Fault, Fields, FromSent, Sent, content};
use crate::vendor::text;
use crate::{Answer, Call, Fates, Parsed, Refusal, Search, Stored, Token};

/// The note of an answer that a person will see.
const PAGE: &str = "page";

/// What a use says.
#[derive(Default)]
struct Said<'a> {
    fault: Option<FieldError>,
    score: Option<Value<'a>>,
    value: Option<Value<'a>>,
    comment: Option<Text<'a>>,
    correction: Option<Json<'a>>,
    metadata: Option<&'a RawValue>,
}

/// What has to be looked up before a token is used: nothing when it is signed.
pub(super) fn ask(call: &Call<'_>) -> Result<Option<Search>, Refusal> {
    let id = path_id(call).map_err(|_| unknown())?;
    if signed(call).is_some() {
        return Ok(None);
    }
    Ok(Some(Search {
        dialect: Some(Dialect::Langsmith),
        id: Some(id),
        withdrawn: true,
        limit: 1,
        ..Search::default()
    }))
}

/// `POST /feedback/tokens/{id}`.
pub(super) fn post<'a>(
    call: &Call<'a>,
    body: &'a [u8],
    found: Option<&Stored<'_>>,
) -> Result<Parsed, Refusal> {
    let token = opened(call, found)?;
    let text = text(body)?;
    let sent: Sent<Said<'a>> =
        serde_json::from_str(text).map_err(|error| Refusal::syntax(&error))?;
    let Ok(Edit::Set(said)) = sent.0 else {
        return Err(open(invalid(&FieldError::wrong_type("", Said::EXPECTED))));
    };
    redeem(call, token, said, "body")
}

/// `GET /feedback/tokens/{id}`. A link that says nothing keeps nothing: whoever
/// looks at it would be somebody who says something.
pub(super) fn get<'a>(
    call: &Call<'a>,
    _body: &'a [u8],
    found: Option<&Stored<'_>>,
) -> Result<Parsed, Refusal> {
    let token = opened(call, found)?;
    let mut said = Said::default();
    for (name, text) in call.params().filter(|(_, text)| !text.is_empty()) {
        match &*name {
            "score" => said.score = public::value(&text),
            "value" => said.value = public::value(&text),
            "comment" => said.comment = Some(text.into_owned().into()),
            "correction" => said.correction = Json::of(&*text).ok(),
            _ => {}
        }
    }
    let is_text = |score: &Value<'_>| score.kind() == ValueType::Text;
    if said.score.as_ref().is_some_and(is_text) {
        said.fault = Some(FieldError::wrong_type("score", "a number or a boolean"));
    } else if said.says_nothing() {
        said.fault = Some(FieldError::missing("score"));
    }
    let mut parsed = redeem(call, token, said, "query")?;
    let accept = call.headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        parsed.note = PAGE.to_owned();
    }
    Ok(parsed)
}

/// Writes the answer to a use.
pub(super) fn used(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    let answer = noted(parsed, fates);
    if parsed.note != PAGE {
        return Answer {
            fixed_headers: OPEN,
            ..answer
        };
    }
    if answer.status == StatusCode::OK {
        return page::thanks();
    }
    Answer {
        retry_after: answer.retry_after,
        ..page::failure(answer.status, "Please try again in a moment.")
    }
}

fn signed<'a>(call: &'a Call<'_>) -> Option<Cow<'a, str>> {
    let (_, text) = call.params().find(|(name, _)| name == "token")?;
    Some(text)
}

/// What the token in the request allows, by its signature or by what was found.
fn opened(call: &Call<'_>, found: Option<&Stored<'_>>) -> Result<Token<'static>, Refusal> {
    let id = path_id(call).map_err(|_| unknown())?;
    let Some(text) = signed(call) else {
        return remembered(call, found.ok_or_else(unknown)?);
    };
    let key = call.tokens.ok_or_else(no_tokens)?;
    let token = key.open(&text, call.received_at);
    let token = token.map_err(|error| forbidden(&error.to_string()))?;
    if token.dialect != Dialect::Langsmith || token.id != id {
        return Err(forbidden("the token is not valid here"));
    }
    Ok(token)
}

/// The token that a stored feedback, withdrawn or not, was given out by.
fn remembered(call: &Call<'_>, found: &Stored<'_>) -> Result<Token<'static>, Refusal> {
    let feedback = found.feedback.clone().into_owned();
    let metadata = feedback.metadata.as_ref().map(Json::get);
    let metadata: Option<&RawValue> = metadata.and_then(|text| serde_json::from_str(text).ok());
    let expires_at = named(named(metadata, PRESIGNED), "expires_at")
        .and_then(string)
        .and_then(|text| Time::parse(&text))
        .ok_or_else(unknown)?;
    if expires_at.0 <= call.received_at {
        return Err(forbidden("the token has expired"));
    }
    Ok(Token {
        id: feedback.id,
        project: call.project.to_string().into(),
        dialect: Dialect::Langsmith,
        trace_id: feedback.trace_id,
        target: feedback.target,
        metric: feedback.metric,
        rater: None,
        expires_at: expires_at.0,
    })
}

fn redeem(
    call: &Call<'_>,
    token: Token<'static>,
    mut said: Said<'_>,
    place: &str,
) -> Result<Parsed, Refusal> {
    let refuse = |error: FieldError| open(invalid_in(place, &error));
    if let Some(fault) = said.fault.take() {
        return Err(refuse(fault));
    }
    // The token says whose it is; there may be no key that does.
    let project: Arc<str> = (&*token.project).into();
    let call = &Call {
        project: &project,
        ..call.clone()
    };
    let terms = to_raw_value(&terms(token.expires_at)).map_err(|error| Refusal::syntax(&error))?;
    let run = token
        .target
        .map_or_else(|| token.trace_id.clone(), |target| target.id);
    let item = Box::new(Item {
        id: Some(token.id),
        key: Some(token.metric),
        run_id: Some(Id(run)),
        trace_id: Some(Id(token.trace_id)),
        score: said.score,
        value: said.value,
        comment: said.comment,
        correction: said.correction,
        source: said.metadata.map(|metadata| SentSource {
            metadata: Some(metadata),
            ..SentSource::default()
        }),
        rest: vec![(PRESIGNED.into(), &terms)],
        ..Item::default()
    });
    let put = Put::read(call, 0, item).map_err(refuse)?;
    let mut batch = call.batch(0);
    batch.push(&put.event);
    Ok(Parsed {
        note: written(&json!({"id": token.id})),
        ..Parsed::whole(batch)
    })
}

impl Said<'_> {
    fn says_nothing(&self) -> bool {
        self.score.is_none()
            && self.value.is_none()
            && self.comment.is_none()
            && self.correction.is_none()
    }
}

fn unknown() -> Refusal {
    open(detail(StatusCode::NOT_FOUND, "the token is not known"))
}

fn forbidden(message: &str) -> Refusal {
    open(detail(StatusCode::FORBIDDEN, message))
}

fn open(answer: Answer) -> Refusal {
    Refusal::from(Answer {
        fixed_headers: OPEN,
        ..answer
    })
}

// === what fields are read as ===

impl<'de> FromSent<'de> for Said<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut said = Said::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "score" => said.score = content(score(&mut fields)?),
                "value" => said.value = content(fields.value()?),
                "comment" => said.comment = content(fields.read("comment")?),
                "correction" => said.correction = content(fields.json()?),
                "metadata" => said.metadata = object(&mut fields, "metadata")?,
                _ => drop(fields.raw()?),
            }
        }
        said.fault = fields.fault;
        Ok(Ok(said))
    }
}
