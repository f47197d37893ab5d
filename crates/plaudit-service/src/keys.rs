//! Keys: who may do what, in which project.
//!
//! A key file holds hashes, never keys (promise **P7**). A key reads
//! `pl_<id>_<secret>`: the id finds the entry, the SHA-256 of the whole text is
//! compared in constant time. The secret has 256 random bits, which no slow hash
//! could improve on.
//!
//! A key belongs to one project and that is all it ever sees. Nothing here knows
//! which request needs which [`Scope`]; the services ask.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{ApiError, ErrorCode, Secret, chain};

mod file;

pub use file::{KeyEntry, KeyFileError, KeyHash, NewKey};

/// Who may call (`auth.*`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// `keys`, or `open`: no key is asked for, and only loopback is listened on.
    pub mode: AuthMode,
    /// The key file, which `plaudit keys create` writes. SIGHUP reads it again.
    pub keys_file: Option<PathBuf>,
    /// The project that every caller has when the mode is `open`.
    pub open_project: String,
    /// Signs the tokens by which a browser may send one feedback without a key, at
    /// least 32 bytes, the same for every intake; without it none are given out. A
    /// token outlives the key that asked for it: a new secret ends all of them.
    pub token_secret: Option<Secret>,
}

/// Whether callers need a key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// They do.
    #[default]
    Keys,
    /// They do not.
    Open,
}

/// What a key allows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send feedback, change it, take it back.
    Write,
    /// Read what the project has.
    Read,
    /// Declare metrics at run time; implies both others.
    Admin,
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Scopes(u8);

/// Who sent a request, and what they may do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// The project that is read and written.
    pub project: Arc<str>,
    /// The key's id, which is no secret; `open` in open mode.
    pub key_id: Arc<str>,
    /// What the key allows.
    pub scopes: Scopes,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    /// No header carries a key.
    #[error(
        "a key is required: send it as `Authorization: Bearer`, `x-api-key` or `x-portkey-api-key`"
    )]
    Missing,
    /// The key is not in the key file.
    #[error("the key is not known")]
    Unknown,
    /// The key lacks a scope.
    #[error("the key does not have the scope `{}`", .0.name())]
    Forbidden(Scope),
}

/// The keys in use.
///
/// Cheap to ask: a lookup and one SHA-256, no lock.
pub struct Keyring {
    config: AuthConfig,
    keys: ArcSwap<Keys>,
}

/// Entries by id.
type Keys = HashMap<String, Known>;

struct Known {
    hash: [u8; 32],
    principal: Principal,
}

/// What a key's text begins with, so that secret scanners can know it.
const PREFIX: &str = "pl_";

/// The fewest bytes of a secret that signs: those of its hash.
const MIN_TOKEN_SECRET: usize = 32;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_PORTKEY_API_KEY: HeaderName = HeaderName::from_static("x-portkey-api-key");

// === impl AuthConfig ===

impl AuthConfig {
    /// Every problem, by the key that the user typed.
    pub fn problems(&self) -> Vec<String> {
        let secret = self.token_secret.as_ref().map(Secret::expose);
        if secret.is_some_and(|secret| secret.len() < MIN_TOKEN_SECRET) {
            vec![format!(
                "auth.token_secret: must have at least {MIN_TOKEN_SECRET} bytes"
            )]
        } else {
            Vec::new()
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            mode: AuthMode::default(),
            keys_file: None,
            open_project: "default".to_owned(),
            token_secret: None,
        }
    }
}

// === impl Scope ===

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Write, Self::Read, Self::Admin];

    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Write => 0b001,
            Self::Read => 0b010,
            Self::Admin => 0b111,
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or(UnknownScope)
    }
}

/// The text names no scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be write, read or admin")]
pub struct UnknownScope;

// === impl Scopes ===

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(Scope::Admin.bits());

    /// Whether a scope is in the set.
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & scope.bits() == scope.bits()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(
            scopes
                .into_iter()
                .fold(0, |bits, scope| bits | scope.bits()),
        )
    }
}

// === impl Principal ===

impl Principal {
    /// Holds the principal to a scope.
    ///
    /// # Errors
    /// [`AuthError::Forbidden`], which is a 403.
    pub fn require(&self, scope: Scope) -> Result<(), AuthError> {
        if self.scopes.allow(scope) {
            Ok(())
        } else {
            Err(AuthError::Forbidden(scope))
        }
    }
}

