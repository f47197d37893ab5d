use plaudit_event::{ItemCode, Micros, Registry, UnknownMetrics, codec};

use super::*;
use crate::fixtures::World;

mod token;

fn with_call<T>(registry: Registry, run: impl FnOnce(&Call<'_>) -> T) -> T {
    let world = World::with_registry("p", registry);
    run(&world.call(Micros(1_767_323_045_000_000)))
}

fn read(body: &[u8]) -> Result<Parsed, Refusal> {
    with_call(Registry::default(), |call| parse(call, body))
}

/// Code and field of the one item that `fields` make, beside a good one's.
fn fault(fields: &str) -> (ItemCode, String) {
    let good = r#""trace_id":"t","metric":"m","value":1"#;
    let separator = if fields.is_empty() { "" } else { "," };
    let parsed = read(format!("[{{{good}{separator}{fields}}}]").as_bytes()).unwrap();
    let (_, error) = parsed.rejected.into_iter().next().expect("it is rejected");
    (error.code, error.field.into_owned())
}

#[test]
fn answers_and_events_are_as_documented() {
    crate::fixtures::check(&VENDOR);
}

#[test]
fn a_wrong_type_names_its_field() {
    for (fields, field) in [
        (r#""id":"x""#, "id"),
        (r#""id":1"#, "id"),
        (r#""operation":1"#, "operation"),
        (r#""trace_id":1"#, "trace_id"),
        (r#""trace_id":[[1]]"#, "trace_id"),
        (r#""trace_id":{"a":{}}"#, "trace_id"),
        (r#""metric":true"#, "metric"),
        (r#""score":"1""#, "score"),
        (r#""score":[]"#, "score"),
        (r#""weight":true"#, "weight"),
        (r#""comment":1.5"#, "comment"),
        (r#""tags":[]"#, "tags"),
        (r#""tags":{"a":1}"#, "tags"),
        (r#""tags":{"a":null}"#, "tags"),
        (r#""metadata":[]"#, "metadata"),
        (r#""rater":-1"#, "rater"),
        (r#""one_per_rater":"yes""#, "one_per_rater"),
        (r#""target":"run""#, "target"),
        (r#""target":{"kind":1,"id":"r"}"#, "target.kind"),
        (r#""target":{"kind":"run","id":1}"#, "target.id"),
        (r#""source":"app""#, "source"),
        (r#""source":{"info":1}"#, "source.info"),
        (r#""source":{"run_id":1}"#, "source.run_id"),
        (r#""group_id":1"#, "group_id"),
        (r#""experiment_id":1"#, "experiment_id"),
        (r#""session_id":1"#, "session_id"),
        (r#""created_at":"yesterday""#, "created_at"),
        (r#""created_at":1767323045"#, "created_at"),
        (r#""modified_at":"2026-01-02T03:04:05""#, "modified_at"),
    ] {
        assert_eq!(
            fault(fields),
            (ItemCode::WrongType, field.to_owned()),
            "{fields}"
        );
    }
}

#[test]
fn what_is_missing_unknown_out_of_range_or_too_large_names_its_field() {
    let deep = format!(
        r#""metadata":{{"a":{}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let long = format!(r#""trace_id":"{}""#, "x".repeat(600));
    for (fields, code, field) in [
        (r#""trace_id":"""#, ItemCode::MissingField, "trace_id"),
        (r#""trace_id":null"#, ItemCode::MissingField, "trace_id"),
        (r#""metric":null"#, ItemCode::MissingField, "metric"),
        (r#""value":null"#, ItemCode::MissingField, "value"),
        (
            r#""value":null,"comment":"""#,
            ItemCode::MissingField,
            "value",
        ),
        (
            r#""target":{"kind":"run"}"#,
            ItemCode::MissingField,
            "target.id",
        ),
        (
            r#""target":{"id":"r"}"#,
            ItemCode::MissingField,
            "target.kind",
        ),
        (r#""one_per_rater":true"#, ItemCode::MissingField, "rater"),
        (
            r#""one_per_rater":true,"rater":"""#,
            ItemCode::MissingField,
            "rater",
        ),
        (r#""operation":"upsert""#, ItemCode::OutOfRange, "operation"),
        (
            r#""target":{"kind":"cat","id":"r"}"#,
            ItemCode::OutOfRange,
            "target.kind",
        ),
        (r#""score":1e999"#, ItemCode::OutOfRange, "score"),
        (r#""value":1e999"#, ItemCode::OutOfRange, "value"),
        (r#""weight":-0.1"#, ItemCode::OutOfRange, "weight"),
        (r#""project":"other""#, ItemCode::UnknownField, "project"),
        (
            r#""received_at":"now""#,
            ItemCode::UnknownField,
            "received_at",
        ),
        (r#""dialect":"native""#, ItemCode::UnknownField, "dialect"),
        (
            r#""version_time":1"#,
            ItemCode::UnknownField,
            "version_time",
        ),
        (r#""Value":{"a":[]}"#, ItemCode::UnknownField, "Value"),
        (
            r#""target":{"kind":"run","id":"r","x":1}"#,
            ItemCode::UnknownField,
            "target.x",
        ),
        (
            r#""source":{"type":"app"}"#,
            ItemCode::UnknownField,
            "source.type",
        ),
        (&deep, ItemCode::TooDeep, "metadata"),
        (&long, ItemCode::TooLong, "trace_id"),
    ] {
        assert_eq!(fault(fields), (code, field.to_owned()), "{fields}");
    }
}

#[test]
fn a_change_takes_only_what_can_be_changed() {
    let id = r#""id":"0196c682-72e0-7c83-a92b-9d1a3c7630f2""#;
    for (item, field) in [
        (
            format!(r#"{{"operation":"patch",{id},"trace_id":"t"}}"#),
            "trace_id",
        ),
        (
            format!(r#"{{"operation":"patch",{id},"metric":null}}"#),
            "metric",
        ),
        (
            format!(r#"{{"operation":"patch",{id},"one_per_rater":true}}"#),
            "one_per_rater",
        ),
        (
            format!(r#"{{"operation":"patch",{id},"modified_at":null}}"#),
            "modified_at",
        ),
        (
            format!(r#"{{"operation":"retract",{id},"trace_id":"t"}}"#),
            "trace_id",
        ),
        (
            format!(r#"{{"operation":"retract",{id},"comment":null}}"#),
            "comment",
        ),
        (
            format!(r#"{{"operation":"retract",{id},"created_at":null}}"#),
            "created_at",
        ),
    ] {
        let parsed = read(item.as_bytes()).unwrap();
        let (_, error) = &parsed.rejected[0];
        assert_eq!(
            (error.code, &*error.field),
            (ItemCode::UnknownField, field),
            "{item}"
        );
    }
    for verb in ["patch", "retract"] {
        let parsed = read(format!(r#"{{"operation":"{verb}"}}"#).as_bytes()).unwrap();
        let (_, error) = &parsed.rejected[0];
        assert_eq!((error.code, &*error.field), (ItemCode::MissingField, "id"));
    }
}

#[test]
fn one_bad_item_among_a_hundred_leaves_ninety_nine() {
    let items: Vec<_> = (0..100)
        .map(|index| match index {
            41 => r#"{"trace_id":"t","metric":"m","value":1,"weight":"heavy"}"#.to_owned(),
            _ => format!(r#"{{"trace_id":"t-{index}","metric":"m","value":{index}}}"#),
        })
        .collect();
    let parsed = read(format!("[{}]", items.join(",")).as_bytes()).unwrap();
    assert_eq!(parsed.batch.len(), 99);
    assert_eq!(
        parsed.rejected,
        [(41, FieldError::wrong_type("weight", "a number"))]
    );
    // Each keeps its place in the request as its version's tie break.
    let times: Vec<_> = parsed
        .batch
        .records()
        .map(|record| codec::decode(record.value, || None).unwrap().version_time.0 % 1000)
        .collect();
    assert_eq!((times[40], times[41], times[98]), (40, 42, 99));
}

#[test]
fn p7_no_fault_repeats_what_was_sent() {
    let fields = [
        r#""trace_id":"SECRET","weight":"SECRET""#,
        r#""operation":"SECRET""#,
        r#""created_at":"SECRET""#,
        r#""tags":{"SECRET":1}"#,
        r#""target":{"kind":"SECRET","id":"SECRET"}"#,
        r#""id":"SECRET""#,
    ];
    for fields in fields {
        let body = format!(r#"{{"metric":"m","value":1,{fields}}}"#);
        let parsed = read(body.as_bytes()).unwrap();
        let fates = crate::Fates {
            deliveries: &[],
            states: &[],
            request_id: "r",
        };
        let answer = answer::answer(&parsed, &fates);
        assert!(!answer.body.contains("SECRET"), "{}", answer.body);
    }
    let error = read(br#"{"comment":"SECRET"#).unwrap_err();
    assert!(!error.to_string().contains("SECRET"));
}

#[test]
fn a_long_name_of_an_unknown_field_is_cut() {
    let (code, field) = fault(&format!(r#""{}":1"#, "é".repeat(100)));
    assert_eq!((code, field), (ItemCode::UnknownField, "é".repeat(64)));
}

#[test]
fn undeclared_metrics_are_refused_when_told_to() {
    let registry = Registry::empty(UnknownMetrics::Reject);
    let body = br#"{"trace_id":"t","metric":"m","value":1}"#;
    let parsed = with_call(registry, |call| parse(call, body)).unwrap();
    assert_eq!(parsed.rejected[0].1.code, ItemCode::UnknownMetric);
}

#[test]
fn bytes_that_are_no_json_are_refused_as_a_whole() {
    for body in [
        &b"\xff{}"[..],
        b"",
        b" ",
        b"{",
        b"[",
        b"[}",
        b"nul",
        b"{\"a\":1,}",
        b"{}{}",
        b"[{\"trace_id\":\"\\ud800\"}]",
        b"\"a\nb\"",
    ] {
        assert!(read(body).is_err(), "{body:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result(body: Vec<u8>) {
        if let Ok(parsed) = read(&body) {
            proptest::prop_assert!(parsed.batch.len() + parsed.rejected.len() <= 100);
        }
    }

    #[test]
    fn any_json_of_the_right_names_gives_a_result(
        fields in proptest::collection::vec((
            proptest::sample::select(&["operation", "id", "trace_id", "target", "metric", "value",
                "score", "tags", "metadata", "source", "created_at", "one_per_rater"][..]),
            proptest::sample::select(&["null", "1", "-1.5e3", "\"t\"", "true", "{\"kind\":\"run\"}",
                "[1]", "{}", "\"patch\"", "{\"id\":\"r\",\"kind\":\"run\"}"][..]),
        ), 0..12)
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
        let parsed = read(format!("{{{}}}", fields.join(",")).as_bytes()).unwrap();
        proptest::prop_assert_eq!(parsed.batch.len() + parsed.rejected.len(), 1);
        for record in parsed.batch.records() {
            proptest::prop_assert!(codec::decode(record.value, || None).is_ok());
        }
    }
}
