use std::path::PathBuf;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    Dialect, Edit, Feedback, Json, Micros, Operation, Patch, Source, Target, TargetKind, Value,
};

fn event(operation: Operation<'static>) -> Event<'static> {
    Event {
        project: "demo".into(),
        dialect: Dialect::Native,
        received_at: Micros(1_767_323_045_000_000),
        version_time: Micros(1_767_323_045_000_001),
        operation,
    }
}

const ID: Uuid = Uuid::from_u128(0x0196_c682_72e0_7c83_a92b_9d1a_3c76_30f2);

fn full() -> Feedback<'static> {
    let mut feedback =
        Feedback::new(ID, "trace \"1\"", "helpful").with_value(Value::of(&true).unwrap());
    feedback.target = Some(Target {
        kind: TargetKind::Run,
        id: "run-1".into(),
    });
    feedback.weight = 0.5;
    feedback.comment = Some("no\nescape is lost: é".into());
    feedback.correction = Some(Json::parse(r#"{"answer": 1.50}"#).unwrap());
    feedback.tags.insert("env", "prod");
    feedback.metadata = Some(Json::parse(r#"{"b":1,"a":null}"#).unwrap());
    feedback.rater = Some("u1".into());
    feedback.source = Some(Source {
        kind: "model".into(),
        info: Some(Json::parse(r#"{"s":1}"#).unwrap()),
        run_id: Some("r".into()),
    });
    feedback.group_id = Some("g".into());
    feedback.experiment_id = Some("e".into());
    feedback.session_id = Some("s".into());
    feedback.created_at = Some(Micros(1_767_323_044_000_000));
    feedback
}

fn samples() -> Vec<(&'static str, Event<'static>)> {
    let patch = Patch {
        score: Edit::Set(0.5),
        comment: Edit::Clear,
        ..Patch::default()
    };
    let rescored = Patch {
        value_as_score: Edit::from(Value::of(&true)),
        score: Edit::Set(1.0),
        ..Patch::default()
    };
    vec![
        (
            "put-least",
            event(Operation::Put(Feedback::new(ID, "t", "m"))),
        ),
        ("put-full", event(Operation::Put(full()))),
        (
            "withdraw",
            event(Operation::Withdraw(Feedback::new(ID, "t", "rating"))),
        ),
        ("patch", event(Operation::Patch { id: ID, patch })),
        (
            "patch-rescored",
            event(Operation::Patch {
                id: ID,
                patch: rescored,
            }),
        ),
        ("retract", event(Operation::Retract { id: ID })),
    ]
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/wire/v1-{name}.json"))
}

/// The golden files are the format. A change of a file is a change that old
/// consumers and old records must survive: write new ones with
/// `PLAUDIT_BLESS=1`, and never touch one that was released.
#[test]
fn the_wire_format_has_not_moved() {
    for (name, event) in samples() {
        let mut bytes = Vec::new();
        encode(&event, &mut bytes);
        let path = fixture(name);
        if std::env::var_os("PLAUDIT_BLESS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            String::from_utf8(golden.clone()).unwrap()
        );
        assert_eq!(decode(&golden, || None).unwrap(), event, "{name}");
    }
}

#[test]
fn a_field_from_the_future_is_ignored() {
    let bytes = br#"{"v":1,"project":"p","dialect":"native","received_at":1,"version_time":1,"new":[1],"operation":{"put":{"id":"0196c682-72e0-7c83-a92b-9d1a3c7630f2","trace_id":"t","metric":"m","newer":{}}}}"#;
    let event = decode(bytes, || None).unwrap();
    assert_eq!(event.operation, Operation::Put(Feedback::new(ID, "t", "m")));
}

#[test]
fn a_newer_version_is_told_from_garbage() {
    let newer =
        |bytes: &[u8], header| matches!(decode(bytes, || header), Err(DecodeError::Newer(2)));
    assert!(newer(br#"{"v":2,"anything":1}"#, None));
    assert!(newer(b"\x00binary", Some(2)));
    let mut bytes = Vec::new();
    encode(&event(Operation::Retract { id: ID }), &mut bytes);
    let text = String::from_utf8(bytes)
        .unwrap()
        .replacen("\"v\":1", "\"v\":2", 1);
    assert!(newer(text.as_bytes(), None));
    for garbage in [
        &b""[..],
        b"{}",
        b"\x00binary",
        br#"{"v":1,"project":"secret"}"#,
    ] {
        let error = decode(garbage, || Some(1)).unwrap_err();
        let DecodeError::Invalid(cause) = &error else {
            panic!("{error}");
        };
        assert!(
            !format!("{error} {cause}").contains("secret"),
            "P7: errors hold no content"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_result(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(decode(&bytes, || None).is_err());
    }

    #[test]
    fn decode_inverts_encode(
        trace in "\\PC{1,40}", comment in proptest::option::of(".*"), score in proptest::option::of(-1e9..1e9),
        weight in 0.0..=1.0, tags in proptest::collection::btree_map("\\PC{1,8}", ".{0,8}", 0..5),
    ) {
        let mut feedback = Feedback::new(ID, trace, "m");
        feedback.comment = comment.map(Into::into);
        feedback.score = score;
        feedback.weight = weight;
        for (key, text) in tags {
            feedback.tags.insert(key, text);
        }
        let event = event(Operation::Put(feedback));
        let mut bytes = Vec::new();
        encode(&event, &mut bytes);
        prop_assert_eq!(decode(&bytes, || None).unwrap(), event);
    }
}

#[test]
fn headers_of_every_age_name_their_version() {
    let of = |headers: &[(&str, &'static str)]| {
        let found = |name: &str| headers.iter().find(|(known, _)| *known == name);
        version_in(|name| found(name).map(|(_, content)| content.as_bytes()))
    };
    assert_eq!(of(&[("plaudit", "7")]), Some(7));
    // One header, then three before it, until November 2026.
    assert_eq!(of(&[("plaudit", "1 native p")]), Some(1));
    assert_eq!(
        of(&[("plaudit-project", "p"), ("plaudit-version", "1")]),
        Some(1)
    );
    for garbage in ["", "x native p", " 1"] {
        assert_eq!(of(&[("plaudit", garbage)]), None, "{garbage}");
    }
    assert_eq!(of(&[]), None);
}
