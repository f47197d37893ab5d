//! A process whose directory can become read-only, and nobody else's.
//!
//! It runs in a mount namespace of its own. A read-only mount of the directory over
//! itself is all that it then sees; what it has open stays open, as on a disk that the
//! kernel has made read-only after an error. The namespace ends with the process, and
//! nothing is left of it. Root makes it as it is; anybody else within a user namespace.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use plaudit::up::ChildSpec;
use support::binary;
use tokio::process::Command;

use crate::part::Part;

/// A directory that one process can lose the right to write to.
#[derive(Debug)]
pub(crate) struct Shutter {
    directory: PathBuf,
}

/// `$0` is the directory. It is made read-only elsewhere first: in its own place somebody
/// would open a file for writing in between, and then it cannot be.
const CLOSE: &str = r#"mkdir -p "$0.ro" && mount --bind "$0" "$0.ro" &&
mount -o remount,bind,ro "$0.ro" && mount --bind "$0.ro" "$0" && umount "$0.ro" &&
rmdir "$0.ro""#;
/// What was opened through the mount keeps it for itself.
const OPEN: &str = r#"umount --lazy "$0""#;

impl Shutter {
    /// Gives a part's program a namespace of its own from its next start on.
    pub(crate) fn wrap(spec: &mut ChildSpec, directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let flags = if is_root() { "-m" } else { "-rm" };
        let mut arguments: Vec<OsString> = vec![flags.into()];
        arguments.extend(["--propagation", "private"].map(OsString::from));
        // The tie that the part has ends where its rights change: it gets another.
        arguments.extend([binary()?.into(), "tethered".into()]);
        arguments.push(std::process::id().to_string().into());
        arguments.push(spec.program.clone().into());
        arguments.append(&mut spec.arguments);
        spec.program = "unshare".into();
        spec.arguments = arguments;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Makes the directory read-only for this process.
    pub(crate) async fn close(&self, part: &Part) -> Result<()> {
        self.inside(part, CLOSE).await
    }

    /// Makes it writable again.
    pub(crate) async fn open(&self, part: &Part) -> Result<()> {
        self.inside(part, OPEN).await
    }

    async fn inside(&self, part: &Part, script: &str) -> Result<()> {
        let pid = part.pid()?.to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-m"]);
        if !is_root() {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.args(["sh", "-c", script]).arg(&self.directory);
        let output = command.kill_on_drop(true).output().await;
        let output = output.context("run nsenter")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script}: {said}");
        Ok(())
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
