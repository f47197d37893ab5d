//! Whom a client believes.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::pem::{CERTIFICATE, PemFile};
use crate::{TlsError, cryptography};

/// The authorities whose certificates are believed.
#[derive(Clone, Debug)]
pub struct Trust(Arc<RootCertStore>);

impl Trust {
    /// The authorities in a file, and no others; without a file those of this machine
    /// (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where, if not in the usual places). A
    /// client of an `http` URL needs none and gets none.
    ///
    /// `key` is what the file is called in the configuration.
    ///
    /// # Errors
    /// [`TlsError`] when the file has no certificate that can be used, or the machine
    /// has none.
    pub fn towards(url: &str, key: &str, file: Option<&Path>) -> Result<Self, TlsError> {
        match file {
            Some(file) => Self::of_file(key, file),
            None if is_https(url) => Self::of_system(key),
            None => Ok(Self::nobody()),
        }
    }

    /// Nobody: a client that cannot be led to trust an `https` URL.
    #[must_use]
    pub fn nobody() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }

    /// How a client checks whom it speaks to.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(cryptography())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for both versions")
            .with_root_certificates(Arc::clone(&self.0))
            .with_no_client_auth()
    }

    /// A client that checks so. It is the one way to make one: `reqwest`'s own choose
    /// whom to trust by what they find, and fail where they find nobody.
    #[cfg(feature = "reqwest")]
    pub fn http_client(&self) -> reqwest::ClientBuilder {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let builder = reqwest::Client::builder();
        builder.tls_backend_preconfigured(self.client_config())
    }

    fn of_file(key: &str, path: &Path) -> Result<Self, TlsError> {
        let file = PemFile::new(key, path);
        let mut roots = RootCertStore::empty();
        for certificate in file.certificates()? {
            roots
                .add(certificate)
                .map_err(|source| file.unusable(CERTIFICATE, source))?;
        }
        Ok(Self(Arc::new(roots)))
    }

    fn of_system(key: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        // A machine's own has some that nobody can use; one that is needed is missed.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NothingTrusted {
                key: key.to_owned(),
            });
        }
        Ok(Self(Arc::new(roots)))
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_trusted_alone_and_must_have_a_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let trust = || Trust::towards("https://h", "clickhouse.ca_file", Some(&path));
        let error = trust().unwrap_err().to_string();
        assert!(error.starts_with("clickhouse.ca_file: cannot read /"));

        std::fs::write(&path, "hunter2").unwrap();
        let error = trust().unwrap_err().to_string();
        assert!(error.contains("no certificate in /"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");

        let own = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap();
        std::fs::write(&path, own.cert.pem()).unwrap();
        assert_eq!(trust().unwrap().0.len(), 1);
    }

    #[test]
    fn who_speaks_plain_http_trusts_nobody() {
        let trust = Trust::towards("http://h", "clickhouse.ca_file", None).unwrap();
        assert!(trust.0.is_empty());
        assert!(is_https("HTTPS://h") && !is_https("https:/h"));
    }
}
