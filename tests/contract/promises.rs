//! Each promise is named by the tests that hold it, and the documents say what is so.

use crate::sources::{Source, rust_sources};

#[test]
fn each_promise_is_named_by_a_test() {
    let sources = rust_sources();
    for promise in 1..=8 {
        let name = format!("fn p{promise}_");
        let named = sources.iter().any(|source| source.text.contains(&name));
        assert!(named, "no test is called p{promise}_…");
    }
}

/// The words of the command lines in a document's fenced blocks of shell.
fn commands(document: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(support::repository().join(document)).unwrap_or_default();
    let mut fenced = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fenced = !fenced && matches!(language.trim(), "sh" | "bash" | "shell" | "console");
        } else if fenced {
            let words = line.trim().trim_start_matches("$ ").split_whitespace();
            commands.push(words.map(str::to_owned).collect());
        }
    }
    commands
}

#[test]
fn every_make_target_that_a_document_names_is_there() {
    let makefile = std::fs::read_to_string(support::repository().join("Makefile")).unwrap();
    let targets: Vec<&str> = makefile
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        for command in commands(document) {
            if let [make, target, ..] = command.as_slice()
                && make == "make"
            {
                assert!(
                    targets.contains(&target.as_str()),
                    "{document}: make {target}"
                );
            }
        }
    }
}

#[test]
fn every_plaudit_command_that_the_readme_names_is_there() {
    let binary = support::binary().unwrap();
    for command in commands("README.md") {
        let Some(at) = command
            .iter()
            .position(|word| word == "plaudit" || word.ends_with("/plaudit"))
        else {
            continue;
        };
        let Some(subcommand) = command.get(at + 1).filter(|word| !word.starts_with('-')) else {
            continue;
        };
        let help = std::process::Command::new(&binary)
            .args([subcommand, "--help"])
            .output()
            .unwrap();
        assert!(help.status.success(), "plaudit {subcommand}");
    }
}

#[test]
fn a_test_is_never_ignored() {
    let ignored = |source: &&Source| {
        source
            .text
            .lines()
            .any(|line| line.trim().starts_with("#[ignore"))
    };
    let files: Vec<_> = rust_sources()
        .into_iter()
        .filter(|source| ignored(&source))
        .map(|source| source.path)
        .collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn the_image_is_built_with_the_pinned_toolchain() {
    let read = |file| std::fs::read_to_string(support::repository().join(file)).unwrap();
    let toolchain = read("rust-toolchain.toml");
    let pinned = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .unwrap();
    let from = format!("FROM rust:{pinned}-slim-bookworm AS toolchain\n");
    assert!(read("deploy/Dockerfile").contains(&from));
}

#[test]
fn every_choice_of_compose_is_in_the_example() {
    let read = |file| std::fs::read_to_string(support::repository().join(file)).unwrap();
    let (compose, example) = (read("docker-compose.yml"), read(".env.example"));
    let names = compose.split("${").skip(1);
    let names = names.map(|rest| rest.split([':', '}']).next().unwrap());
    for name in names {
        let line = format!("{name}=");
        assert!(example.lines().any(|is| is.starts_with(&line)), "{name}");
    }
}
