//! Holds the dialects to their recordings: `fixtures/<dialect>/*.json`.
//!
//! A fixture has a request, the events that it comes to, and the answer. With
//! `PLAUDIT_BLESS=1` the last two are written instead of compared; read the
//! difference before it is committed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use plaudit_event::{
    Feedback, Limits, Micros, Outcome, Receipt, Registries, Registry, UnknownMetrics,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    Action, Answer, Call, Content, Delivery, Fates, Fault, Parsed, Refusal, Refused, Stored,
    TokenKey, Vendor,
};

/// All that a call borrows, for tests.
pub(crate) struct World {
    project: Arc<str>,
    headers: HeaderMap,
    limits: Limits,
    registries: Registries,
    tokens: TokenKey,
}

impl World {
    pub(crate) fn new(project: &str) -> Self {
        Self::with_registry(project, Registry::default())
    }

    pub(crate) fn with_registry(project: &str, registry: Registry) -> Self {
        Self {
            project: project.into(),
            headers: HeaderMap::new(),
            limits: Limits::default(),
            registries: Registries::new(registry),
            tokens: TokenKey::new(&[7; 32]).unwrap(),
        }
    }

    /// A call for JSON at the time `now`, of at most 100 events.
    pub(crate) fn call(&self, now: Micros) -> Call<'_> {
        Call {
            project: &self.project,
            received_at: now,
            idempotency_key: None,
            path: &[],
            query: "",
            headers: &self.headers,
            content: Content::Json,
            limits: &self.limits,
            registries: &self.registries,
            max_events: 100,
            tokens: Some(&self.tokens),
            public_url: Some("http://plaudit.test"),
            mount: "",
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    about: String,
    request: Request,
    /// Refuse metrics that nobody declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    declared_only: bool,
    /// What becomes of each event: `confirmed` unless it says otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deliveries: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    states: Vec<String>,
    /// What is stored, for a read and for what asks first: each as an event's
    /// feedback has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stored: Vec<Box<RawValue>>,
    /// What a read looks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    #[serde(default)]
    events: Vec<Box<RawValue>>,
    /// Metrics that the request declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    declarations: Vec<Box<RawValue>>,
    #[serde(default)]
    answer: Option<Answered>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    /// What stands in the place of each name in the path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    path_params: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    query: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ndjson: bool,
    /// The body as text, exactly as it is sent; of a multipart one what is kept.
    #[serde(default)]
    body: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    /// Absent when the request is refused as a whole: the intake knows it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fixed_headers: Vec<String>,
    body: Box<RawValue>,
}

/// 2026-01-02T03:04:05Z.
const NOW: Micros = Micros(1_767_323_045_000_000);

const METRICS: &str = "
    [metrics.stars]
    type = \"integer\"
    min = 1
    max = 5
    [metrics.draft_accepted]
    type = \"boolean\"
    level = \"inference\"
    [metrics.user_rating]
    type = \"float\"
    level = \"episode\"
";

/// Checks every fixture of a vendor.
pub(crate) fn check(vendor: &Vendor) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(vendor.dialect.name());
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        check_file(vendor, &path);
    }
}

fn check_file(vendor: &Vendor, path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut fixture: Fixture =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    run(vendor, &mut fixture);
    let actual = serde_json::to_string_pretty(&fixture).unwrap() + "\n";
    if std::env::var_os("PLAUDIT_BLESS").is_some() {
        std::fs::write(path, actual).unwrap();
    } else {
        assert_eq!(text, actual, "{}", path.display());
    }
}

/// Fills in what the request comes to.
fn run(vendor: &Vendor, fixture: &mut Fixture) {
    let unknown = if fixture.declared_only {
        UnknownMetrics::Reject
    } else {
        UnknownMetrics::Accept
    };
    let registry = Registry::from_toml(METRICS, unknown).unwrap();
    let mut world = World::with_registry("default", registry);
    for (name, value) in &fixture.request.headers {
        let name: HeaderName = name.parse().unwrap();
        world.headers.append(name, value.parse().unwrap());
    }
    let request = fixture.request.clone();
    let path: Vec<_> = request
        .path_params
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let call = Call {
        idempotency_key: request.idempotency_key.as_deref(),
        path: &path,
        query: &request.query,
        content: if request.ndjson {
            Content::Ndjson
        } else {
            Content::Json
        },
        max_events: 3,
        ..world.call(NOW)
    };
    fixture.events.clear();
    fixture.declarations.clear();
    let answer = answer_to(vendor, fixture, &call, request.body.as_bytes());
    fixture.answer = Some(answer.unwrap_or_else(|refusal| refused(vendor, &call, &refusal)));
}

