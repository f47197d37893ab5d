//! The secret of a local installation's signed tokens, made when it is first needed.
//!
//! In production every intake is given the same (`auth.token_secret`); a stack on one
//! machine keeps its own beside its data, so that links survive a restart.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use plaudit_service::Secret;
use uuid::Uuid;

/// The secret of the installation in this directory.
///
/// # Errors
/// When it cannot be read, or made.
pub(crate) fn of(directory: &Path) -> io::Result<Secret> {
    let path = directory.join("token-secret");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned().into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => {}
    }
    // Each has 122 bits of the system's randomness.
    let (one, other) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let secret = format!("{one}{other}");
    write(&path, &secret)?;
    Ok(secret.into())
}

fn write(path: &Path, secret: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_a_secret_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let made = of(dir.path()).unwrap();
        assert_eq!(made.expose().len(), 64);
        assert_eq!(of(dir.path()).unwrap(), made);
        let path = dir.path().join("token-secret");
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(of(other.path()).unwrap(), made);
    }
}
