//! The free part of `kafka.*`: librdkafka settings by their own names.
//!
//! How they are typed, spelled and shown. Which of them are accepted, and what they
//! go over, is in `settings`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// librdkafka settings as typed under `kafka.properties`, by their own names.
///
/// In TOML both `"linger.ms" = 5` and `linger.ms = 5` mean the same, numbers and
/// booleans may be bare, and `_` may stand for `.`, so that an environment
/// variable can name every setting: `PLAUDIT__KAFKA__PROPERTIES__SASL_PASSWORD`.
///
/// They go over our defaults and to every client they concern: a producer's
/// setting is not given to a consumer. Refused, since a promise depends on
/// them: all that touches idempotence, `acks`, the partitioner, automatic commits
/// and resets, the assignment strategy, the statistics interval, and what has a
/// key of its own (`bootstrap.servers`, `group.id`).
///
/// Values that can be secret are shown as `***` in `Debug` and when serialised.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Properties(BTreeMap<String, String>);

/// Other spellings that librdkafka takes, and the one used here. Two spellings
/// of one setting would be applied in no particular order.
const ALIASES: &[(&str, &str)] = &[
    ("acks", "request.required.acks"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.type", "compression.codec"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("retries", "message.send.max.retries"),
    ("sasl.mechanism", "sasl.mechanisms"),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
    ),
];

impl Properties {
    /// The value of a setting, by any of its spellings.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(&canonical(key)).map(String::as_str)
    }

    /// All settings, by librdkafka's spelling. Values may be secret.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<K: AsRef<str>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (canonical(key.as_ref()), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tree = BTreeMap::<String, Node>::deserialize(deserializer)?;
        let mut flat = Vec::new();
        flatten("", tree, &mut flat);
        Ok(flat.into_iter().collect())
    }
}

impl Properties {
    fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter()
            .map(|(key, value)| (key, if is_secret(key) { "***" } else { value }))
    }
}

/// A value under `kafka.properties`: a bare dotted key is a table in TOML.
#[derive(Deserialize)]
#[serde(untagged)]
enum Node {
    Table(BTreeMap<String, Node>),
    Switch(bool),
    Number(i64),
    Fraction(f64),
    Text(String),
}

fn flatten(prefix: &str, tree: BTreeMap<String, Node>, into: &mut Vec<(String, String)>) {
    for (key, node) in tree {
        let key = if prefix.is_empty() {
            key
        } else {
            format!("{prefix}.{key}")
        };
        match node {
            Node::Table(tree) => flatten(&key, tree, into),
            Node::Switch(value) => into.push((key, value.to_string())),
            Node::Number(value) => into.push((key, value.to_string())),
            Node::Fraction(value) => into.push((key, value.to_string())),
            Node::Text(value) => into.push((key, value)),
        }
    }
}

fn canonical(key: &str) -> String {
    let key = key.replace('_', ".");
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == key)
        .map_or(key, |(_, name)| (*name).to_owned())
}

fn is_secret(key: &str) -> bool {
    // Where something is, is none.
    if key.ends_with(".location") || key.ends_with(".url") {
        return false;
    }
    [
        "password",
        "secret",
        "pem",
        "key",
        "oauthbearer.config",
        "passphrase",
        "token",
        "jaas",
    ]
    .iter()
    .any(|part| key.contains(part))
}

/// The spelling that people use, where librdkafka's own is the older one.
pub(crate) fn familiar(key: &str) -> &str {
    ALIASES
        .iter()
        .find(|(_, name)| *name == key)
        .map_or(key, |(alias, _)| alias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_and_bare_values_read_as_librdkafka_settings() {
        let typed = "
            [properties]
            linger.ms = 5
            \"enable.idempotence\" = true
            compression = { type = \"zstd\", level = 3 }
            sasl_username = \"me\"
        ";
        let tree: BTreeMap<String, Properties> = toml::from_str(typed).unwrap();
        let properties = &tree["properties"];
        let read: Vec<_> = properties.iter().collect();
        assert_eq!(
            read,
            [
                ("compression.codec", "zstd"),
                ("compression.level", "3"),
                ("enable.idempotence", "true"),
                ("queue.buffering.max.ms", "5"),
                ("sasl.username", "me"),
            ]
        );
    }

    #[test]
    fn p7_secrets_are_not_shown_and_where_they_are_is() {
        let secret = [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.oauthbearer.config",
        ];
        for key in secret {
            let properties: Properties = [(key, "hunter2")].into_iter().collect();
            let shown = format!("{properties:?}{}", toml::to_string(&properties).unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
            assert_eq!(shown.matches("***").count(), 2, "{shown}");
        }
        let plain = [
            "ssl.ca.location",
            "ssl.key.location",
            "sasl.oauthbearer.token.endpoint.url",
            "linger.ms",
        ];
        let properties: Properties = plain.map(|key| (key, "seen")).into_iter().collect();
        assert!(!format!("{properties:?}").contains("***"));
        assert_eq!(properties.get("linger.ms"), Some("seen"));
    }
}
