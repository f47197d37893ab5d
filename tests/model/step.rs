//! The steps of a batch, named as the sink names them.

/// A step of a batch (ARCHITECTURE.md, *The seven steps of a batch*). The fourth
/// is in two: which ids have changes, and their fold.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Step {
    ReadBack,
    Rows,
    Changes,
    LookUp,
    Fold,
    DeadLetters,
    Ledger,
    Commit,
}

impl Step {
    pub(crate) const ALL: [Self; 8] = [
        Self::ReadBack,
        Self::Rows,
        Self::Changes,
        Self::LookUp,
        Self::Fold,
        Self::DeadLetters,
        Self::Ledger,
        Self::Commit,
    ];

    /// Its number and name in the documents, and the sink's file that holds it.
    pub(crate) fn in_the_sink(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::ReadBack => (1, "read back", "read_back.rs"),
            Self::Rows => (2, "rows", "rows.rs"),
            Self::Changes => (3, "changes", "steps.rs"),
            Self::LookUp => (4, "fold", "steps.rs"),
            Self::Fold => (4, "fold", "fold.rs"),
            Self::DeadLetters => (5, "dead letters", "dead_letter.rs"),
            Self::Ledger => (6, "ledger", "outcomes.rs"),
            Self::Commit => (7, "commit", "offsets.rs"),
        }
    }
}

/// The steps have the same numbers and names here, in the sink and in ARCHITECTURE.md.
#[test]
fn the_steps_are_the_sinks() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
    let documented = read("ARCHITECTURE.md");
    let listed = read("crates/plaudit-sink/src/lib.rs");
    for step in Step::ALL {
        let (number, name, file) = step.in_the_sink();
        let row = format!("| {number} {name} |");
        let row = documented.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md has no step {number} {name}"));
        let module = file.trim_end_matches(".rs");
        assert!(
            listed
                .lines()
                .any(|line| line.starts_with(&format!("//! | {number} |"))),
            "the sink lists no step {number}"
        );
        let source = read(&format!("crates/plaudit-sink/src/{file}")).to_lowercase();
        assert!(
            source.contains(&format!("step {number}")),
            "{file} does not say that it holds step {number}"
        );
        assert!(
            row.contains(module) || step == Step::LookUp,
            "ARCHITECTURE.md has step {number} elsewhere than {file}"
        );
    }
}
