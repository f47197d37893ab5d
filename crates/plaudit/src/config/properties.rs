//! One spelling for `kafka.properties.*`, so that a layer can go over another, and for
//! secrets, which may be in files.
//!
//! A file says `"linger.ms" = 5` or `linger.ms = 5`, which in TOML are different trees,
//! and a variable says `LINGER_MS`. Each layer is brought to the first form, by
//! librdkafka's own names, before it is merged. What the names mean is the business of
//! `plaudit-kafka`.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::secret_file;

/// What their keys begin with.
pub(super) const PREFIX: &str = "kafka.properties.";

/// A layer whose `kafka.properties` are spelled in the one way, and whose secrets stand
/// in it.
pub(super) struct Spelled<P>(pub(super) P);

impl<P: Provider> Spelled<P> {
    /// What is in files that cannot be read, a line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let read = self.0.data().map(Self::read);
        read.map(|(_, problems)| problems).unwrap_or_default()
    }

    fn read(mut data: Map<Profile, Dict>) -> (Map<Profile, Dict>, Vec<String>) {
        let mut problems = Vec::new();
        for tree in data.values_mut() {
            if let Some(Value::Dict(_, kafka)) = tree.get_mut("kafka")
                && let Some(Value::Dict(_, properties)) = kafka.get_mut("properties")
            {
                *properties = flat("", std::mem::take(properties)).collect();
            }
            problems.extend(secret_file::read(tree));
        }
        (data, problems)
    }
}

impl<P: Provider> Provider for Spelled<P> {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        // Its problems are said once, by who loads.
        Ok(Self::read(self.0.data()?).0)
    }
}

fn flat(prefix: &str, properties: Dict) -> Box<dyn Iterator<Item = (String, Value)>> {
    let prefix = prefix.to_owned();
    Box::new(properties.into_iter().flat_map(move |(key, value)| {
        let key = prefix.clone() + &key.replace('_', ".");
        match value {
            Value::Dict(_, below) => flat(&(key + "."), below),
            value => Box::new(std::iter::once((key, value))),
        }
    }))
}