// === impl AuthError ===

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Missing | AuthError::Unknown => ErrorCode::Unauthorized,
            AuthError::Forbidden(_) => ErrorCode::Forbidden,
        };
        Self::new(code, error.to_string())
    }
}

// === impl Keyring ===

impl Keyring {
    /// Reads the keys that a service starts with.
    ///
    /// # Errors
    /// [`KeyFileError::NoKeys`] when keys are asked for and there are none: the
    /// service must not start. The others name the file and the entry at fault.
    pub fn load(config: AuthConfig) -> Result<Self, KeyFileError> {
        let keys = read(&config)?;
        Ok(Self {
            config,
            keys: ArcSwap::from_pointee(keys),
        })
    }

    /// Reads the key file again, and says how many keys there are now.
    ///
    /// # Errors
    /// As [`load`](Self::load); the keys in use stay.
    pub fn reload(&self) -> Result<usize, KeyFileError> {
        let keys = read(&self.config)?;
        let count = keys.len();
        self.keys.store(Arc::new(keys));
        Ok(count)
    }

    /// The same for SIGHUP: the log says what came of it.
    pub fn reload_and_log(&self) {
        match self.reload() {
            Ok(keys) => tracing::info!(keys, "read the key file again"),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the keys stay as they were");
            }
        }
    }

    /// The secret that signs tokens (`auth.token_secret`).
    pub fn token_secret(&self) -> Option<&Secret> {
        self.config.token_secret.as_ref()
    }

    /// Holds open mode to loopback.
    ///
    /// # Errors
    /// [`KeyFileError::OpenToAll`] when anyone on the network could write.
    pub fn check_listener(&self, address: SocketAddr) -> Result<(), KeyFileError> {
        match self.config.mode {
            AuthMode::Open if !address.ip().is_loopback() => Err(KeyFileError::OpenToAll(address)),
            AuthMode::Open | AuthMode::Keys => Ok(()),
        }
    }

    /// Finds out who sent a request.
    ///
    /// A client may send a key of its model vendor beside Plaudit's (Portkey's
    /// does), so each header that may carry a key is tried.
    ///
    /// # Errors
    /// [`AuthError::Missing`] or [`AuthError::Unknown`], each a 401.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        if self.config.mode == AuthMode::Open {
            return Ok(Principal {
                project: self.config.open_project.as_str().into(),
                key_id: "open".into(),
                scopes: Scopes::ALL,
            });
        }
        let keys = self.keys.load();
        let mut error = AuthError::Missing;
        for text in candidates(headers) {
            match find(&keys, text) {
                Some(principal) => return Ok(principal.clone()),
                None => error = AuthError::Unknown,
            }
        }
        Err(error)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("config", &self.config)
            .field("keys", &self.keys.load().len())
            .finish()
    }
}

fn read(config: &AuthConfig) -> Result<Keys, KeyFileError> {
    if config.mode == AuthMode::Open {
        return Ok(Keys::new());
    }
    let path = config.keys_file.as_deref().ok_or(KeyFileError::NoKeys)?;
    let entries = file::read(path)?;
    if entries.is_empty() {
        return Err(KeyFileError::NoKeys);
    }
    Ok(entries
        .into_iter()
        .map(|entry| (entry.id.clone(), Known::from(entry)))
        .collect())
}

impl From<KeyEntry> for Known {
    fn from(entry: KeyEntry) -> Self {
        Self {
            hash: entry.sha256.0,
            principal: Principal {
                project: entry.project.into(),
                key_id: entry.id.into(),
                scopes: entry.scopes.into_iter().collect(),
            },
        }
    }
}

/// The texts in a request that may be a key. An empty header is none: Portkey's
/// client sends one when it has no key.
fn candidates(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    let named = [X_API_KEY, X_PORTKEY_API_KEY]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok());
    bearer
        .into_iter()
        .chain(named)
        .map(str::trim)
        .filter(|key| !key.is_empty())
}

fn find<'k>(keys: &'k Keys, text: &str) -> Option<&'k Principal> {
    let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let known = keys.get(id)?;
    let hash: [u8; 32] = Sha256::digest(text).into();
    bool::from(hash.ct_eq(&known.hash)).then_some(&known.principal)
}

#[cfg(test)]
mod tests;
