//! The key file: TOML that people may read and comment, and that
//! `plaudit keys create` adds to.
//!
//! ```toml
//! [[keys]]
//! id = "4f1c9a02b7d35e68"
//! project = "default"
//! scopes = ["write", "read"]
//! sha256 = "…64 hex digits…"
//! name = "checkout service"
//! created = "2026-01-02T03:04:05Z"
//! ```

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use super::{Keyring, PREFIX, Scope};
use crate::Secret;

/// One key, as the file has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Finds the entry; part of the key's text, and no secret.
    pub id: String,
    /// The one project that the key sees.
    pub project: String,
    /// What the key allows.
    pub scopes: Vec<Scope>,
    /// SHA-256 of the key's whole text.
    pub sha256: KeyHash,
    /// Whose it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was made, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

/// A hash, in the file 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyHash(pub(super) [u8; 32]);

/// A key that was just made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The key's text. It is shown once and is nowhere else.
    pub secret: Secret,
    /// What the file got.
    pub entry: KeyEntry,
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Keys are asked for and there are none.
    #[error(
        "no key is configured: run `plaudit keys create` and set auth.keys_file, \
         or set auth.mode = \"open\" to take anyone's feedback on loopback"
    )]
    NoKeys,
    /// Open mode on an address that others can reach.
    #[error("auth.mode = \"open\" may listen on loopback only, not on {0}")]
    OpenToAll(SocketAddr),
    /// The file cannot be read or written.
    #[error("cannot use the key file {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not a key file. Its text is not shown: it may hold a key that
    /// somebody pasted there.
    #[error("{} is not a key file: {problem}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// A project's or a key's name that cannot stand in the file.
    #[error("{0} must have 1 to 128 characters, none of them control characters")]
    Name(&'static str),
    /// A key that allows nothing.
    #[error("a key needs at least one scope")]
    NoScopes,
    /// The system has no random numbers.
    #[error("cannot draw random numbers")]
    Random(#[source] getrandom::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    keys: Vec<KeyEntry>,
}

// === create ===

impl Keyring {
    /// Makes a key and adds it to the file, which is made (mode 0600) when it is
    /// not there. Comments and other entries stay as they are.
    ///
    /// `created` is the time in RFC 3339, for people. The new file replaces the
    /// old one in one step, so a service that reads it sees either; two calls at
    /// once wait for each other.
    ///
    /// # Errors
    /// When the file is not a key file or cannot be written. No key was made.
    pub fn create_key(
        path: &Path,
        project: &str,
        scopes: &[Scope],
        name: Option<&str>,
        created: Option<&str>,
    ) -> Result<NewKey, KeyFileError> {
        check_name("project", project)?;
        name.map_or(Ok(()), |name| check_name("name", name))?;
        if scopes.is_empty() {
            return Err(KeyFileError::NoScopes);
        }
        let id = hex(&random::<8>()?);
        let secret = URL_SAFE_NO_PAD.encode(random::<32>()?);
        let text = format!("{PREFIX}{id}_{secret}");
        let entry = KeyEntry {
            id,
            project: project.to_owned(),
            scopes: scopes.to_vec(),
            sha256: KeyHash(Sha256::digest(&text).into()),
            name: name.map(str::to_owned),
            created: created.map(str::to_owned),
        };
        append(path, &entry)?;
        Ok(NewKey {
            secret: text.into(),
            entry,
        })
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), KeyFileError> {
    let length = name.chars().count();
    if (1..=128).contains(&length) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(KeyFileError::Name(what))
}

fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyFileError::Random)?;
    Ok(bytes)
}

// === read and append ===

/// The entries of a key file.
pub(super) fn read(path: &Path) -> Result<Vec<KeyEntry>, KeyFileError> {
    let text = fs::read_to_string(path).map_err(|error| io_error(path, error))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<KeyEntry>, KeyFileError> {
    let invalid = |problem: String| KeyFileError::Invalid {
        path: path.to_owned(),
        problem,
    };
    // Only the message: `Display` quotes the line.
    let file: KeyFile = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        invalid(format!("line {line}: {}", error.message()))
    })?;
    let mut ids = HashSet::new();
    for entry in &file.keys {
        if !ids.insert(entry.id.as_str()) {
            return Err(invalid(format!("two keys have the id {}", entry.id)));
        }
        if entry.project.is_empty() {
            return Err(invalid(format!("the key {} has no project", entry.id)));
        }
    }
    Ok(file.keys)
}

fn append(path: &Path, entry: &KeyEntry) -> Result<(), KeyFileError> {
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let add = || {
        fs::create_dir_all(directory)?;
        // The file itself is replaced, so it cannot carry the lock.
        let lock = File::open(directory)?;
        lock.lock()?;
        let old = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        Ok((lock, old))
    };
    let (_lock, mut text) = add().map_err(|error| io_error(path, error))?;
    parse(path, &text)?;
    if !text.is_empty() {
        text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    text.push_str(&block(entry));
    parse(path, &text)?;
    replace(path, directory, &text).map_err(|error| io_error(path, error))
}

fn replace(path: &Path, directory: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = directory.join(name);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&draft, path))
        .and_then(|()| File::open(directory)?.sync_all());
    if written.is_err() && draft.exists() {
        fs::remove_file(&draft)?;
    }
    written
}

fn io_error(path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io {
        path: path.to_owned(),
        source,
    }
}

/// The entry in TOML. A JSON string without control characters is a TOML string.
fn block(entry: &KeyEntry) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let scopes: Vec<_> = entry
        .scopes
        .iter()
        .map(|scope| quoted(scope.name()))
        .collect();
    let mut text = format!(
        "[[keys]]\nid = {}\nproject = {}\nscopes = [{}]\nsha256 = {}\n",
        quoted(&entry.id),
        quoted(&entry.project),
        scopes.join(", "),
        quoted(&hex(&entry.sha256.0)),
    );
    for (key, value) in [("name", &entry.name), ("created", &entry.created)] {
        if let Some(value) = value {
            text.push_str(&format!("{key} = {}\n", quoted(value)));
        }
    }
    text
}

// === impl KeyHash ===

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unhex(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom("sha256 must be 64 hexadecimal digits"))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}
