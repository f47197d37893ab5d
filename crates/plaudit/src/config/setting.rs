//! One `section.key=value`, and how a value that looks like a number can be text.

use std::collections::BTreeSet;
use std::str::FromStr;

use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

use super::properties;

/// One key and its value, typed on the command line or in the environment: a layer of
/// its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    pub(super) key: String,
    pub(super) value: String,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    Flag,
    Variable,
}

impl Setting {
    /// Sets a key, such as `kafka.brokers`.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            origin: Origin::Flag,
        }
    }

    /// What a variable of the environment sets, if it is one of ours:
    /// `PLAUDIT__KAFKA__BROKERS` sets `kafka.brokers`.
    ///
    /// One underscore is part of a name. Two behind the prefix as well, since Kubernetes
    /// injects `PLAUDIT_SERVICE_HOST` and its like.
    pub fn from_variable(name: &str, value: &str) -> Option<Self> {
        let key = name.strip_prefix("PLAUDIT__")?;
        Some(Self {
            key: key.to_ascii_lowercase().replace("__", "."),
            value: value.to_owned(),
            origin: Origin::Variable,
        })
    }

    /// As it is typed after `--set`.
    pub fn to_argument(&self) -> String {
        format!("{}={}", self.key, self.value)
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if key.contains('.') => Ok(Self::new(key.trim(), value)),
            _ => Err("give it as section.key=value".to_owned()),
        }
    }
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(match self.origin {
            Origin::Flag => "--set",
            Origin::Variable => "the environment",
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let text = || Value::from(self.value.as_str());
        let value = if self.key.starts_with(properties::PREFIX) {
            // All of librdkafka's are text, a password of digits too.
            text()
        } else {
            self.value.parse().unwrap_or_else(|_| text())
        };
        Serialized::default(&self.key, value).data()
    }
}

/// Reads one section.
///
/// A flag or a variable is text, and its value is guessed from its look: `123` becomes a
/// number. Where text is wanted (a password of digits) the guess is taken back, and
/// `typed` gives the text for a key.
pub(super) fn extract<T: DeserializeOwned>(
    layers: &Figment,
    section: &str,
    typed: impl Fn(&str) -> Option<String>,
) -> Result<T, Box<Error>> {
    let mut layers = layers.clone();
    let mut taken_back = BTreeSet::new();
    loop {
        let error = match layers.extract_inner(section) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let key = key_of(&error, section);
        let text_wanted =
            matches!(&error.kind, Kind::InvalidType(_, wanted) if wanted.contains("string"));
        match typed(&key) {
            // Once a key: a second complaint is a real one.
            Some(text) if text_wanted && taken_back.insert(key.clone()) => {
                layers = layers.merge(Serialized::default(&key, text));
            }
            _ => return Err(Box::new(error)),
        }
    }
}

/// The key of an error as it is typed.
pub(super) fn key_of(error: &Error, section: &str) -> String {
    // An error of a section has the path within it and, behind that, the section.
    let within = match error.path.split_last() {
        Some((last, within)) if last == section => within,
        _ => error.path.as_slice(),
    };
    let path: Vec<&str> = std::iter::once(section)
        .chain(within.iter().map(String::as_str))
        .collect();
    path.join(".")
}
