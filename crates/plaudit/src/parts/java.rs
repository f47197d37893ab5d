//! The Java that runs Kafka: found, not fetched.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::PartError;
use super::tool::Tool;

const JAVA: Tool = Tool {
    name: "java",
    package: "Java 17 or newer (Debian and Ubuntu: apt install openjdk-17-jre-headless; \
              macOS: brew install openjdk@17)",
};

/// What Kafka 4 needs.
const OLDEST: u32 = 17;

/// Finds a Java that is new enough for Kafka: that of `JAVA_HOME`, else of `PATH`.
///
/// # Errors
///
/// [`PartError::ToolMissing`] and [`PartError::JavaTooOld`], which say what to install.
pub fn java() -> Result<PathBuf, PartError> {
    let program = std::env::var_os("JAVA_HOME")
        .map(|home| PathBuf::from(home).join("bin/java"))
        .filter(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from(JAVA.name));
    let output = Command::new(&program)
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JAVA.missing(),
            _ => PartError::io("run", &program)(error),
        })?;
    // The version has gone to standard error since Java 1.
    let found = major(&String::from_utf8_lossy(&output.stderr)).ok_or(PartError::JavaUnknown)?;
    if found < OLDEST {
        return Err(PartError::JavaTooOld { found });
    }
    Ok(program)
}

/// The major version in `openjdk version "17.0.15" 2025-04-15`, or in the old `"1.8.0_402"`.
fn major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once(" version \"")?;
    let version = version.strip_prefix("1.").unwrap_or(version);
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_java_says_its_version_in_two_ways() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\n"), Some(17));
        assert_eq!(major("java version \"1.8.0_402\"\n"), Some(8));
        assert_eq!(major("openjdk version \"25-ea\" 2025-09-16\n"), Some(25));
        assert_eq!(major("The program 'java' can be found in\n"), None);
    }
}
