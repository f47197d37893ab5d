//! Ties a child to the life of its parent.
//!
//! On Linux a process can ask the kernel for a signal when its parent is gone. It has
//! to ask itself, between `fork` and `exec`, which safe Rust cannot do; so a child is
//! started as `plaudit tethered PARENT PROGRAM ARGUMENTS…`, which asks and then becomes
//! the program. The pid stays, nothing stands in between, and the program (a JVM, say)
//! needs to know nothing.
//!
//! "Gone" means that the parent's *thread* is gone. All children are therefore started
//! by one thread that lives as long as the process.
//!
//! Elsewhere the child is only started: whoever kills the supervisor with SIGKILL has
//! to look after its children.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How a child is tied to its parent's life.
#[derive(Clone, Debug)]
pub enum Tether {
    /// By a `plaudit` binary, which is at this path.
    Tied(PathBuf),
    /// Not at all: it lives on when we are killed.
    Loose,
}

impl Tether {
    /// Ties children with this very binary.
    ///
    /// # Errors
    ///
    /// When the system does not say which one that is.
    pub fn this_binary() -> io::Result<Self> {
        std::env::current_exe().map(Self::Tied)
    }

    /// The command line that starts a program in this way.
    pub(super) fn wrap(&self, program: &Path, arguments: &[OsString]) -> (PathBuf, Vec<OsString>) {
        match self {
            Self::Loose => (program.to_owned(), arguments.to_vec()),
            Self::Tied(binary) => {
                let head = [
                    "tethered".into(),
                    std::process::id().to_string().into(),
                    program.as_os_str().to_owned(),
                ];
                (
                    binary.clone(),
                    head.into_iter().chain(arguments.iter().cloned()).collect(),
                )
            }
        }
    }
}

/// `plaudit tethered`: asks for a SIGTERM when the parent is gone, then becomes the
/// program.
///
/// # Errors
///
/// When the parent is gone already, or the program cannot be run.
pub fn become_tethered(
    parent: u32,
    program: &Path,
    arguments: &[OsString],
) -> io::Result<Infallible> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
    // Asked first, looked at second: a parent that goes in between is noticed either way.
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::other("the parent is gone"));
    }
    Err(std::process::Command::new(program).args(arguments).exec())
}

type Job = Box<dyn FnOnce() + Send>;

/// Starts a process from the thread that lives as long as we do.
pub(super) async fn spawn(mut command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<SyncSender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, queue) = sync_channel::<Job>(1);
        thread::spawn(move || queue.into_iter().for_each(|job| job()));
        jobs
    });
    let runtime = Handle::current();
    let (answer, started) = oneshot::channel();
    let job: Job = Box::new(move || {
        let _runtime = runtime.enter();
        // Whoever asked may be gone; the child is then dropped here, which kills it.
        answer.send(command.spawn()).ok();
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    starter.send(job).map_err(|_| gone())?;
    started.await.map_err(|_| gone())?
}
