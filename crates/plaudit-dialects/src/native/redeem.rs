//! `/v1/tokens/{token}`: says what a token allows, without a key.
//!
//! A page sends JSON, also as plain text (what `sendBeacon` sends without asking
//! first), and an HTML form its fields. A link is opened, and answers with a page
//! that asks: only its form says. All of it comes to one feedback, since its id is
//! the token's; the one who says it again corrects himself.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use plaudit_event::{
    Dialect, Edit, Feedback, FieldError, ItemCode, Json, MetricType, Operation, Text, Value,
};
use serde::de::MapAccess;
use serde_json::json;

use super::token::no_tokens;
use crate::json::written;
use crate::page::{self, Question};
use crate::public::{self, OPEN};
use crate::sent::{Fault, Fields, FromSent, Sent, content};
use crate::vendor::text;
use crate::{Answer, Call, Delivery, Fates, Parsed, Refusal, Refused, Token};

/// The note of an answer that a person will see.
const PAGE: &str = "page";

/// What a use says.
#[derive(Default)]
struct Said<'a> {
    fault: Option<FieldError>,
    value: Option<Value<'a>>,
    score: Option<f64>,
    comment: Option<Text<'a>>,
    correction: Option<Json<'a>>,
    metadata: Option<Json<'a>>,
}

/// Shows the page that asks.
pub(super) fn ask<'a>(call: &Call<'a>, _body: &'a [u8]) -> Result<Answer, Refusal> {
    let token = opened(call).map_err(|refused| refused.page())?;
    let (mut value, mut comment) = (None, None);
    for (name, text) in call.params().filter(|(_, text)| !text.is_empty()) {
        match &*name {
            "value" => value = Some(text),
            "comment" => comment = Some(text),
            _ => {}
        }
    }
    let question = Question {
        metric: &token.metric,
        declared: call.registries.of(&token.project).get(&token.metric),
        value: value.as_deref(),
        comment: comment.as_deref(),
    };
    Ok(question.page())
}

/// Reads what is said.
pub(super) fn parse<'a>(call: &Call<'a>, body: &'a [u8]) -> Result<Parsed, Refusal> {
    let by_form = is_form(call.headers);
    read(call, body, by_form).map_err(|refused| match by_form {
        true => refused.page(),
        false => refused.json(),
    })
}

/// Writes the answer: a page to a form, else JSON.
pub(super) fn answer(parsed: &Parsed, fates: &Fates<'_>) -> Answer {
    let by_form = parsed.note == PAGE;
    let refused = match fates.delivery(0) {
        Delivery::Confirmed(_) if by_form => return page::thanks(),
        Delivery::Confirmed(_) => {
            let ids: Vec<_> = parsed.batch.ids().collect();
            let body = json!({"status": "accepted", "id": ids.first()});
            return open(Answer::new(StatusCode::OK, written(&body)));
        }
        Delivery::Unconfirmed | Delivery::Refused(Refused::Busy { .. }) => Why::Other {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable",
            message: "the feedback could not be confirmed: please try again",
        },
        Delivery::Refused(Refused::TooLarge) => {
            let message = "must be smaller as a whole";
            FieldError::new(ItemCode::TooLong, "", message).into()
        }
        Delivery::Refused(Refused::Unstorable) => {
            let message = "cannot be stored";
            FieldError::new(ItemCode::OutOfRange, "", message).into()
        }
    };
    let answer = match by_form {
        true => page::failure(refused.status(), &refused.to_string()),
        false => refused.answer(),
    };
    Answer {
        retry_after: fates.retry_after(),
        ..answer
    }
}

/// An error in the native shape, for what only a dialect knows.
pub(super) fn error(status: StatusCode, code: &str, field: Option<&str>, message: &str) -> Answer {
    let body = json!({"error": {"code": code, "message": message, "field": field}});
    open(Answer::new(status, written(&body)))
}

fn open(answer: Answer) -> Answer {
    Answer {
        fixed_headers: OPEN,
        ..answer
    }
}

