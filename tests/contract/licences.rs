//! What is depended on: licences, sources, banned crates. `deny.toml` says the same to
//! `cargo deny`, which is not a part of every run, since to build it takes minutes.

use std::collections::BTreeSet;

use crate::metadata;

/// Licences that ask for no more than a notice.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that are not to come in by any way.
const BANNED: [&str; 4] = ["openssl", "native-tls", "aws-lc-rs", "chrono"];

/// Whether one of the alternatives, each a set of licences, is allowed whole.
fn is_allowed(expression: &str) -> bool {
    let alternatives = expression.replace(['(', ')'], "").replace('/', " OR ");
    alternatives.split(" OR ").any(|all| {
        all.split(" AND ")
            .all(|licence| ALLOWED.contains(&licence.trim()))
    })
}

#[test]
fn every_licence_is_on_the_list() {
    let metadata = metadata();
    let wrong: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(is_allowed))
        .map(|package| format!("{}: {:?}", package.name, package.license))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_licence_expression_is_read_as_it_is_meant() {
    assert!(
        is_allowed("MIT OR Apache-2.0")
            && is_allowed("MIT/GPL-3.0")
            && is_allowed("(MIT OR GPL-3.0) AND ISC")
    );
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0"));
}

#[test]
fn no_banned_crate_comes_in() {
    let names: BTreeSet<&str> = metadata()
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let found: Vec<_> = BANNED
        .iter()
        .filter(|banned| names.contains(**banned))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_dependency_comes_from_the_registry_or_from_here() {
    for package in &metadata().packages {
        let source = package.source.as_ref().map(|source| source.repr.as_str());
        assert!(
            source.is_none_or(
                |source| source.starts_with("registry+") || source.starts_with("sparse+")
            ),
            "{} comes from elsewhere",
            package.name
        );
    }
}

#[test]
fn deny_toml_says_the_same() {
    let deny = std::fs::read_to_string(support::repository().join("deny.toml")).unwrap();
    for licence in ALLOWED {
        assert!(
            deny.contains(&format!("\"{licence}\"")),
            "{licence} is not in deny.toml"
        );
    }
    for banned in BANNED {
        assert!(
            deny.contains(&format!("{{ crate = \"{banned}\" }}")),
            "{banned} is not in deny.toml"
        );
    }
}
