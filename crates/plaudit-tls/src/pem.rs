//! Certificates and keys as files of PEM.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::TlsError;

/// A file, and the key of the configuration that names it.
#[derive(Clone, Debug)]
pub(crate) struct PemFile {
    pub(crate) key: String,
    pub(crate) path: PathBuf,
}

pub(crate) const CERTIFICATE: &str = "certificate";
pub(crate) const PRIVATE_KEY: &str = "private key";

impl PemFile {
    pub(crate) fn new(key: impl Into<String>, path: &Path) -> Self {
        Self {
            key: key.into(),
            path: path.to_owned(),
        }
    }

    /// All certificates, at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        // What the parser says may quote the file.
        match found {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            Ok(_) | Err(_) => Err(self.absent(CERTIFICATE)),
        }
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|_| self.absent(PRIVATE_KEY))
    }

    pub(crate) fn unusable(&self, what: &'static str, source: rustls::Error) -> TlsError {
        TlsError::Unusable {
            key: self.key.clone(),
            path: self.path.clone(),
            what,
            source: Box::new(source),
        }
    }

    fn absent(&self, what: &'static str) -> TlsError {
        TlsError::Absent {
            key: self.key.clone(),
            path: self.path.clone(),
            what,
        }
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        std::fs::read(&self.path).map_err(|source| TlsError::Read {
            key: self.key.clone(),
            path: self.path.clone(),
            source,
        })
    }
}
