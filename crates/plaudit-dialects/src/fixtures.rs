//! Holds the dialects to their recordings: `fixtures/<dialect>/*.json`.
//!
//! A fixture has a request, the events that it comes to, and the answer. With
//! `PLAUDIT_BLESS=1` the last two are written instead of compared; read the
//! difference before it is committed.

use std::path::Path;
use std::sync::Arc;

use http::Method;
use plaudit_event::{Limits, Micros, Outcome, Receipt, Registry, UnknownMetrics};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::{Call, Content, Delivery, Fates, Refused, Vendor};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    about: String,
    request: Request,
    /// What becomes of each event: `confirmed` unless it says otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deliveries: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    states: Vec<String>,
    #[serde(default)]
    events: Vec<Box<RawValue>>,
    #[serde(default)]
    answer: Option<Answered>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ndjson: bool,
    /// The body as text, exactly as it is sent.
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
    body: Box<RawValue>,
}

/// 2026-01-02T03:04:05Z.
const NOW: Micros = Micros(1_767_323_045_000_000);

const METRICS: &str = "
    [metrics.stars]
    type = \"integer\"
    min = 1
    max = 5
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
    let (events, answer) = run(vendor, &fixture);
    fixture.events = events;
    fixture.answer = Some(answer);
    let actual = serde_json::to_string_pretty(&fixture).unwrap() + "\n";
    if std::env::var_os("PLAUDIT_BLESS").is_some() {
        std::fs::write(path, actual).unwrap();
    } else {
        assert_eq!(text, actual, "{}", path.display());
    }
}

fn run(vendor: &Vendor, fixture: &Fixture) -> (Vec<Box<RawValue>>, Answered) {
    let request = &fixture.request;
    let method: Method = request.method.parse().unwrap();
    let endpoint = vendor
        .endpoints
        .iter()
        .find(|endpoint| endpoint.method == method && endpoint.path == request.path)
        .expect("the fixture's endpoint is there");
    let (project, limits): (Arc<str>, _) = ("default".into(), Limits::default());
    let registry = Registry::from_toml(METRICS, UnknownMetrics::Accept).unwrap();
    let call = Call {
        project: &project,
        received_at: NOW,
        idempotency_key: request.idempotency_key.as_deref(),
        path_id: request.path_id.as_deref(),
        content: if request.ndjson {
            Content::Ndjson
        } else {
            Content::Json
        },
        limits: &limits,
        registry: &registry,
        max_events: 3,
    };
    let parsed = match (endpoint.parse)(&call, request.body.as_bytes()) {
        Ok(parsed) => parsed,
        Err(refusal) => {
            let body = vendor.fault.map_or_else(
                || serde_json::json!(refusal.to_string()).to_string(),
                |fault| fault(&refusal.to_string()),
            );
            let answer = Answered {
                status: None,
                retry_after: None,
                header: None,
                body: RawValue::from_string(body).unwrap(),
            };
            return (Vec::new(), answer);
        }
    };
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
    let answer = (endpoint.answer)(&parsed, &fates);
    let events = parsed
        .batch
        .records()
        .map(|record| to_raw_value(&serde_json::from_slice::<&RawValue>(record.value).unwrap()))
        .collect::<Result<_, _>>()
        .unwrap();
    let answer = Answered {
        status: Some(answer.status.as_u16()),
        retry_after: answer.retry_after,
        header: answer
            .header
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())),
        body: RawValue::from_string(answer.body).unwrap(),
    };
    (events, answer)
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
