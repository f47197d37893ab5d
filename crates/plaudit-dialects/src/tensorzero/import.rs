//! The metrics of a `tensorzero.toml`, as Plaudit declares them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plaudit_event::{Level, Optimize};
use serde::{Deserialize, Serialize};

/// Why a configuration's metrics cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Not TOML, or a metric that the gateway would not take either.
    #[error("not a TensorZero configuration")]
    Syntax(#[source] toml::de::Error),
    /// A name that the gateway keeps for itself.
    #[error("metrics.{metric}: the name is reserved")]
    Reserved {
        /// The name.
        metric: String,
    },
    /// A metric that cannot be written.
    #[error("a metric cannot be written as TOML")]
    Write(#[source] toml::ser::Error),
}

/// What is read of a configuration: all else is for the gateway.
#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    metrics: BTreeMap<String, Metric>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    #[serde(rename = "type")]
    kind: Kind,
    level: Level,
    optimize: Optimize,
    #[serde(default, skip_serializing)]
    description: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Boolean,
    Float,
}

/// The registry file with a configuration's metrics. A description becomes a comment.
///
/// # Errors
/// [`ImportError`], where the gateway would refuse the configuration too.
pub fn import_metrics(configuration: &str) -> Result<String, ImportError> {
    let configuration: Configuration =
        toml::from_str(configuration).map_err(ImportError::Syntax)?;
    let mut registry = String::new();
    for (name, metric) in configuration.metrics {
        if ["comment", "demonstration"].contains(&&*name) || name.starts_with("tensorzero::") {
            return Err(ImportError::Reserved { metric: name });
        }
        if !registry.is_empty() {
            registry.push('\n');
        }
        for line in metric.description.iter().flat_map(|text| text.lines()) {
            // TOML has no control characters in comments.
            let line = line.replace(char::is_control, " ");
            writeln!(registry, "# {line}").expect("a String takes everything");
        }
        let section = BTreeMap::from([("metrics", BTreeMap::from([(name, metric)]))]);
        registry.push_str(&toml::to_string(&section).map_err(ImportError::Write)?);
    }
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use plaudit_event::{Registry, UnknownMetrics};

    use super::*;

    #[test]
    fn p8_a_gateways_metrics_become_a_registry() {
        let configuration = r#"
            [gateway]
            bind_address = "127.0.0.1:3000"

            [functions.draft_email]
            type = "chat"

            [metrics.draft_accepted]
            type = "boolean"
            optimize = "max"
            level = "inference"
            description = """Whether the draft was sent.
[metrics.not_one]\rx"""

            [metrics."edit distance"]
            type = "float"
            optimize = "min"
            level = "episode"
        "#;
        let registry = import_metrics(configuration).unwrap();
        let expected = r#"# Whether the draft was sent.
# [metrics.not_one] x
[metrics.draft_accepted]
type = "boolean"
level = "inference"
optimize = "max"

[metrics."edit distance"]
type = "float"
level = "episode"
optimize = "min"
"#;
        assert_eq!(registry, expected);
        let registry = Registry::from_toml(&registry, UnknownMetrics::Reject).unwrap();
        assert_eq!(registry.iter().count(), 2);
        assert_eq!(
            registry
                .get("edit distance")
                .and_then(|metric| metric.level),
            Some(Level::Episode)
        );
    }

    #[test]
    fn a_configuration_that_the_gateway_refuses_is_refused() {
        let error = |text: &str| import_metrics(text).unwrap_err().to_string();
        let metric = "type = \"float\"\nlevel = \"episode\"\noptimize = \"max\"";
        assert_eq!(
            error(&format!("[metrics.comment]\n{metric}")),
            "metrics.comment: the name is reserved"
        );
        assert_eq!(
            error(&format!("[metrics.\"tensorzero::x\"]\n{metric}")),
            "metrics.tensorzero::x: the name is reserved"
        );
        for text in [
            "[metrics",
            "[metrics.a]\ntype = \"float\"",
            "[metrics.a]\ntype = \"text\"\nlevel = \"episode\"\noptimize = \"max\"",
        ] {
            assert_eq!(error(text), "not a TensorZero configuration");
        }
        assert_eq!(import_metrics("[gateway]").unwrap(), "");
    }
}
