//! Why a part cannot be had. Each text is one line that says what to do.

use std::io;
use std::path::PathBuf;

/// Why a part cannot be had, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// A program that fetches or runs a part is not installed.
    #[error("`{tool}` is not installed: install {package} and try again")]
    ToolMissing {
        /// The program.
        tool: &'static str,
        /// What to install, with the names of packages.
        package: &'static str,
    },
    /// Java is there and too old for Kafka.
    #[error("Java {found} is too old for Kafka: install Java 17 or newer and try again")]
    JavaTooOld {
        /// The major version that was found.
        found: u32,
    },
    /// `java -version` says nothing that can be understood.
    #[error("`java -version` does not say a version: install Java 17 or newer and try again")]
    JavaUnknown,
    /// What arrived is not what is pinned.
    #[error(
        "{file} is not the pinned one (its checksum differs): remove it from the cache of \
         `{tool}`, or look at what stands between you and the registry, and try again"
    )]
    Checksum {
        /// The file that arrived.
        file: String,
        /// The program that fetched it.
        tool: &'static str,
    },
    /// Files are missing from what arrived, or are too many.
    #[error("{part} arrived incomplete: {file} {problem}; try again")]
    Incomplete {
        /// The part.
        part: &'static str,
        /// The file.
        file: String,
        /// `is missing` or `is not on the list`.
        problem: &'static str,
    },
    /// There is no room for the part.
    #[error(
        "no room on the disk of {}: {} MiB needed, {} MiB free; make room, or choose another place with --dir",
        directory.display(), needed_bytes >> 20, free_bytes >> 20
    )]
    DiskFull {
        /// Where the part would go.
        directory: PathBuf,
        /// Bytes that the part takes while it is unpacked.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// The package manager cannot reach its registry.
    #[error(
        "`{tool}` cannot reach its registry: check the network (or its proxy settings) and try again"
    )]
    Network {
        /// The program.
        tool: &'static str,
    },
    /// The package manager failed for a reason of its own.
    #[error("`{tool}` failed: {line}")]
    Tool {
        /// The program.
        tool: &'static str,
        /// The line of its output that says most.
        line: String,
    },
    /// There is no such part for this machine.
    #[error(
        "there is no ClickHouse engine for {0}: run ClickHouse elsewhere and set clickhouse.url"
    )]
    Platform(&'static str),
    /// Reading or writing failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl PartError {
    /// For `map_err`: what was done, and on what. A full disk is said as such.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Self::full(path),
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// The disk filled up while a part was being written.
    pub(super) fn full(directory: PathBuf) -> Self {
        Self::DiskFull {
            needed_bytes: super::install::MIN_FREE_BYTES,
            free_bytes: 0,
            directory,
        }
    }
}
