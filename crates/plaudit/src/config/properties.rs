//! One spelling for `kafka.properties.*`, so that a layer can go over another.
//!
//! A file says `"linger.ms" = 5` or `linger.ms = 5`, which in TOML are different trees,
//! and a variable says `LINGER_MS`. Each layer is brought to the first form, by
//! librdkafka's own names, before it is merged. What the names mean is the business of
//! `plaudit-kafka`.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

/// A layer whose `kafka.properties` are spelled in the one way.
pub(super) struct Spelled<P>(pub(super) P);

impl<P: Provider> Provider for Spelled<P> {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut data = self.0.data()?;
        for tree in data.values_mut() {
            if let Some(Value::Dict(_, kafka)) = tree.get_mut("kafka")
                && let Some(Value::Dict(_, properties)) = kafka.get_mut("properties")
            {
                *properties = flat("", std::mem::take(properties)).collect();
            }
        }
        Ok(data)
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
