//! What is wrong with a configuration: everything, by the keys as they are typed.

use std::fmt;

use figment::Figment;
use figment::error::{Error, Kind};
use figment::value::{Dict, Value};

use super::setting;

/// A configuration that cannot be used, and all the reasons.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    problems: Vec<String>,
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl ConfigError {
    /// One line a problem, each with its key.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration cannot be used:")?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Problems {
    pub(super) fn extend(&mut self, problems: Vec<String>) {
        self.0.extend(problems);
    }

    /// A section that cannot be read. Never repeats the value, which may be a secret.
    pub(super) fn add(&mut self, section: &str, errors: Error) {
        for error in errors {
            let key = setting::key_of(&error, section);
            let problem = match &error.kind {
                Kind::UnknownField(field, known) => {
                    let key = match key.rsplit('.').next() {
                        Some(last) if last == field => key,
                        _ => format!("{key}.{field}"),
                    };
                    format!(
                        "{key}: there is no such key; there are {}",
                        known.join(", ")
                    )
                }
                Kind::InvalidType(_, wanted) | Kind::InvalidValue(_, wanted) => {
                    format!("{key}: must be {}", in_words(wanted))
                }
                Kind::UnknownVariant(_, known) => {
                    format!("{key}: must be one of {}", known.join(", "))
                }
                other => format!("{key}: {other}"),
            };
            let place = error.metadata.as_ref().map(|layer| match &layer.source {
                Some(source) => format!(" (in {source})"),
                None => format!(" (from {})", layer.name),
            });
            self.0.push(problem + &place.unwrap_or_default());
        }
    }

    /// Sections that nobody knows, and files that cannot be read at all.
    pub(super) fn unknown_sections(&mut self, layers: &Figment, known: &[&str]) {
        let tree = match layers.extract::<Dict>() {
            Ok(tree) => tree,
            Err(error) => return self.0.push(error.to_string()),
        };
        for (name, value) in &tree {
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                self.0.push(format!(
                    "{name}: there is no such section; there are {known}"
                ));
            } else if !matches!(value, Value::Dict(..)) {
                self.0
                    .push(format!("{name}: must be a section, with keys in it"));
            }
        }
    }

    pub(super) fn into_result(mut self) -> Result<(), ConfigError> {
        self.0.dedup();
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { problems: self.0 })
        }
    }
}

/// Rust's names of numbers, for people.
fn in_words(wanted: &impl ToString) -> String {
    let wanted = wanted.to_string();
    match wanted.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        _ => wanted,
    }
}
