//! Puts a part in its place whole, or not at all.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::PartError;
use crate::console::say;

/// Less than this is a full disk, whatever the part.
pub(super) const MIN_FREE_BYTES: u64 = 64 << 20;

/// A part's place among the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The directory that holds all parts.
    pub(super) root: &'a Path,
    /// The part's own directory in it: its name and version.
    pub(super) name: &'a str,
    /// Bytes that the part takes while it is fetched and unpacked.
    pub(super) needed_bytes: u64,
}

impl Place<'_> {
    /// Returns the part's directory, after filling it if it is not there.
    ///
    /// `whole` says whether a directory has what the part needs. `fill` gets an empty
    /// directory and puts the verified part into it. Of several processes one fills,
    /// and the others wait for it.
    pub(super) fn install(
        self,
        whole: impl Fn(&Path) -> bool,
        fill: impl FnOnce(&Path) -> Result<(), PartError>,
    ) -> Result<PathBuf, PartError> {
        let home = self.root.join(self.name);
        if whole(&home) {
            return Ok(home);
        }
        fs::create_dir_all(self.root).map_err(PartError::io("make", self.root))?;
        let _lock = self.lock()?;
        if whole(&home) {
            return Ok(home);
        }
        let partial = self.root.join(format!("{}.partial", self.name));
        self.remove(&partial, "was fetched by half")?;
        self.remove(&home, "is incomplete")?;
        self.check_room()?;
        fs::create_dir(&partial).map_err(PartError::io("make", &partial))?;
        if let Err(error) = fill(&partial) {
            // The error that counts is the first; a leftover is removed next time.
            fs::remove_dir_all(&partial).ok();
            return Err(error);
        }
        fs::rename(&partial, &home).map_err(PartError::io("make", &home))?;
        Ok(home)
    }

    fn lock(self) -> Result<File, PartError> {
        let path = self.root.join("lock");
        let file = File::create(&path).map_err(PartError::io("make", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                say(format_args!(
                    "waiting for another process that fetches {}",
                    self.name
                ));
            }
            Err(TryLockError::Error(error)) => return Err(PartError::io("lock", path)(error)),
        }
        file.lock().map_err(PartError::io("lock", path))?;
        Ok(file)
    }

    fn remove(self, directory: &Path, why: &str) -> Result<(), PartError> {
        if directory.exists() {
            say(format_args!(
                "{} {why}: removing it and fetching again",
                self.name
            ));
            fs::remove_dir_all(directory).map_err(PartError::io("remove", directory))?;
        }
        Ok(())
    }

    fn check_room(self) -> Result<(), PartError> {
        let stat = nix::sys::statvfs::statvfs(self.root)
            .map_err(|errno| PartError::io("look at the disk of", self.root)(errno.into()))?;
        let free_bytes = wide(stat.blocks_available()) * wide(stat.fragment_size());
        let needed_bytes = self.needed_bytes.max(MIN_FREE_BYTES);
        if free_bytes < needed_bytes {
            return Err(PartError::DiskFull {
                directory: self.root.to_owned(),
                needed_bytes,
                free_bytes,
            });
        }
        Ok(())
    }
}

/// Counts of blocks have 32 bits on some systems and 64 on others.
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path) -> Place<'_> {
        Place {
            root,
            name: "part-1",
            needed_bytes: 1,
        }
    }

    fn whole(directory: &Path) -> bool {
        directory.join("file").is_file()
    }

    fn fill(directory: &Path) -> Result<(), PartError> {
        fs::write(directory.join("file"), "new").map_err(PartError::io("write", directory))
    }

    #[test]
    fn a_part_is_fetched_once() {
        let root = tempfile::tempdir().unwrap();
        let home = place(root.path()).install(whole, fill).unwrap();
        assert_eq!(home, root.path().join("part-1"));
        let again = place(root.path()).install(whole, |_| panic!("fetched twice"));
        assert_eq!(again.unwrap(), home);
    }

    #[test]
    fn a_part_that_fails_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let failed = place(root.path()).install(whole, |directory| {
            fill(directory)?;
            Err(PartError::JavaUnknown)
        });
        assert!(failed.is_err());
        assert!(!root.path().join("part-1").exists());
        assert!(!root.path().join("part-1.partial").exists());
    }

    #[test]
    fn a_leftover_is_never_taken_for_whole() {
        let root = tempfile::tempdir().unwrap();
        // What a kill in the middle leaves: the file is there, the rename is not.
        let partial = root.path().join("part-1.partial");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("file"), "old").unwrap();
        fs::write(partial.join("stray"), "old").unwrap();
        let home = place(root.path()).install(whole, fill).unwrap();
        assert_eq!(fs::read_to_string(home.join("file")).unwrap(), "new");
        assert!(!home.join("stray").exists());
    }

    #[test]
    fn no_room_is_said_before_anything_is_fetched() {
        let root = tempfile::tempdir().unwrap();
        let mut place = place(root.path());
        place.needed_bytes = u64::MAX;
        let error = place
            .install(whole, |_| panic!("fetched without room"))
            .unwrap_err();
        assert!(matches!(error, PartError::DiskFull { .. }), "{error}");
    }
}
