//! The life of the one engine: claim, start, end.

use std::ffi::CString;
use std::fs::{File, TryLockError};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::library::EngineLibrary;
use crate::{EngineConfig, EngineError, http};

/// A ClickHouse that runs in this process and answers HTTP on loopback.
///
/// There is one in the life of a process: starting takes the process's only
/// claim, stopping does not give it back. Dropping an `Engine` stops nothing; the
/// engine ends with [`Engine::stop`] or with the process. Its data survives both,
/// and a `kill -9`.
#[derive(Debug)]
pub struct Engine {
    address: SocketAddr,
    ended: Ended,
    // Locked until the process ends, so that no second process opens the directory.
    _lock: File,
}

/// Tells when the engine is over. Cloned freely; any number may wait.
#[derive(Clone, Debug)]
pub struct Ended {
    state: Arc<State>,
    log: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    /// Why the engine is over; `None` while it runs.
    reason: Mutex<Option<String>>,
    changed: Condvar,
}

/// Whether this process has used its claim.
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// The query that keeps the engine up. Killing it is how one asks the engine to end.
const HOLD: &str = "plaudit-hold";

/// The engine parses, plans and optimises recursively, and counts on a server's stack.
const STACK_BYTES: usize = 64 << 20;

/// How often a starting engine is asked whether it is there.
const PING_EVERY: Duration = Duration::from_millis(20);

impl Engine {
    /// Starts the engine and returns when it answers, which takes 0.1 to 1 s, more
    /// with much data. Blocks; waits at most `patience`.
    ///
    /// # Errors
    ///
    /// Everything that keeps the engine from answering, before or after its thread
    /// has started. Errors that are found before (port, directory, library) leave the
    /// process free to try again; after that the claim is gone.
    pub fn start(config: &EngineConfig, patience: Duration) -> Result<Self, EngineError> {
        let address = config.address();
        if !config.host.is_loopback() {
            return Err(EngineError::NotLoopback(config.host));
        }
        // The engine itself says both on its standard error only, and ends.
        let bound = TcpListener::bind(address);
        drop(bound.map_err(|source| EngineError::Port { address, source })?);
        config.prepare()?;
        let lock = lock(config)?;

        let arguments = config.arguments(HOLD)?;
        let arguments: Vec<CString> = arguments
            .into_iter()
            .map(|argument| {
                CString::new(argument).map_err(|_| EngineError::Path(config.directory.clone()))
            })
            .collect::<Result<_, _>>()?;
        if CLAIMED.swap(true, Ordering::SeqCst) {
            return Err(EngineError::SecondEngine);
        }
        let library = EngineLibrary::load(&config.library)
            .inspect_err(|_| CLAIMED.store(false, Ordering::SeqCst))?;

        let ended = Ended {
            state: Arc::default(),
            log: config.log(),
        };
        let state = Arc::clone(&ended.state);
        thread::Builder::new()
            .name("clickhouse".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || state.end(library.run(&arguments)))
            .map_err(EngineError::Thread)?;

        let engine = Self {
            address,
            ended,
            _lock: lock,
        };
        engine.await_ping(patience)?;
        Ok(engine)
    }

    /// Where the engine answers HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle on which to wait for the engine's end, expected or not.
    pub fn ended(&self) -> Ended {
        self.ended.clone()
    }

    /// Ends the engine cleanly and waits for that, at most `grace`. Blocks.
    ///
    /// Queries that run are cancelled. What was acknowledged is on disk.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotAnswering`] when the engine cannot be told, and
    /// [`EngineError::NotStopping`] when it does not end in time. In both cases it
    /// ends with the process, which loses nothing that was acknowledged.
    pub fn stop(self, grace: Duration) -> Result<(), EngineError> {
        let kill = format!("KILL QUERY WHERE query_id = '{HOLD}' ASYNC FORMAT Null");
        let told = http::execute(self.address, &kill).is_ok_and(|status| status == 200);
        if !told && self.ended.within(Duration::ZERO).is_none() {
            return Err(EngineError::NotAnswering(self.address));
        }
        match self.ended.within(grace) {
            Some(_cancelled) => Ok(()),
            None => Err(EngineError::NotStopping),
        }
    }

