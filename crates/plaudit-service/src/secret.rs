//! A setting that must not be seen (promise **P7**).

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Text that prints as `***` in `Debug`, `Display` and when serialised.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_a_secret_never_prints() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(
            format!(
                "{secret:?} {secret} {}",
                serde_json::to_string(&secret).unwrap()
            ),
            "*** *** \"***\""
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
