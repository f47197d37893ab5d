//! The metrics in use: the file's, which SIGHUP reads again, and those that
//! projects declare while the intake runs.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use plaudit_event::{Declaration, Registries, Registry, RegistryError};

use crate::MetricsConfig;

/// The declared metrics. Reading it takes no lock.
#[derive(Debug)]
pub struct MetricRegistry {
    config: MetricsConfig,
    current: ArcSwap<Registries>,
}

/// Why the registry's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryFileError {
    /// It cannot be read.
    #[error("read the metric registry {}", .path.display())]
    Io {
        /// `metrics.file`.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It declares nothing that makes sense.
    #[error("use the metric registry {}", .path.display())]
    Invalid {
        /// `metrics.file`.
        path: PathBuf,
        /// The key or the metric at fault.
        #[source]
        source: RegistryError,
    },
}

impl MetricRegistry {
    /// Reads the declarations that a service starts with.
    ///
    /// # Errors
    /// When there is a file and it cannot be used.
    pub fn load(config: MetricsConfig) -> Result<Self, RegistryFileError> {
        let registry = read(&config)?;
        Ok(Self {
            config,
            current: ArcSwap::from_pointee(Registries::new(registry)),
        })
    }

    /// Reads the file again, and says how many metrics it declares.
    ///
    /// # Errors
    /// As [`load`](Self::load); the declarations in use stay.
    pub fn reload(&self) -> Result<usize, RegistryFileError> {
        let registry = read(&self.config)?;
        let metrics = registry.iter().count();
        self.current
            .rcu(|current| current.with_file(registry.clone()));
        Ok(metrics)
    }

    /// Takes in what projects declare, in this order.
    pub fn declare(&self, declarations: &[(Arc<str>, Declaration)]) {
        self.current
            .rcu(|current| current.with(declarations.iter().cloned()));
    }

    /// The declarations, the same until the guard is dropped.
    pub fn current(&self) -> Guard<Arc<Registries>> {
        self.current.load()
    }
}

fn read(config: &MetricsConfig) -> Result<Registry, RegistryFileError> {
    let Some(path) = &config.file else {
        return Ok(Registry::empty(config.unknown));
    };
    let text = std::fs::read_to_string(path).map_err(|source| RegistryFileError::Io {
        path: path.clone(),
        source,
    })?;
    Registry::from_toml(&text, config.unknown).map_err(|source| RegistryFileError::Invalid {
        path: path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use plaudit_event::UnknownMetrics;

    use super::*;

    #[test]
    fn a_reload_takes_new_metrics_and_a_broken_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.toml");
        let config = MetricsConfig {
            unknown: UnknownMetrics::Reject,
            file: Some(path.clone()),
        };
        assert!(matches!(
            MetricRegistry::load(config.clone()),
            Err(RegistryFileError::Io { .. })
        ));
        std::fs::write(&path, "[metrics.a]\ntype = \"boolean\"\n").unwrap();
        let registry = MetricRegistry::load(config).unwrap();
        std::fs::write(&path, "[metrics.b]\ntype = \"star\"\n").unwrap();
        assert!(registry.reload().is_err());
        assert!(registry.current().file().get("a").is_some());
        std::fs::write(&path, "[metrics.b]\ntype = \"float\"\n").unwrap();
        assert_eq!(registry.reload().unwrap(), 1);
        assert!(registry.current().file().get("a").is_none());
    }
}