    fn await_ping(&self, patience: Duration) -> Result<(), EngineError> {
        let asked = patience.as_millis() / PING_EVERY.as_millis();
        for _ in 0..asked {
            if let Some(end) = self.ended.within(PING_EVERY) {
                return Err(end);
            }
            if http::ping(self.address) {
                return Ok(());
            }
        }
        Err(EngineError::NotAnswering(self.address))
    }
}

impl Ended {
    /// Blocks until the engine is over and says why.
    pub fn wait(&self) -> EngineError {
        loop {
            // Waits are bounded by the type's one method; a day is as good as any.
            if let Some(end) = self.within(Duration::from_secs(86_400)) {
                return end;
            }
        }
    }

    /// Blocks until the engine is over, at most for `wait`.
    fn within(&self, wait: Duration) -> Option<EngineError> {
        let reason = self
            .state
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (reason, _) = self
            .state
            .changed
            .wait_timeout_while(reason, wait, |reason| reason.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        reason.as_ref().map(|reason| EngineError::Ended {
            reason: reason.clone(),
            log: self.log.clone(),
        })
    }
}

impl State {
    fn end(&self, error: Option<String>) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        *reason = Some(first_line(error.as_deref().unwrap_or_default()));
        self.changed.notify_all();
    }
}

/// The engine's errors carry a stack trace of a page; the first line says it.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let line = line
        .split(", Stack trace")
        .next()
        .unwrap_or_default()
        .trim();
    if line.is_empty() {
        "it gives no reason".to_owned()
    } else {
        line.to_owned()
    }
}

fn lock(config: &EngineConfig) -> Result<File, EngineError> {
    let path = config.lock();
    let failed = |source| EngineError::Directory {
        path: path.clone(),
        source,
    };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EngineError::DirectoryInUse(config.directory.clone())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port()
    }

    fn config(directory: &std::path::Path) -> EngineConfig {
        let library = directory.join("no-such-library.so");
        EngineConfig::new(library, directory.to_owned(), free_port())
    }

    #[test]
    fn a_port_in_use_is_said_before_anything_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config(directory.path());
        config.http_port = taken.local_addr().unwrap().port();
        let error = Engine::start(&config, Duration::ZERO).unwrap_err();
        assert!(matches!(error, EngineError::Port { .. }), "{error}");
    }

    #[test]
    fn a_directory_has_one_engine() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        let held = lock(&config).unwrap();
        let error = Engine::start(&config, Duration::ZERO).unwrap_err();
        assert!(matches!(error, EngineError::DirectoryInUse(_)), "{error}");
        drop(held);
        // Now the library is what is missing, and it gives the claim back each time.
        for _ in 0..2 {
            let error = Engine::start(&config, Duration::ZERO).unwrap_err();
            assert!(matches!(error, EngineError::Library { .. }), "{error}");
        }
    }

    #[test]
    fn an_engine_without_a_password_stays_on_loopback() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.host = std::net::Ipv4Addr::UNSPECIFIED.into();
        let error = Engine::start(&config, Duration::ZERO).unwrap_err();
        assert!(matches!(error, EngineError::NotLoopback(_)), "{error}");
    }

    #[test]
    fn the_reason_of_an_end_is_one_line() {
        let text = "std::exception. Code: 1001, type: x, Stack trace (when copying):\n\n0. ? @ 0x1";
        assert_eq!(first_line(text), "std::exception. Code: 1001, type: x");
        assert_eq!(first_line(""), "it gives no reason");
    }

    #[test]
    fn whoever_waits_learns_of_the_end() {
        let ended = Ended {
            state: Arc::default(),
            log: "clickhouse.log".into(),
        };
        assert!(ended.within(Duration::ZERO).is_none());
        let waiting = ended.clone();
        let waiter = thread::spawn(move || waiting.wait().to_string());
        ended.state.end(Some("Code: 1".to_owned()));
        assert_eq!(
            waiter.join().unwrap(),
            "ClickHouse ended: Code: 1 (its log: clickhouse.log)"
        );
    }
}
