//! One `plaudit up` a directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Why the directory is not ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another instance uses it.
    #[error(
        "another `plaudit up` ({holder}) uses {directory}: stop it, or choose another directory with --dir"
    )]
    Held {
        /// `pid 123`.
        holder: String,
        /// The directory.
        directory: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {directory}: {source}")]
    Io {
        /// The directory.
        directory: String,
        /// What the system says.
        source: io::Error,
    },
}

/// The claim on a directory; held while this lives, and by nobody once its process is
/// gone, however it went.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
    left_behind: bool,
}

impl DirectoryLock {
    /// Claims a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] with the pid of the holder; the lock is not waited for.
    pub fn claim(directory: &Path) -> Result<Self, LockError> {
        let named = || directory.display().to_string();
        let failed = |source| LockError::Io {
            directory: named(),
            source,
        };
        fs::create_dir_all(directory).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join("up.lock"))
            .map_err(failed)?;
        let claimed = file.try_lock();
        let mut pid = String::new();
        file.read_to_string(&mut pid).map_err(failed)?;
        match claimed {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = pid.trim();
                return Err(LockError::Held {
                    // Between its claim and its first write there is no pid to read.
                    holder: if pid.is_empty() {
                        "just started".to_owned()
                    } else {
                        format!("pid {pid}")
                    },
                    directory: named(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut lock = Self {
            file,
            left_behind: !pid.trim().is_empty(),
        };
        lock.write(&std::process::id().to_string())
            .map_err(failed)?;
        Ok(lock)
    }

    /// Whether somebody holds the claim at this moment.
    ///
    /// # Errors
    ///
    /// When the lock file cannot be looked at; a directory that has none is not held.
    pub fn is_held(directory: &Path) -> Result<bool, LockError> {
        let tried = match File::open(directory.join("up.lock")) {
            Ok(file) => file.try_lock_shared(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => Err(TryLockError::Error(error)),
        };
        match tried {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(LockError::Io {
                directory: directory.display().to_string(),
                source,
            }),
        }
    }

    /// Whether the last holder went without releasing: it was killed, and its children
    /// may still be on their way out.
    pub fn left_behind(&self) -> bool {
        self.left_behind
    }

    /// Gives the directory up after everything that used it is gone.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; the lock is free all the same.
    pub fn release(mut self) -> io::Result<()> {
        self.write("")
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_names_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::claim(directory.path()).unwrap();
        let error = DirectoryLock::claim(directory.path())
            .unwrap_err()
            .to_string();
        let pid = format!("pid {}", std::process::id());
        assert!(error.contains(&pid), "{error}");
        assert!(DirectoryLock::is_held(directory.path()).unwrap());
        first.release().unwrap();
        assert!(!DirectoryLock::is_held(directory.path()).unwrap());
        assert!(
            !DirectoryLock::claim(directory.path())
                .unwrap()
                .left_behind()
        );
    }

    #[test]
    fn a_killed_holder_is_noticed_and_holds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(DirectoryLock::claim(directory.path()).unwrap());
        assert!(
            DirectoryLock::claim(directory.path())
                .unwrap()
                .left_behind()
        );
    }
}
