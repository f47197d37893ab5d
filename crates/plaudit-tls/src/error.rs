//! Why certificates cannot be used. Each text begins with the key as it is typed and
//! names the file; no text shows what is in one.

use std::io;
use std::path::PathBuf;

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file is not there, or may not be read.
    #[error("{key}: cannot read {}", .path.display())]
    Read {
        /// The key of the configuration.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It holds none, or is damaged.
    #[error("{key}: there is no {what} in {}, which must be PEM", .path.display())]
    Absent {
        /// The key of the configuration.
        key: String,
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// It holds one that cannot be read or used.
    #[error("{key}: the {what} in {} cannot be used", .path.display())]
    Unusable {
        /// The key of the configuration.
        key: String,
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<rustls::Error>,
    },
    /// Two files that were made for different certificates.
    #[error("{key}: the key in {} does not belong to the certificate in {}", .path.display(), .certificate.display())]
    Mismatch {
        /// The key of the configuration.
        key: String,
        /// The file of the key.
        path: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// No certificates are installed on this machine.
    #[error("{key}: this machine has no certificates to trust; name a file of them")]
    NothingTrusted {
        /// The key of the configuration.
        key: String,
    },
}
