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
    projects: HashMap<Arc<str>, Arc<Project>>,
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
        let project = self.projects.get(project);
        project
            .into_iter()
            .flat_map(|project| &project.declared)
            .map(|(name, metric)| (name.as_str(), metric))
    }

    /// The same with another file.
    #[must_use]
    pub fn with_file(&self, file: Registry) -> Self {
        let declare = |(name, project): (&Arc<str>, &Arc<Project>)| {
            let project = Project::new(&file, project.declared.clone());
            (Arc::clone(name), Arc::new(project))
        };
        let projects = self.projects.iter().map(declare).collect();
        Self { file, projects }
    }

    /// The same with what projects declare, the later of two where they differ.
    #[must_use]
    pub fn with(&self, declarations: impl IntoIterator<Item = (Arc<str>, Declaration)>) -> Self {
        let mut changed: HashMap<_, BTreeMap<String, Metric>> = HashMap::new();
        for (project, declaration) in declarations {
            let known = || match self.projects.get(&project) {
                Some(known) => known.declared.clone(),
                None => BTreeMap::new(),
            };
            let declared = changed.entry(Arc::clone(&project)).or_insert_with(known);
            match declaration.declared {
                Some(metric) => declared.insert(declaration.metric, metric),
                None => declared.remove(&declaration.metric),
            };
        }
        let mut registries = self.clone();
        for (name, declared) in changed {
            if declared.is_empty() {
                registries.projects.remove(&name);
            } else {
                let project = Arc::new(Project::new(&self.file, declared));
                registries.projects.insert(name, project);
            }
        }
        registries
    }
}

impl Project {
    fn new(file: &Registry, declared: BTreeMap<String, Metric>) -> Self {
        let mut all = file.clone();
        for (name, metric) in &declared {
            all.add(name, metric);
        }
        Self { declared, all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MetricType, UnknownMetrics};

    fn declaration(metric: &str, kind: Option<&str>) -> (Arc<str>, Declaration) {
        let declared = kind.map(|kind| {
            serde_json::from_value(serde_json::json!({"type": kind})).expect("a declaration")
        });
        let declaration = Declaration {
            metric: metric.to_owned(),
            declared,
        };
        ("p".into(), declaration)
    }

    #[test]
    fn p7_a_project_declares_for_itself_and_not_against_the_file() {
        let file = |text| Registry::from_toml(text, UnknownMetrics::Reject).unwrap();
        let registries = Registries::new(file("[metrics.a]\ntype = \"boolean\"")).with([
            declaration("a", Some("text")),
            declaration("b", Some("float")),
        ]);
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

        let taken_back = reloaded.with([declaration("a", None), declaration("b", None)]);
        assert_eq!(kind(&taken_back, "p", "b"), None);
        assert_eq!(taken_back.declared("p").count(), 0);
    }
}
