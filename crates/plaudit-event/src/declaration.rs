//! Metrics that are declared while Plaudit runs.
//!
//! A project declares its own; what the installation's file declares holds for
//! every project and cannot be declared away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Metric, Registry};

/// A metric is declared anew, or no longer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Its name.
    pub metric: String,
    /// What it allows; `None` takes the declaration back.
    pub declared: Option<Metric>,
}

/// The metrics of every project.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    file: Registry,
    projects: HashMap<Arc<str>, Project>,
}

#[derive(Clone, Debug)]
struct Project {
    declared: BTreeMap<String, Metric>,
    /// The file's, and what is declared beside them.
    all: Registry,
}

impl Registries {
    /// Those of the file alone.
    pub fn new(file: Registry) -> Self {
        Self {
            file,
            projects: HashMap::new(),
        }
    }

    /// What a project has declared, with what the file has.
    pub fn of(&self, project: &str) -> &Registry {
        self.projects
            .get(project)
            .map_or(&self.file, |project| &project.all)
    }

    /// What the file declares.
    pub fn file(&self) -> &Registry {
        &self.file
    }

    /// What a project has declared itself.
    pub fn declared(&self, project: &str) -> impl Iterator<Item = (&str, &Metric)> {
        let declared = self.projects.get(project).map(|project| &project.declared);
        declared
            .into_iter()
            .flatten()
            .map(|(name, metric)| (name.as_str(), metric))
    }

    /// The same with another file.
    #[must_use]
    pub fn with_file(&self, file: Registry) -> Self {
        let mut projects = self.projects.clone();
        for project in projects.values_mut() {
            project.all = merged(&file, &project.declared);
        }
        Self { file, projects }
    }

    /// The same with what a project declares.
    #[must_use]
    pub fn with(&self, project: &str, declaration: Declaration) -> Self {
        let mut changed = self.clone();
        let mut declared = match changed.projects.remove(project) {
            Some(project) => project.declared,
            None => BTreeMap::new(),
        };
        match declaration.declared {
            Some(metric) => declared.insert(declaration.metric, metric),
            None => declared.remove(&declaration.metric),
        };
        if !declared.is_empty() {
            let all = merged(&self.file, &declared);
            changed
                .projects
                .insert(project.into(), Project { declared, all });
        }
        changed
    }
}

fn merged(file: &Registry, declared: &BTreeMap<String, Metric>) -> Registry {
    let mut all = file.clone();
    for (name, metric) in declared {
        all.add(name, metric);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MetricType, UnknownMetrics};

    fn declaration(metric: &str, kind: Option<&str>) -> Declaration {
        let declared = kind.map(|kind| {
            serde_json::from_value(serde_json::json!({"type": kind})).expect("a declaration")
        });
        Declaration {
            metric: metric.to_owned(),
            declared,
        }
    }

    #[test]
    fn p7_a_project_declares_for_itself_and_not_against_the_file() {
        let file = |text| Registry::from_toml(text, UnknownMetrics::Reject).unwrap();
        let registries = Registries::new(file("[metrics.a]\ntype = \"boolean\""))
            .with("p", declaration("a", Some("text")))
            .with("p", declaration("b", Some("float")));
        let kind = |registries: &Registries, project: &str, metric: &str| {
            registries.of(project).get(metric).map(|metric| metric.kind)
        };
        assert_eq!(kind(&registries, "p", "a"), Some(MetricType::Boolean));
        assert_eq!(kind(&registries, "p", "b"), Some(MetricType::Float));
        assert_eq!(kind(&registries, "q", "b"), None);
        assert_eq!(registries.declared("p").count(), 2);
        assert_eq!(registries.of("p").unknown(), UnknownMetrics::Reject);

        let reloaded = registries.with_file(file(""));
        assert_eq!(kind(&reloaded, "p", "a"), Some(MetricType::Text));

        let taken_back = reloaded
            .with("p", declaration("a", None))
            .with("p", declaration("b", None));
        assert_eq!(kind(&taken_back, "p", "b"), None);
        assert_eq!(taken_back.declared("p").count(), 0);
    }
}
