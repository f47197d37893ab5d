use plaudit_event::{Dialect, Edit, Event, Feedback, Micros};
use plaudit_store::GaveUp;

use super::*;

const SKEW: i64 = 10;

fn row(trace: &str, version: RowVersion) -> CurrentRow {
    CurrentRow {
        project: "p".to_owned(),
        version,
        is_deleted: false,
        feedback: Feedback::new(Uuid::from_u128(1), trace.to_owned(), "m"),
        dialect: Dialect::Native,
        received_at: version.version_time(),
        topic: "t".to_owned(),
        partition: 0,
        offset: 0,
    }
}

fn put(trace: &str, time: i64) -> CurrentRow {
    row(trace, RowVersion::new(Micros(time), 0))
}

fn change(kind: ChangeKind, time: i64, comment: &'static str) -> Change {
    let patch = Patch {
        comment: Edit::Set(comment.into()),
        ..Patch::default()
    };
    let id = Uuid::from_u128(1);
    let event = Event {
        project: "p".into(),
        dialect: Dialect::Native,
        received_at: Micros(time),
        version_time: Micros(time),
        operation: match kind {
            ChangeKind::Patch => Operation::Patch { id, patch },
            ChangeKind::Retract => Operation::Retract { id },
        },
    };
    let mut record = Vec::new();
    codec::encode(&event, &mut record);
    Change {
        project: "p".to_owned(),
        id,
        topic: "t".to_owned(),
        partition: 1,
        offset: time,
        kind,
        version_time: Micros(time),
        received_at: Micros(time),
        record,
        gave_up: None,
    }
}

fn folded(rows: &[CurrentRow], changes: &[Change]) -> (usize, Vec<u8>) {
    let known = Known {
        rows: rows.to_vec(),
        changes: changes.to_vec(),
    };
    let id = ("p".to_owned(), Uuid::from_u128(1));
    Fold::of(&id, &known, SKEW).map_or((0, Vec::new()), |fold| (fold.rows, fold.data))
}

fn encoded(row: &CurrentRow, version: RowVersion, is_deleted: bool) -> Vec<u8> {
    let mut data = Vec::new();
    row.encode(&mut data, version, is_deleted);
    data
}

#[test]
fn p4_changes_no_older_than_the_put_are_applied_in_order() {
    let changes = [
        change(ChangeKind::Patch, 80, "too old"),
        change(ChangeKind::Patch, 95, "within the skew"),
        change(ChangeKind::Patch, 120, "last"),
    ];
    let mut expected = put("a", 100);
    expected.feedback.comment = Some("last".into());
    let version = RowVersion::new(Micros(100), 2);
    assert_eq!(
        folded(&[put("a", 100)], &changes),
        (1, encoded(&expected, version, false))
    );

    let mut fold = expected.clone();
    fold.version = version;
    assert_eq!(
        folded(&[fold], &changes),
        (1, encoded(&expected, version, false)),
        "a fold of a fold"
    );
    assert_eq!(
        folded(&[put("a", 200)], &changes).0,
        0,
        "a later put undoes them"
    );
}

#[test]
fn p4_a_patch_acts_on_the_latest_trace_and_a_retraction_on_all() {
    let rows = [put("old", 100), put("new", 110)];
    let patched = [change(ChangeKind::Patch, 120, "c")];
    let mut expected = put("new", 110);
    expected.feedback.comment = Some("c".into());
    let version = RowVersion::new(Micros(110), 1);
    assert_eq!(
        folded(&rows, &patched),
        (1, encoded(&expected, version, false))
    );

    let retracted = [change(ChangeKind::Retract, 1, "")];
    let mut both = encoded(&rows[0], RowVersion::FINAL, true);
    both.extend(encoded(&rows[1], RowVersion::FINAL, true));
    assert_eq!(folded(&rows, &retracted), (2, both));
}

#[test]
fn p4_a_patch_does_nothing_to_a_withdrawn_or_retracted_feedback() {
    let mut withdrawn = put("a", 100);
    withdrawn.is_deleted = true;
    let changes = [change(ChangeKind::Patch, 120, "c")];
    assert_eq!(folded(&[withdrawn], &changes).0, 0);
    let mut retracted = row("a", RowVersion::FINAL);
    retracted.is_deleted = true;
    assert_eq!(folded(&[retracted.clone()], &changes).0, 0);
    assert_eq!(
        folded(&[retracted], &[change(ChangeKind::Retract, 1, "")]).0,
        0
    );
}

#[test]
fn p4_a_change_that_was_given_up_is_not_applied() {
    let mut changes = [
        change(ChangeKind::Patch, 110, "good"),
        change(ChangeKind::Patch, 120, "given up"),
    ];
    changes[1].gave_up = Some(GaveUp::Unfoldable);
    let mut expected = put("a", 100);
    expected.feedback.comment = Some("good".into());
    let version = RowVersion::new(Micros(100), 1);
    assert_eq!(
        folded(&[put("a", 100)], &changes),
        (1, encoded(&expected, version, false))
    );
    assert_eq!(folded(&[put("a", 100)], &changes[1..]).0, 0);
}

#[test]
fn p5_patches_beyond_what_a_version_counts_are_too_many() {
    let most = i64::try_from(RowVersion::MAX_CHANGES).unwrap();
    let patches = |count: i64| -> Vec<Change> {
        let times = 0..count;
        times
            .map(|time| change(ChangeKind::Patch, 100 + time, "c"))
            .collect()
    };
    let mut known = Known {
        rows: vec![put("a", 100)],
        changes: patches(most),
    };
    assert!(known.excess(SKEW).is_empty());
    known.changes = patches(most + 2);
    let first = usize::try_from(most).unwrap();
    assert_eq!(known.excess(SKEW), [first, first + 1]);

    known.changes[0].gave_up = Some(GaveUp::NoFeedback);
    assert_eq!(
        known.excess(SKEW),
        [first + 1],
        "one that is given up is none"
    );
    known.rows = vec![put("a", 100 + most)];
    assert!(known.excess(SKEW).is_empty(), "a later put begins anew");
}