fn answer_to(
    vendor: &Vendor,
    fixture: &mut Fixture,
    call: &Call<'_>,
    body: &[u8],
) -> Result<Answered, Refusal> {
    let method: Method = fixture.request.method.parse().unwrap();
    let endpoint = vendor
        .endpoints
        .iter()
        .find(|endpoint| endpoint.method == method && endpoint.path == fixture.request.path)
        .expect("the fixture's endpoint is there");
    match endpoint.action {
        Action::Say(say) => say(call, body).map(Answered::from),
        Action::Read { ask, show } => {
            let search = ask(call)?;
            fixture.search = Some(format!("{search:?}"));
            let stored: Vec<_> = fixture.stored.iter().map(|raw| stored(raw)).collect();
            Ok(show(&search, &stored).into())
        }
        Action::Redeem {
            ask, parse, answer, ..
        } => {
            let search = ask(call)?;
            fixture.search = search.map(|search| format!("{search:?}"));
            let raw = fixture.search.as_ref().and(fixture.stored.first());
            let parsed = parse(call, body, raw.map(|raw| stored(raw)).as_ref())?;
            Ok(take(fixture, &parsed, answer).into())
        }
        Action::Take { parse, answer, .. } => {
            let parsed = parse(call, body)?;
            Ok(take(fixture, &parsed, answer).into())
        }
    }
}

fn take(
    fixture: &mut Fixture,
    parsed: &Parsed,
    answer: fn(&Parsed, &Fates<'_>) -> Answer,
) -> Answer {
    fixture.events = parsed
        .batch
        .records()
        .map(|record| to_raw_value(&serde_json::from_slice::<&RawValue>(record.value).unwrap()))
        .collect::<Result<_, _>>()
        .unwrap();
    fixture.declarations = parsed
        .declarations
        .iter()
        .map(to_raw_value)
        .collect::<Result<_, _>>()
        .unwrap();
    let deliveries: Vec<_> = (0..parsed.batch.len())
        .map(|index| delivery(index, fixture.deliveries.get(index)))
        .collect();
    let states: Vec<Outcome> = fixture
        .states
        .iter()
        .map(|state| state.parse().unwrap())
        .collect();
    let fates = Fates {
        deliveries: &deliveries,
        states: &states,
        request_id: "r-1",
    };
    answer(parsed, &fates)
}

fn refused(vendor: &Vendor, call: &Call<'_>, refusal: &Refusal) -> Answered {
    if let Refusal::Answered(answer) = refusal {
        return (**answer).clone().into();
    }
    let message = refusal.to_string();
    let fault = Fault {
        status: StatusCode::BAD_REQUEST,
        field: None,
        message: &message,
        headers: call.headers,
        route: None,
    };
    let body = vendor.fault.map_or_else(
        || serde_json::json!(message).to_string(),
        |write| write(&fault),
    );
    Answered {
        status: None,
        retry_after: None,
        header: None,
        fixed_headers: Vec::new(),
        body: RawValue::from_string(body).unwrap(),
    }
}

/// One that was received at [`NOW`] and changed a second later.
fn stored(raw: &RawValue) -> Stored<'_> {
    let feedback: Feedback<'_> = serde_json::from_str(raw.get()).unwrap();
    Stored {
        feedback,
        received_at: NOW,
        modified_at: Micros(NOW.0 + 1_000_000),
    }
}

impl From<Answer> for Answered {
    fn from(answer: Answer) -> Self {
        let header = |(name, value): (HeaderName, HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let body = match answer.content_type {
            _ if answer.body.is_empty() => "null".to_owned(),
            "application/json" => answer.body,
            _ => serde_json::to_string(&answer.body).unwrap(),
        };
        Self {
            status: Some(answer.status.as_u16()),
            retry_after: answer.retry_after,
            header: answer.header.map(header),
            fixed_headers: answer
                .fixed_headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect(),
            body: RawValue::from_string(body).unwrap(),
        }
    }
}

fn delivery(index: usize, word: Option<&String>) -> Delivery {
    match word.map(String::as_str) {
        None | Some("confirmed") => Delivery::Confirmed(Receipt {
            topic: "plaudit.feedback".into(),
            partition: 3,
            offset: 1042 + i64::try_from(index).unwrap(),
        }),
        Some("unconfirmed") => Delivery::Unconfirmed,
        Some("busy") => Delivery::Refused(Refused::Busy { retry_after: 2 }),
        Some("too_large") => Delivery::Refused(Refused::TooLarge),
        Some(other) => panic!("no delivery is called {other}"),
    }
}
