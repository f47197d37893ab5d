//! Secrets that are in files: `KEY.file`, a path, in place of `KEY`.
//!
//! `clickhouse.password.file = "/run/secrets/clickhouse"`, or in the environment
//! `PLAUDIT__KAFKA__PROPERTIES__SASL_PASSWORD__FILE`. The line break at the end of the
//! file is not part of the secret.

use std::path::Path;

use figment::value::{Dict, Value};

/// What librdkafka's secrets end with.
const SECRET_ENDS: [&str; 2] = [".password", ".secret"];
const FILE: &str = ".file";

/// Puts what is in the files in the place of their paths, in one layer whose
/// `kafka.properties` are flat. Returns what cannot be read, a line each; there the
/// secret is empty.
pub(super) fn read(layer: &mut Dict) -> Vec<String> {
    let mut problems = Vec::new();
    for (section, key) in [("auth", "token_secret"), ("clickhouse", "password")] {
        if let Some(Value::Dict(_, keys)) = layer.get_mut(section)
            && let Some(value) = keys.get_mut(key)
            && let Some(path) = only_file(value)
        {
            *value = secret(&format!("{section}.{key}"), &path, &mut problems);
        }
    }
    if let Some(Value::Dict(_, kafka)) = layer.get_mut("kafka")
        && let Some(Value::Dict(_, properties)) = kafka.get_mut("properties")
    {
        let named: Vec<String> = properties
            .keys()
            .filter_map(|key| key.strip_suffix(FILE))
            .filter(|key| SECRET_ENDS.iter().any(|end| key.ends_with(end)))
            .map(str::to_owned)
            .collect();
        for key in named {
            if let Some(path) = properties.remove(&(key.clone() + FILE)) {
                let typed = format!("kafka.properties.{key}");
                let path = path.into_string().unwrap_or_default();
                let value = secret(&typed, &path, &mut problems);
                properties.insert(key, value);
            }
        }
    }
    problems
}

/// The path in `{ file = "…" }`.
fn only_file(value: &Value) -> Option<String> {
    match value {
        Value::Dict(_, keys) if keys.len() == 1 => keys.get("file")?.clone().into_string(),
        _ => None,
    }
}

fn secret(key: &str, path: &str, problems: &mut Vec<String>) -> Value {
    match std::fs::read_to_string(Path::new(path)) {
        Ok(text) => Value::from(text.trim_end_matches(['\r', '\n'])),
        Err(error) => {
            problems.push(format!("{key}{FILE}: cannot read {path}: {error}"));
            Value::from("")
        }
    }
}
