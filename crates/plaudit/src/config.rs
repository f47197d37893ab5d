//! The configuration: one tree, a section a crate, four layers.
//!
//! Defaults, then the file, then `PLAUDIT__SECTION__KEY` (a further level is a further
//! `__`), then `--set section.key=value`; the later one wins. A secret may be in a file,
//! which `KEY.file` names. What a section means, and
//! its defaults, is in the crate that uses it; only this module reads files and the
//! environment, and libraries get values.
//!
//! The invariant: a configuration that loads is valid. All that is wrong with it is
//! said at once, by the keys as they are typed.

mod problem;
mod properties;
mod secret_file;
mod setting;

pub use problem::ConfigError;
pub use setting::Setting;

use std::path::PathBuf;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use plaudit_intake::{IntakeConfig, MetricsConfig};
use plaudit_kafka::KafkaConfig;
use plaudit_query::QueryConfig;
use plaudit_service::{AuthConfig, ObserveConfig};
use plaudit_sink::SinkConfig;
use plaudit_store::{ClickhouseConfig, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use problem::Problems;
use properties::Spelled;

/// The whole tree. Each section is documented where it is defined.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Config {
    /// The service that takes feedback (`intake.*`).
    pub intake: IntakeConfig,
    /// Who may call (`auth.*`).
    pub auth: AuthConfig,
    /// Brokers, topics, librdkafka settings (`kafka.*`).
    pub kafka: KafkaConfig,
    /// What is known about metrics (`metrics.*`).
    pub metrics: MetricsConfig,
    /// The service that stores feedback (`sink.*`).
    pub sink: SinkConfig,
    /// The database (`clickhouse.*`).
    pub clickhouse: ClickhouseConfig,
    /// The service that answers questions (`query.*`).
    pub query: QueryConfig,
    /// Metrics and probes (`observe.*`).
    pub observe: ObserveConfig,
}

/// Where the layers above the defaults come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, which has to be there.
    pub file: Option<PathBuf>,
    /// What the environment sets.
    pub environment: Vec<Setting>,
    /// `--set`, the later one wins.
    pub settings: Vec<Setting>,
}

/// A load under way.
struct Reading<'a> {
    sources: &'a Sources,
    layers: Figment,
    problems: &'a mut Problems,
}

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "plaudit.toml";

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, a line each: at least the first problem of each section
    /// that cannot be read, and every problem of the sections that can.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let layers = sources.layers();
        problems.unknown_sections(&layers, &Self::SECTIONS);
        problems.extend(sources.unreadable());
        let layers = Figment::from(Serialized::defaults(Self::default())).merge(layers);
        let read = &mut Reading {
            sources,
            layers,
            problems: &mut problems,
        };
        let config = Self {
            intake: read.section("intake"),
            auth: read.section("auth"),
            kafka: read.section("kafka"),
            metrics: read.section("metrics"),
            sink: read.section("sink"),
            clickhouse: read.section("clickhouse"),
            query: read.section("query"),
            observe: read.section("observe"),
        };
        problems.extend(config.auth.problems());
        problems.extend(config.intake.validate());
        problems.extend(config.kafka.validate());
        problems.extend(config.sink.problems());
        problems.extend(config.clickhouse.problems());
        problems.extend(config.query.problems());
        problems.extend(config.between_polls());
        problems.extend(config.outlived());
        problems.into_result().map(|()| config)
    }

    /// What a sink may wait for while it polls has to end before its group gives up on it.
    fn between_polls(&self) -> Vec<String> {
        let interval = self.kafka.max_poll_interval();
        [
            ("clickhouse.timeout", self.clickhouse.timeout),
            ("sink.drain", self.sink.drain),
        ]
        .into_iter()
        .filter(|(_, waits)| *waits >= interval)
        .map(|(key, _)| {
            let milliseconds = interval.as_millis();
            format!("{key}: must be below kafka.properties.max.poll.interval.ms, {milliseconds}")
        })
        .collect()
    }

    /// The outcome of a record is kept for as long as the log may have it.
    fn outlived(&self) -> Vec<String> {
        let margin = Store::RETENTION_MARGIN;
        let kept = self.clickhouse.retention.map(|kept| kept + margin);
        if kept.is_none_or(|kept| self.kafka.retention < kept) {
            return Vec::new();
        }
        let margin = humantime::format_duration(margin);
        vec![format!(
            "clickhouse.retention: must be above kafka.retention less {margin}, or outcomes go \
             before their records"
        )]
    }

    /// The effective tree as TOML, secrets as `***`.
    ///
    /// # Errors
    ///
    /// When a value has no form in TOML, which is a defect.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    const SECTIONS: [&str; 8] = [
        "intake",
        "auth",
        "kafka",
        "metrics",
        "sink",
        "clickhouse",
        "query",
        "observe",
    ];
}

impl Sources {
    /// The sources of this process: what was typed, and its environment. Without a file,
    /// `plaudit.toml` in the working directory is one if it is there.
    pub fn of_process(file: Option<PathBuf>, settings: Vec<Setting>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Setting::from_variable(name.to_str()?, value.to_str()?))
            .collect();
        let default_file = || Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists());
        Self {
            file: file.or_else(default_file),
            environment,
            settings,
        }
    }

    /// Whether a layer above the defaults gives this key, such as `auth.mode`.
    pub fn gives(&self, key: &str) -> bool {
        self.layers().contains(key)
    }

    /// The same layers with more settings on top.
    #[must_use]
    pub fn with(&self, settings: impl IntoIterator<Item = Setting>) -> Self {
        let mut sources = self.clone();
        sources.settings.extend(settings);
        sources
    }

    /// From weak to strong.
    fn typed(&self) -> impl DoubleEndedIterator<Item = &Setting> {
        self.environment.iter().chain(&self.settings)
    }

    /// Secrets whose files cannot be read.
    fn unreadable(&self) -> Vec<String> {
        let file = self.file.iter().map(Toml::file_exact);
        let in_file = file.flat_map(|file| Spelled(file).problems());
        let typed = self.typed().cloned();
        in_file
            .chain(typed.flat_map(|setting| Spelled(setting).problems()))
            .collect()
    }

    fn layers(&self) -> Figment {
        let file = match &self.file {
            Some(file) => Figment::from(Spelled(Toml::file_exact(file))),
            None => Figment::new(),
        };
        self.typed().fold(file, |layers, setting| {
            layers.merge(Spelled(setting.clone()))
        })
    }
}

impl Reading<'_> {
    /// One section, or its defaults and a problem.
    fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        let typed = |key: &str| {
            let mut typed = self.sources.typed();
            typed
                .rfind(|setting| setting.key == key)
                .map(|setting| setting.value.clone())
        };
        match setting::extract(&self.layers, name, typed) {
            Ok(section) => section,
            Err(error) => {
                self.problems.add(name, *error);
                T::default()
            }
        }
    }
}

#[cfg(test)]
mod tests;
