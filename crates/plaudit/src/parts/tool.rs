//! Runs the programs that fetch parts, and turns their failures into one line.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::PartError;

/// A program that somebody has to install.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// What to install, with the names of packages.
    pub(super) package: &'static str,
}

pub(super) const NPM: Tool = Tool {
    name: "npm",
    package: "Node.js with npm (Debian and Ubuntu: apt install npm; macOS: brew install node)",
};

pub(super) const MAVEN: Tool = Tool {
    name: "mvn",
    package: "Maven (Debian and Ubuntu: apt install maven; macOS: brew install maven)",
};

impl Tool {
    pub(super) fn missing(self) -> PartError {
        PartError::ToolMissing {
            tool: self.name,
            package: self.package,
        }
    }

    /// Runs the program in a directory to its end.
    pub(super) fn run(self, directory: &Path, arguments: &[&str]) -> Result<(), PartError> {
        let output = Command::new(self.name)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(self.explain(directory, &output)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing()),
            Err(error) => Err(PartError::io("run", self.name)(error)),
        }
    }

    fn explain(self, directory: &Path, output: &Output) -> PartError {
        let text = [output.stderr.as_slice(), output.stdout.as_slice()]
            .map(String::from_utf8_lossy)
            .join("\n");
        if NO_ROOM.iter().any(|sign| text.contains(sign)) {
            PartError::full(directory.to_owned())
        } else if NO_NETWORK.iter().any(|sign| text.contains(sign)) {
            PartError::Network { tool: self.name }
        } else {
            PartError::Tool {
                tool: self.name,
                line: telling_line(&text).unwrap_or_else(|| output.status.to_string()),
            }
        }
    }
}

const NO_ROOM: [&str; 2] = ["ENOSPC", "No space left on device"];

const NO_NETWORK: [&str; 12] = [
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ETIMEDOUT",
    "Unknown host",
    "UnknownHostException",
    "Connection refused",
    "Network is unreachable",
    "Connect timed out",
];

/// The line that says most: the first error that is more than a code.
fn telling_line(text: &str) -> Option<String> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        // Maven puts a colour in front even when it is told not to.
        .filter_map(|line| {
            line.split_once("npm error ")
                .or_else(|| line.split_once("[ERROR] "))
        })
        .map(|(_, line)| line)
        .find(|line| !line.starts_with("code "))
        .or_else(|| lines().next_back())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn failure(tool: Tool, stderr: &str) -> PartError {
        let output = Output {
            status: ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        tool.explain(Path::new("/there"), &output)
    }

    #[test]
    fn a_failure_is_one_line_that_says_what_to_do() {
        let offline = failure(
            NPM,
            "npm error code EAI_AGAIN\nnpm error request to x failed",
        );
        assert!(matches!(offline, PartError::Network { tool: "npm" }));
        let full = failure(MAVEN, "[ERROR] x: No space left on device -> [Help 1]");
        assert!(matches!(full, PartError::DiskFull { .. }));
        let other = failure(
            NPM,
            "npm warn a\nnpm error code E404\nnpm error 404 Not Found\n",
        );
        assert_eq!(other.to_string(), "`npm` failed: 404 Not Found");
        let coloured = failure(
            MAVEN,
            "\u{1b}[0m[ERROR] no such plugin\n[ERROR] re-run with -e",
        );
        assert_eq!(coloured.to_string(), "`mvn` failed: no such plugin");
    }

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let tool = Tool {
            name: "plaudit-no-such-tool",
            package: "it",
        };
        let error = tool.run(Path::new("."), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`plaudit-no-such-tool` is not installed: install it and try again"
        );
    }
}
