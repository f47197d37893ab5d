//! Installs clients with their own package managers, from committed lock files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A Python that has the packages of `requirements.txt` in `folder`.
///
/// # Errors
/// When python3 or pip fails.
pub(crate) fn python(name: &str, folder: &Path) -> Result<PathBuf> {
    let lock = fs::read(folder.join("requirements.txt"))?;
    let home = installed(name, &lock, |home| {
        execute(Command::new("python3").args(["-m", "venv"]).arg(home))?;
        let pip = home.join("bin/python");
        let arguments = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
        ];
        execute(
            Command::new(pip)
                .args(arguments)
                .arg(folder.join("requirements.txt")),
        )
    })?;
    Ok(home.join("bin/python"))
}

/// A directory with the packages of `package-lock.json` in `folder`, and its drivers.
///
/// # Errors
/// When npm fails.
pub(crate) fn node(name: &str, folder: &Path) -> Result<PathBuf> {
    let lock = fs::read(folder.join("package-lock.json"))?;
    let home = installed(name, &lock, |home| {
        fs::create_dir_all(home)?;
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(folder.join(file), home.join(file))?;
        }
        let arguments = [
            "ci",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ];
        execute(Command::new("npm").args(arguments).current_dir(home))
    })?;
    // A module is resolved from where it stands.
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let (Some("mjs"), Some(file)) =
            (path.extension().and_then(|e| e.to_str()), path.file_name())
        {
            fs::copy(&path, home.join(file))?;
        }
    }
    Ok(home)
}

/// The home of an installation of this very lock file, made whole or not at all.
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

fn execute(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} failed: {text}",
        program.display()
    );
    Ok(())
}
