//! The ClickHouse engine: one shared library out of an npm package.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::install::Place;
use super::tool::NPM;
use super::{PartError, checksum};
use crate::console::{during, say};

const VERSION: &str = "26.7.3-stable.1";
const LIBRARY: &str = "libchdb.so";

/// 178 MB packed, 566 MB unpacked, and as much as the first in npm's own cache.
const NEEDED_BYTES: u64 = 1 << 30;

/// The engine for one kind of machine.
struct Package {
    name: &'static str,
    /// The checksum of the archive. Without one the registry's own, which npm checks,
    /// has to do.
    sha256: Option<&'static str>,
}

/// Returns the engine's library, after fetching it into `parts` if need be.
///
/// Needs `npm` and a network the first time (178 MB), nothing later.
///
/// # Errors
///
/// Every [`PartError`] says in one line what to do.
pub fn clickhouse_library(parts: &Path) -> Result<PathBuf, PartError> {
    let package = package()?;
    let place = Place {
        root: parts,
        name: &format!("clickhouse-{VERSION}"),
        needed_bytes: NEEDED_BYTES,
    };
    let home = place.install(
        |home| home.join(LIBRARY).is_file(),
        |home| {
            let message = format!("fetching ClickHouse {VERSION} (178 MB, with npm)");
            during(&message, || fetch(&package, home))
        },
    )?;
    Ok(home.join(LIBRARY))
}

fn package() -> Result<Package, PartError> {
    let (name, sha256) = match (std::env::consts::OS, std::env::consts::ARCH) {
        // The engine is linked against glibc.
        ("linux", _) if cfg!(target_env = "musl") => {
            return Err(PartError::Platform("a build against musl"));
        }
        ("linux", "x86_64") => (
            "lib-linux-x64-gnu",
            Some("c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad"),
        ),
        ("linux", "aarch64") => ("lib-linux-arm64-gnu", None),
        ("macos", "aarch64") => ("lib-darwin-arm64", None),
        ("macos", "x86_64") => ("lib-darwin-x64", None),
        _ => return Err(PartError::Platform("this kind of machine")),
    };
    Ok(Package { name, sha256 })
}

fn fetch(package: &Package, home: &Path) -> Result<(), PartError> {
    let name = package.name;
    NPM.run(
        home,
        &[
            "pack",
            "--loglevel=error",
            // By default npm tries for minutes before it says that there is no network.
            "--fetch-retries=1",
            &format!("@chdb/{name}@{VERSION}"),
        ],
    )?;
    let archive = home.join(format!("chdb-{name}-{VERSION}.tgz"));
    match package.sha256 {
        Some(pinned) => checksum::verify(&archive, pinned, NPM.name)?,
        None => say(format_args!(
            "@chdb/{name} has no checksum pinned here: taking npm's own check"
        )),
    }
    unpack(&archive, &home.join(LIBRARY))?;
    fs::remove_file(&archive).map_err(PartError::io("remove", &archive))
}

/// Takes the one file that is needed out of the archive.
fn unpack(archive: &Path, library: &Path) -> Result<(), PartError> {
    let unreadable = || PartError::io("unpack", archive);
    let packed = File::open(archive).map_err(unreadable())?;
    let mut unpacked = tar::Archive::new(GzDecoder::new(packed));
    for entry in unpacked.entries().map_err(unreadable())? {
        let mut entry = entry.map_err(unreadable())?;
        let path = entry.path().map_err(unreadable())?;
        if path != Path::new("package").join(LIBRARY) {
            continue;
        }
        let mut file = File::create(library).map_err(PartError::io("write", library))?;
        io::copy(&mut entry, &mut file).map_err(PartError::io("write", library))?;
        return file.sync_all().map_err(PartError::io("write", library));
    }
    Err(PartError::Incomplete {
        part: "ClickHouse",
        file: LIBRARY.to_owned(),
        problem: "is missing",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    /// An archive like npm's that holds one file.
    fn archive(directory: &Path, name: &str) -> PathBuf {
        let path = directory.join("archive.tgz");
        let mut tar = tar::Builder::new(GzEncoder::new(
            File::create(&path).unwrap(),
            Compression::fast(),
        ));
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, name, &b"engine"[..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap().flush().unwrap();
        path
    }

    #[test]
    fn only_the_library_is_taken_out() {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join(LIBRARY);
        unpack(&archive(directory.path(), "package/libchdb.so"), &library).unwrap();
        assert_eq!(fs::read(&library).unwrap(), b"engine");
    }

    #[test]
    fn an_archive_without_the_library_is_incomplete() {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join(LIBRARY);
        let error = unpack(&archive(directory.path(), "package/other.so"), &library).unwrap_err();
        assert!(matches!(error, PartError::Incomplete { .. }), "{error}");
    }
}
