//! SHA-256 of files, and lists of them in the form of `sha256sum`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::PartError;

/// The pinned files of a part: `<hex>  <name>` a line, as `sha256sum` writes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pins(pub(super) &'static str);

impl Pins {
    /// Every pinned file as (checksum, name).
    pub(super) fn iter(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.lines().filter_map(|line| line.split_once("  "))
    }

    /// Whether every pinned file is in the directory. Contents are not read.
    pub(super) fn present(self, directory: &Path) -> bool {
        self.iter().all(|(_, name)| directory.join(name).is_file())
    }

    /// Checks that the directory holds the pinned files, those only, each as pinned.
    pub(super) fn verify(
        self,
        directory: &Path,
        part: &'static str,
        tool: &'static str,
    ) -> Result<(), PartError> {
        for (pinned, name) in self.iter() {
            let path = directory.join(name);
            if !path.is_file() {
                return Err(PartError::Incomplete {
                    part,
                    file: name.to_owned(),
                    problem: "is missing",
                });
            }
            verify(&path, pinned, tool)?;
        }
        let entries = fs::read_dir(directory).map_err(PartError::io("read", directory))?;
        for entry in entries {
            let entry = entry.map_err(PartError::io("read", directory))?;
            let name = entry.file_name();
            if !self.iter().any(|(_, pinned)| name == pinned) {
                return Err(PartError::Incomplete {
                    part,
                    file: name.to_string_lossy().into_owned(),
                    problem: "is not on the list",
                });
            }
        }
        Ok(())
    }
}

/// Checks one file against its pin, and that it is on the disk and not in a cache only.
pub(super) fn verify(path: &Path, pinned: &str, tool: &'static str) -> Result<(), PartError> {
    let mut file = File::open(path).map_err(PartError::io("open", path))?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).map_err(PartError::io("read", path))?;
    file.sync_all().map_err(PartError::io("write", path))?;
    let found = hash.finalize();
    if hex(&found) == pinned {
        Ok(())
    } else {
        let file = path.file_name().unwrap_or(path.as_os_str());
        Err(PartError::Checksum {
            file: file.to_string_lossy().into_owned(),
            tool,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // sha256 of "one" and of "two".
    const PINS: Pins = Pins(
        "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  one\n\
         3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3  two\n",
    );

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn problem(files: &[(&str, &str)]) -> Option<String> {
        let directory = directory(files);
        PINS.verify(directory.path(), "a part", "mvn")
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn the_pinned_files_and_those_only_are_whole() {
        assert_eq!(problem(&[("one", "one"), ("two", "two")]), None);
        let missing = problem(&[("one", "one")]).unwrap();
        assert!(missing.contains("two is missing"), "{missing}");
        let more = problem(&[("one", "one"), ("two", "two"), ("three", "3")]).unwrap();
        assert!(more.contains("three is not on the list"), "{more}");
    }

    #[test]
    fn one_other_byte_is_another_file() {
        let altered = problem(&[("one", "one"), ("two", "twO")]).unwrap();
        assert!(
            altered.starts_with("two is not the pinned one"),
            "{altered}"
        );
    }
}
