//! The broker and the engine that all tests share: Apache Kafka and ClickHouse, real.
//!
//! `make test` starts them once for the whole run (`with-backend`) and says where they
//! are in [`Backend::VARIABLE`]. A test binary that is started by hand finds nothing
//! there and starts its own, which the kernel ends with it. Nothing is ever skipped: a
//! part that cannot be had is a failure.
//!
//! What keeps tests apart is not here: each has a topic and a database of its own, see
//! [`Stack`](crate::Stack).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Context;
use plaudit::config::Sources;
use plaudit::up::{CannotLive, DirectoryLock, Listener, Member, Ports, Stack, UpOptions};

/// Where the shared broker and engine are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backend {
    /// Kafka's bootstrap address.
    pub brokers: String,
    /// ClickHouse's HTTP interface; user `default`, no password.
    pub clickhouse_url: String,
}

/// A broker and an engine that this process started.
#[derive(Debug)]
pub struct RunningBackend {
    stack: Stack,
    addresses: Backend,
}

impl Backend {
    /// The environment variable that tells tests where the backend is.
    pub const VARIABLE: &'static str = "PLAUDIT_TEST_BACKEND";
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.brokers, self.clickhouse_url)
    }
}

impl FromStr for Backend {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (brokers, url) = text
            .split_once(' ')
            .with_context(|| format!("{} must be `BROKERS URL`", Self::VARIABLE))?;
        Ok(Self {
            brokers: brokers.to_owned(),
            clickhouse_url: url.to_owned(),
        })
    }
}

impl RunningBackend {
    /// Starts both on free ports, with empty directories.
    ///
    /// # Errors
    /// Whatever keeps them from running; the text says what to do.
    pub async fn start() -> anyhow::Result<Self> {
        let home = scratch_directory("plaudit-tests")?;
        let options = UpOptions {
            directory: home,
            parts: repository().join(".plaudit/parts"),
            ports: Ports::free(),
            members: vec![Member::Kafka, Member::Clickhouse],
            binary: binary()?,
            sources: Sources::default(),
        };
        let mut stack = Stack::prepare(options).await?;
        stack.start().await?;
        let addresses = Backend {
            brokers: stack.ports().address(Listener::Kafka).to_string(),
            clickhouse_url: stack.url(Listener::Clickhouse),
        };
        Ok(Self { stack, addresses })
    }

    /// Where they are.
    pub fn addresses(&self) -> &Backend {
        &self.addresses
    }

    /// Waits until one of them turns out to be unable to live.
    pub async fn failed(&mut self) -> CannotLive {
        self.stack.failed().await
    }

    /// Stops both.
    pub async fn stop(self) {
        self.stack.stop().await;
    }
}

/// The backend of this run, started if nobody has.
///
/// # Panics
/// When it cannot be had: a test that needs it fails.
pub fn backend() -> &'static Backend {
    static BACKEND: OnceLock<Backend> = OnceLock::new();
    BACKEND.get_or_init(|| {
        let found = match std::env::var(Backend::VARIABLE) {
            Ok(text) => text.parse(),
            Err(_) => start_for_this_process(),
        };
        found.unwrap_or_else(|error| panic!("no broker and engine to test with: {error:#}"))
    })
}

/// Starts a backend that lives until this process ends.
fn start_for_this_process() -> anyhow::Result<Backend> {
    let (answer, started) = sync_channel(1);
    std::thread::Builder::new()
        .name("backend".to_owned())
        .spawn(move || keep_running(&answer))?;
    started
        .recv()
        .context("the thread that starts the backend is gone")?
}

fn keep_running(answer: &SyncSender<anyhow::Result<Backend>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return answer.send(Err(error.into())).unwrap_or(()),
    };
    runtime.block_on(async {
        let mut running = match RunningBackend::start().await {
            Ok(running) => running,
            Err(error) => return answer.send(Err(error)).unwrap_or(()),
        };
        if answer.send(Ok(running.addresses().clone())).is_ok() {
            let failure = running.failed().await;
            panic!("the backend died: {failure}");
        }
    });
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The built `plaudit`, beside the test binary.
///
/// # Errors
/// When it has not been built.
pub fn binary() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    // In `deps` for a test, one up for a program.
    let directories = this.ancestors().skip(1).take(2);
    directories
        .map(|directory| directory.join("plaudit-under-test"))
        .find(|binary| binary.is_file())
        .context("plaudit-under-test is not built: run `cargo build -p plaudit-tests --bins`")
}

/// A directory for this process, of those of one kind beside the binary. Those of
/// earlier processes are removed: what they left is kept for one run only.
///
/// Whoever uses it claims it with a [`DirectoryLock`].
///
/// # Errors
/// When it cannot be had.
pub fn scratch_directory(kind: &str) -> anyhow::Result<PathBuf> {
    let root = binary()?.with_file_name(kind);
    std::fs::create_dir_all(&root)?;
    for entry in std::fs::read_dir(&root)? {
        let old = entry?.path();
        // Held by a process that is still running.
        if DirectoryLock::claim(&old).is_ok() {
            std::fs::remove_dir_all(&old)?;
        }
    }
    Ok(root.join(std::process::id().to_string()))
}
