//! `plaudit clickhouse`: the ClickHouse engine as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use plaudit_embedded::{Engine, EngineConfig, EngineError};
use tokio::task::spawn_blocking;

use crate::parts;

/// Where the engine lives and listens.
#[derive(Clone, Debug)]
pub struct ClickhouseOptions {
    /// The local state; the engine's is in `clickhouse` below it.
    pub directory: PathBuf,
    /// The fetched parts.
    pub parts: PathBuf,
    /// The address of its HTTP server, on loopback.
    pub listen: SocketAddr,
    /// Memory that the engine may use, in bytes.
    pub max_memory_bytes: u64,
}

/// A directory with much data takes a while to open.
const START_PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(15);

impl ClickhouseOptions {
    /// Fetches the library if need be, and says how the engine is to be started. Blocks.
    ///
    /// # Errors
    ///
    /// When the library cannot be had.
    pub fn engine_config(&self) -> Result<EngineConfig, parts::PartError> {
        let library = parts::clickhouse_library(&self.parts)?;
        // The engine reads a relative path from where its own configuration is.
        let directory = self.directory.join("clickhouse");
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let mut config = EngineConfig::new(library, directory, self.listen.port());
        config.host = self.listen.ip();
        config.max_memory_bytes = self.max_memory_bytes;
        Ok(config)
    }
}

/// Runs the engine until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// When the engine does not start, ends by itself, or does not stop.
pub async fn run(options: ClickhouseOptions) -> anyhow::Result<()> {
    let engine = start(options).await?;
    // After the start, so that a signal before it ends the process at once.
    let stop = plaudit_service::stop_signal().context("listen for signals")?;
    tracing::info!(address = %engine.address(), "ClickHouse answers");
    let ended = engine.ended();
    tokio::select! {
        () = stop => {}
        end = spawn_blocking(move || ended.wait()) => return Err(anyhow!(end?)),
    }
    spawn_blocking(move || engine.stop(STOP_GRACE)).await??;
    tracing::info!("ClickHouse has stopped");
    Ok(())
}

/// Starts the engine in this process and waits until it answers.
///
/// # Errors
///
/// When the library cannot be had, or the engine does not start.
pub(crate) async fn start(options: ClickhouseOptions) -> anyhow::Result<Engine> {
    let engine = spawn_blocking(move || -> anyhow::Result<Engine> {
        let config = options.engine_config()?;
        Engine::start(&config, START_PATIENCE).map_err(|error| match error {
            error @ EngineError::Port { .. } => {
                anyhow!(error).context("choose another address with --listen")
            }
            error => anyhow!(error),
        })
    });
    engine.await?
}