/// Why a use is not taken, before it is known who is to read it.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("{message}")]
    Other {
        status: StatusCode,
        code: &'static str,
        message: &'static str,
    },
    #[error(transparent)]
    Request(#[from] Refusal),
    #[error(transparent)]
    Token(#[from] crate::TokenError),
}

fn opened(call: &Call<'_>) -> Result<Token<'static>, Why> {
    let key = call.tokens.ok_or_else(no_tokens)?;
    let token = key.open(call.path("id").unwrap_or_default(), call.received_at)?;
    if token.dialect != Dialect::Native {
        return Err(crate::TokenError::Invalid.into());
    }
    Ok(token)
}

fn read(call: &Call<'_>, body: &[u8], by_form: bool) -> Result<Parsed, Why> {
    let token = opened(call)?;
    // The token says whose it is; there is no key that does.
    let project: Arc<str> = (&*token.project).into();
    let call = &Call {
        project: &project,
        ..call.clone()
    };
    let mut said = match by_form {
        true => Said::from_form(body, call, &token),
        false => Said::from_json(body)?,
    };
    if let Some(fault) = said.fault.take() {
        return Err(fault.into());
    }
    let id = token.id;
    let operation = Operation::Put(said.into_feedback(token)?);
    call.check(&operation)?;
    let mut batch = call.batch(body.len());
    // Chosen by the token, so that a later use is a later version.
    let named = call.name_put(0, Some(id), None);
    batch.push(&call.event(Dialect::Native, named.version_time, operation));
    Ok(Parsed {
        note: if by_form { PAGE } else { "" }.to_owned(),
        ..Parsed::whole(batch)
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE);
    let media = media
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default();
    let (media, _parameters) = media.split_once(';').unwrap_or((media, ""));
    media
        .trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

// === impl Said ===

impl<'a> Said<'a> {
    fn from_json(body: &'a [u8]) -> Result<Self, Refusal> {
        let sent: Sent<Self> =
            serde_json::from_str(text(body)?).map_err(|error| Refusal::syntax(&error))?;
        match sent.0 {
            Ok(Edit::Set(said)) => Ok(said),
            _ => Err(FieldError::wrong_type("body", Self::EXPECTED).into()),
        }
    }

    /// The fields of a form, of which an empty one was not filled in.
    fn from_form(body: &[u8], call: &Call<'_>, token: &Token<'_>) -> Self {
        let metric = call.registry().get(&token.metric);
        let words = metric.is_some_and(|metric| {
            matches!(metric.kind, MetricType::Categorical | MetricType::Text)
        });
        let mut said = Self::default();
        for (name, text) in form_urlencoded::parse(body).filter(|(_, text)| !text.is_empty()) {
            match &*name {
                // A word that looks like a number is a word all the same.
                "value" if words => said.value = Value::of(&*text),
                "value" => said.value = public::value(&text),
                "comment" => said.comment = Some(text.into_owned().into()),
                "score" => match text.parse() {
                    Ok(score) => said.score = Some(score),
                    Err(_) => said.fault = Some(FieldError::wrong_type("score", "a number")),
                },
                _ => {}
            }
        }
        said
    }

    fn into_feedback(self, token: Token<'a>) -> Result<Feedback<'a>, FieldError> {
        let comment = self.comment.filter(|comment| !comment.is_empty());
        if self.value.is_none() && comment.is_none() && self.correction.is_none() {
            let message = "is required, or a comment, or a correction";
            return Err(FieldError::new(ItemCode::MissingField, "value", message));
        }
        let mut feedback = Feedback::new(token.id, token.trace_id, token.metric);
        if let Some(value) = self.value {
            feedback = feedback.with_value(value);
        }
        if self.score.is_some() {
            feedback.score = self.score;
        }
        feedback.comment = comment;
        feedback.correction = self.correction;
        feedback.metadata = self.metadata;
        feedback.target = token.target;
        feedback.rater = token.rater;
        Ok(feedback)
    }
}

impl<'de> FromSent<'de> for Said<'de> {
    const EXPECTED: &'static str = "an object";

    fn from_object<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Fault>, A::Error> {
        let mut said = Said::default();
        let mut fields = Fields::new(map);
        while let Some(name) = fields.next()? {
            match name.as_str() {
                "value" => said.value = content(fields.value()?),
                "score" => said.score = content(fields.number("score")?),
                "comment" => said.comment = content(fields.read("comment")?),
                "correction" => said.correction = content(fields.json()?),
                "metadata" => said.metadata = content(fields.object("metadata")?),
                name => fields.unknown("", name)?,
            }
        }
        said.fault = fields.fault;
        Ok(Ok(said))
    }
}

// === impl Why ===

impl Why {
    fn status(&self) -> StatusCode {
        match self {
            Self::Field(_) => StatusCode::BAD_REQUEST,
            Self::Other { status, .. } => *status,
            Self::Request(Refusal::Answered(answer)) => answer.status,
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Token(_) => StatusCode::UNAUTHORIZED,
        }
    }

    fn answer(&self) -> Answer {
        let status = self.status();
        match self {
            Self::Field(fault) | Self::Request(Refusal::Item(fault)) => {
                let field = Some(&*fault.field).filter(|field| !field.is_empty());
                error(status, fault.code.code(), field, &fault.message)
            }
            Self::Other { code, message, .. } => error(status, code, None, message),
            Self::Request(Refusal::Answered(answer)) => (**answer).clone(),
            Self::Request(refusal) => error(status, "invalid_json", None, &refusal.to_string()),
            Self::Token(why) => error(status, "unauthorized", None, &why.to_string()),
        }
    }

    /// Says why in JSON, to whichever page asked.
    fn json(self) -> Refusal {
        self.answer().into()
    }

    /// Says why to a person.
    fn page(self) -> Refusal {
        page::failure(self.status(), &self.to_string()).into()
    }
}
