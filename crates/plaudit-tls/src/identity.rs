//! What a server shows of itself.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::pem::{CERTIFICATE, PRIVATE_KEY, PemFile};
use crate::{TlsError, cryptography};

/// A certificate with its chain, and its key: two files that may be replaced while the
/// server runs. Connections that are open keep what they were shown.
#[derive(Debug)]
pub struct Identity {
    certificate: PemFile,
    private_key: PemFile,
    shown: ArcSwap<Shown>,
}

#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    expiry: u64,
}

impl Identity {
    /// Reads both files. `section` is what stands before their keys in the
    /// configuration, such as `intake.tls`.
    ///
    /// # Errors
    /// [`TlsError`] when one of them cannot be used, or they do not belong together.
    pub fn load(section: &str, cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let certificate = PemFile::new(format!("{section}.cert_file"), cert_file);
        let private_key = PemFile::new(format!("{section}.key_file"), key_file);
        let shown = ArcSwap::from_pointee(read(&certificate, &private_key)?);
        Ok(Self {
            certificate,
            private_key,
            shown,
        })
    }

    /// Reads both files again; returns whether there is another certificate now.
    ///
    /// # Errors
    /// [`TlsError`]; what was shown before is shown still.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let new = read(&self.certificate, &self.private_key)?;
        let is_other = self.shown.load().key.cert != new.key.cert;
        if is_other {
            self.shown.store(Arc::new(new));
        }
        Ok(is_other)
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn expiry(&self) -> u64 {
        self.shown.load().expiry
    }

    /// How a server shows it, to clients of HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(cryptography())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.load().key))
    }
}

fn read(certificate: &PemFile, private_key: &PemFile) -> Result<Shown, TlsError> {
    let chain = certificate.certificates()?;
    let expiry = expiry(certificate, &chain)?;
    let key = private_key.private_key()?;
    let key = cryptography()
        .key_provider
        .load_private_key(key)
        .map_err(|source| private_key.unusable(PRIVATE_KEY, source))?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        // A key of which this cannot be told is taken at its word.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(TlsError::Mismatch {
                key: private_key.key.clone(),
                path: private_key.path.clone(),
                certificate: certificate.path.clone(),
            });
        }
        Err(source) => return Err(certificate.unusable(CERTIFICATE, source)),
    }
    Ok(Shown {
        key: Arc::new(key),
        expiry,
    })
}

/// When the first certificate of the chain, the server's own, ends.
fn expiry(file: &PemFile, chain: &[CertificateDer<'_>]) -> Result<u64, TlsError> {
    let own = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let own = Certificate::from_der(own)
        .map_err(|_| file.unusable(CERTIFICATE, rustls::CertificateError::BadEncoding.into()))?;
    let end = own.tbs_certificate.validity.not_after;
    Ok(end.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A directory with a certificate that ends in a year, and its key.
    struct Files(tempfile::TempDir);

    impl Files {
        fn new(year: i32) -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            files.write(year);
            files
        }

        fn write(&self, year: i32) {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(["h".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&key).unwrap();
            std::fs::write(self.0.path().join("cert"), certificate.pem()).unwrap();
            std::fs::write(self.0.path().join("key"), key.serialize_pem()).unwrap();
        }

        fn load(&self) -> Result<Identity, TlsError> {
            let [cert, key] = ["cert", "key"].map(|name| self.0.path().join(name));
            Identity::load("intake.tls", &cert, &key)
        }
    }

    #[test]
    fn it_says_when_the_certificate_ends_before_and_after_2050() {
        // The two forms of time that certificates have.
        assert_eq!(Files::new(2030).load().unwrap().expiry(), 1_893_456_000);
        assert_eq!(Files::new(2060).load().unwrap().expiry(), 2_840_140_800);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_key() {
        let files = Files::new(2030);
        let other = Files::new(2031);
        let error = |name: &str, content: &str| {
            let path = files.0.path().join(name);
            let before = std::fs::read(&path).unwrap();
            std::fs::write(&path, content).unwrap();
            let error = files.load().unwrap_err().to_string();
            std::fs::write(&path, before).unwrap();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            error
        };
        let text = std::fs::read_to_string(other.0.path().join("key")).unwrap();
        assert!(error("key", &text).contains("does not belong to the certificate"));
        assert!(error("key", "").starts_with("intake.tls.key_file: there is no private key"));
        assert!(error("cert", &text).starts_with("intake.tls.cert_file: there is no certificate"));
        let damaged = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n";
        assert!(error("cert", damaged).starts_with("intake.tls.cert_file: the certificate in"));
        std::fs::remove_file(files.0.path().join("cert")).unwrap();
        let error = files.load().unwrap_err().to_string();
        assert!(error.starts_with("intake.tls.cert_file: cannot read"));
    }

    #[test]
    fn another_certificate_is_taken_and_half_of_one_is_not() {
        let files = Files::new(2030);
        let identity = files.load().unwrap();
        assert!(!identity.reload().unwrap());

        let other = Files::new(2060);
        let replace = |name: &str| {
            std::fs::copy(other.0.path().join(name), files.0.path().join(name)).unwrap();
        };
        replace("cert");
        assert!(matches!(identity.reload(), Err(TlsError::Mismatch { .. })));
        assert_eq!(identity.expiry(), 1_893_456_000);
        replace("key");
        assert!(identity.reload().unwrap());
        assert_eq!(identity.expiry(), 2_840_140_800);
    }
}
