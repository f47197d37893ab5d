//! The shape of the sources.

use std::path::Path;

/// A Rust file of the repository.
pub(crate) struct Source {
    /// Its path from the root.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

/// Over this many lines without tests, a file holds two ideas.
const MOST_LINES: usize = 500;

/// Every Rust file that is ours.
pub(crate) fn rust_sources() -> Vec<Source> {
    let root = support::repository();
    let mut sources = Vec::new();
    for folder in ["crates", "tests", "benches"] {
        collect(&root, &root.join(folder), &mut sources);
    }
    assert!(sources.len() > 50, "the sources are somewhere else");
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "target" | "node_modules" | ".venv") {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(Source {
                path: path.strip_prefix(root).unwrap().display().to_string(),
                text: std::fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

/// The lines before a file's unit tests.
fn lines_without_tests(source: &Source) -> usize {
    let lines: Vec<&str> = source.text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    tests.unwrap_or(lines.len())
}

fn is_test(source: &Source) -> bool {
    source.path.starts_with("tests/") || source.path.contains("/tests")
}

#[test]
fn no_file_holds_two_ideas() {
    let long: Vec<String> = rust_sources()
        .iter()
        .filter(|source| !is_test(source) && lines_without_tests(source) > MOST_LINES)
        .map(|source| format!("{}: {}", source.path, lines_without_tests(source)))
        .collect();
    assert!(long.is_empty(), "over {MOST_LINES} lines: {long:#?}");
}

#[test]
fn unsafe_is_in_the_engine_only() {
    let found: Vec<String> = rust_sources()
        .into_iter()
        .filter(|source| !source.path.starts_with("crates/plaudit-embedded/"))
        // In two parts, so that this file is none of those it looks for.
        .filter(|source| {
            source.text.contains(concat!("unsafe", " {"))
                || source.text.contains(concat!("unsafe", " fn"))
        })
        .map(|source| source.path)
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_lint_is_expected_with_a_reason_and_never_allowed() {
    let found: Vec<String> = rust_sources()
        .into_iter()
        .filter(|source| {
            source.text.contains(concat!("#[", "allow("))
                || source.text.contains(concat!("#![", "allow("))
        })
        .map(|source| source.path)
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = rust_sources()
        .into_iter()
        .filter(|source| !source.path.contains("/tests.rs") && !source.path.ends_with("/tests.rs"))
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn no_lock_file_names_a_registry() {
    let mut locks = 0;
    for vendor in std::fs::read_dir(support::repository().join("tests/sdk")).unwrap() {
        let vendor = vendor.unwrap().path();
        if !vendor.is_dir() {
            continue;
        }
        for client in std::fs::read_dir(vendor).unwrap() {
            let client = client.unwrap().path();
            for lock in ["package-lock.json", "requirements.txt"] {
                if let Ok(text) = std::fs::read_to_string(client.join(lock)) {
                    locks += 1;
                    names_no_registry(&text, &client.join(lock));
                }
            }
        }
    }
    assert!(locks >= 11, "the lock files are somewhere else");
}

fn names_no_registry(lock: &str, path: &Path) {
    for word in [
        "\"resolved\"",
        "--index-url",
        "--extra-index-url",
        "--find-links",
        "--trusted-host",
        "://registry",
        "file://",
    ] {
        assert!(!lock.contains(word), "{} has {word}", path.display());
    }
    let is_python = path.ends_with("requirements.txt");
    assert!(!is_python || !lock.contains("://"), "{}", path.display());
}
