//! An authority of a test's own, and what it certifies, as files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use plaudit_tls::Trust;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};

/// Certifies whoever asks.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

/// A certificate for 127.0.0.1 and its key, in two files.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

impl Authority {
    /// A new authority, whose files are in this directory.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn new(directory: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        // Of a name of its own: who has the name of its issuer counts as its own issuer.
        params.distinguished_name = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            directory: directory.to_owned(),
        };
        std::fs::create_dir_all(directory)?;
        std::fs::write(authority.ca_file(), authority.issuer.pem())?;
        Ok(authority)
    }

    /// By which its certificates are believed.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Certifies 127.0.0.1 until the start of a year; `name` is what the files are
    /// called, and those of the same name are replaced.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn certify(&self, name: &str, until: i32) -> Result<Certified> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
        params.distinguished_name = named(name);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = Certified {
            cert_file: self.directory.join(format!("{name}.cert.pem")),
            key_file: self.directory.join(format!("{name}.key.pem")),
        };
        std::fs::write(&files.cert_file, certificate.pem())?;
        std::fs::write(&files.key_file, key.serialize_pem())?;
        Ok(files)
    }

    /// A client that believes this authority and nobody else, to be completed.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn http(&self) -> Result<reqwest::ClientBuilder> {
        let trust = Trust::towards("https:", "the authority", Some(&self.ca_file()))?;
        Ok(trust.http_client())
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}
