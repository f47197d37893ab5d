//! Why an engine does not start, or does not go on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Why there is no engine, or no longer one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// This process has, or had, an engine. Start another process.
    #[error("this process has had its ClickHouse engine; only one can live in a process")]
    SecondEngine,
    /// The engine has no password, so it listens on loopback and nowhere else.
    #[error("ClickHouse would listen on {0}, which is not a loopback address; it has no password")]
    NotLoopback(IpAddr),
    /// Something else listens on the address. Choose another port.
    #[error("ClickHouse cannot listen on {address}")]
    Port {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another process uses the data directory.
    #[error("the ClickHouse directory {} is in use by another process", .0.display())]
    DirectoryInUse(PathBuf),
    /// The data directory, or a file in it, cannot be written.
    #[error("cannot write {}", path.display())]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A path that the engine's configuration or command line cannot carry.
    #[error("the path {} is not plain text that ClickHouse can be told", .0.display())]
    Path(PathBuf),
    /// The shared library cannot be loaded, or is not the engine.
    #[error("cannot load the ClickHouse library {}", path.display())]
    Library {
        /// The file that was to be loaded.
        path: PathBuf,
        /// What the loader says.
        #[source]
        source: libloading::Error,
    },
    /// The system gives no thread for the engine.
    #[error("cannot start the thread of the ClickHouse engine")]
    Thread(#[source] io::Error),
    /// The engine came back by itself. Its log has more.
    #[error("ClickHouse ended: {reason} (its log: {})", log.display())]
    Ended {
        /// The first line of what the engine says, or that it says nothing.
        reason: String,
        /// The engine's log file.
        log: PathBuf,
    },
    /// The engine runs and does not answer within the time allowed.
    #[error("ClickHouse does not answer on {0}")]
    NotAnswering(SocketAddr),
    /// The engine was told to stop and has not, within the time allowed.
    #[error("ClickHouse has not stopped within its grace period")]
    NotStopping,
}
