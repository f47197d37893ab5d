//! Which crate may know which: DESIGN's picture, held to what cargo resolves.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, PackageId};

use crate::metadata;

/// The packages that each package is built with, those for tests left out.
fn built_with() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let metadata = metadata();
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let resolve = metadata
        .resolve
        .as_ref()
        .expect("cargo resolved the workspace");
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for node in &resolve.nodes {
        let normal = node.deps.iter().filter(|dependency| {
            dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind != DependencyKind::Development)
        });
        graph
            .entry(names[&node.id])
            .or_default()
            .extend(normal.map(|dependency| names[&dependency.pkg]));
    }
    graph
}

/// Everything that a package is built with, at any depth.
fn reach(start: &str) -> BTreeSet<&'static str> {
    let graph = built_with();
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = graph[start].iter().copied().collect();
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(&graph[name]);
        }
    }
    reached
}

/// The packages that name `dependency` in their own manifest.
fn wrappers(dependency: &str) -> Vec<&'static str> {
    built_with()
        .into_iter()
        .filter(|(_, direct)| direct.contains(dependency))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn no_crate_reaches_what_it_must_not_know() {
    for (name, never) in [
        (
            "plaudit-event",
            &["plaudit-service", "plaudit-kafka", "plaudit-store", "tokio"][..],
        ),
        (
            "plaudit-dialects",
            &["plaudit-kafka", "plaudit-store", "tokio"],
        ),
        (
            "plaudit-kafka",
            &["plaudit-event", "plaudit-store", "clickhouse"],
        ),
        ("plaudit-store", &["plaudit-kafka", "rdkafka"]),
        (
            "plaudit-intake",
            &[
                "plaudit-store",
                "clickhouse",
                "plaudit-sink",
                "plaudit-query",
            ],
        ),
        (
            "plaudit-query",
            &["plaudit-kafka", "rdkafka", "plaudit-intake", "plaudit-sink"],
        ),
        (
            "plaudit-sink",
            &[
                "plaudit-dialects",
                "plaudit-intake",
                "plaudit-query",
                "axum-extra",
            ],
        ),
        (
            "plaudit-client",
            &["plaudit-kafka", "plaudit-store", "plaudit-intake", "axum"],
        ),
        ("plaudit-tls", &["plaudit-service", "axum"]),
        (
            "plaudit-embedded",
            &["plaudit-store", "plaudit-kafka", "plaudit-event"],
        ),
        (
            "plaudit-service",
            &["plaudit-event", "plaudit-kafka", "plaudit-store"],
        ),
    ] {
        let reached = reach(name);
        let wrong: Vec<_> = never
            .iter()
            .filter(|other| reached.contains(**other))
            .collect();
        assert!(wrong.is_empty(), "{name} reaches {wrong:?}");
    }
}

#[test]
fn a_driver_has_one_wrapper() {
    // The floors are the bare libraries: that is what the benchmarks compare with.
    assert_eq!(wrappers("rdkafka"), ["plaudit-floors", "plaudit-kafka"]);
    assert_eq!(wrappers("clickhouse"), ["plaudit-store"]);
    assert_eq!(wrappers("libloading"), ["plaudit-embedded"]);
    // Kafka's client has a TLS of its own, and nobody else sees it.
    assert_eq!(wrappers("openssl-sys"), ["curl-sys", "rdkafka-sys"]);
}

#[test]
fn every_folder_of_crates_is_named_like_its_package() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let folder = package
            .manifest_path
            .parent()
            .and_then(|folder| folder.file_name())
            .unwrap();
        let own_name = !matches!(folder, "tests" | "model" | "benches" | "floors" | "pieces");
        assert!(
            !own_name || package.name.as_str() == folder,
            "{} is in {folder}",
            package.name
        );
    }
}
