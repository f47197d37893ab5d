//! Installs clients with their own package managers, from committed lock files.
//!
//! An environment a client and version, locked to the last transitive one, under the
//! build directory. It is made whole or not at all, and kept until its lock changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use support::repository;

/// The least Python that every client's lock file is for.
const PYTHON: (u32, u32) = (3, 11);

/// The folder of a vendor's drivers, and of the lock files of its clients.
pub(crate) fn folder(vendor: &str) -> PathBuf {
    drivers().join(vendor)
}

/// Where the drivers' own module is.
pub(crate) fn drivers() -> PathBuf {
    repository().join("tests/sdk")
}

/// A Python that has a vendor's client of this version.
///
/// # Errors
/// When Python is too old, or pip fails.
pub(crate) fn python(vendor: &str, version: &str) -> Result<PathBuf> {
    let name = format!("python-{version}");
    let requirements = folder(vendor).join(&name).join("requirements.txt");
    let lock = fs::read(&requirements).context("read the lock file")?;
    let home = installed(&format!("{vendor}-{name}"), &lock, |home| {
        let pip = pip()?;
        make_environment(home, &["--without-pip"])?;
        // What nobody imports is not compiled.
        let install = [
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
            "--require-hashes",
            "-r",
        ];
        execute(
            Command::new(pip)
                .args(["-m", "pip", "--python"])
                .arg(home.join("bin/python"))
                .args(install)
                .arg(&requirements),
        )
    })?;
    Ok(home.join("bin/python"))
}

/// A Python that has pip, to install into the other environments with.
fn pip() -> Result<PathBuf> {
    let home = installed("pip", b"", |home| {
        check_python()?;
        make_environment(home, &[])
    })?;
    Ok(home.join("bin/python"))
}

fn make_environment(home: &Path, options: &[&str]) -> Result<()> {
    let mut venv = Command::new("python3");
    execute(venv.args(["-m", "venv"]).args(options).arg(home))
}

/// A directory that has a vendor's client of this version, and the vendor's driver.
///
/// # Errors
/// When npm fails.
pub(crate) fn node(vendor: &str, version: &str) -> Result<PathBuf> {
    let name = format!("js-{version}");
    let folder = folder(vendor);
    let locked = folder.join(&name);
    let lock = fs::read(locked.join("package-lock.json")).context("read the lock file")?;
    let home = installed(&format!("{vendor}-{name}"), &lock, |home| {
        fs::create_dir_all(home)?;
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(locked.join(file), home.join(file))?;
        }
        let ci = [
            "ci",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ];
        execute(Command::new("npm").args(ci).current_dir(home))
    })?;
    // A module is resolved from where it stands.
    fs::copy(drivers().join("script.mjs"), home.join("script.mjs"))?;
    fs::copy(folder.join("driver.mjs"), home.join("driver.mjs"))?;
    Ok(home)
}

/// The home of an installation of this very lock file.
fn installed(
    name: &str,
    lock: &[u8],
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk");
    fs::create_dir_all(&root)?;
    // Tests run at the same time: one installs, the others wait.
    let guard = File::create(root.join(format!("{name}.lock")))?;
    guard.lock()?;
    let (home, stamp) = (root.join(name), root.join(format!("{name}.installed")));
    if fs::read(&stamp).is_ok_and(|done| done == lock) {
        return Ok(home);
    }
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    install(&home).with_context(|| format!("install {name}"))?;
    fs::write(&stamp, lock)?;
    Ok(home)
}

/// Says which Python is wanted, rather than what an old one trips over.
fn check_python() -> Result<()> {
    let script = "import sys; print(*sys.version_info[:2])";
    let text = execute_for_text(Command::new("python3").args(["-c", script]))?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("python3 does not say its version");
    };
    let (least_major, least_minor) = PYTHON;
    ensure!(
        (major, minor) >= PYTHON,
        "python3 is {major}.{minor}; the clients' lock files are for {least_major}.{least_minor} or newer"
    );
    Ok(())
}

fn execute(command: &mut Command) -> Result<()> {
    execute_for_text(command).map(drop)
}

fn execute_for_text(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} failed: {complaint}",
        program.display()
    );
    Ok(String::from_utf8(output.stdout)?)
}
