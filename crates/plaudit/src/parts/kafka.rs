//! Apache Kafka: its jars from Maven Central, each pinned.

use std::fs;
use std::path::{Path, PathBuf};

use super::checksum::Pins;
use super::install::Place;
use super::tool::MAVEN;
use super::{PartError, java};
use crate::console::during;

/// The version, which is also in [`POM`] and in the name of [`JARS`]' file.
const NAME: &str = "kafka-4.3.0";
const JARS: Pins = Pins(include_str!("kafka-4.3.0.sha256"));

/// 44 MB of jars, and as much again in Maven's own cache.
const NEEDED_BYTES: u64 = 200 << 20;

/// The goal that fetches; its version is named, since the one that Maven would choose
/// depends on Maven's.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>plaudit</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>4.3.0</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"#;

/// Returns the directory of Kafka's jars, after fetching them into `parts` if need be.
///
/// Needs `mvn` and a network the first time (44 MB, some seconds), nothing later.
///
/// # Errors
///
/// Every [`PartError`] says in one line what to do.
pub fn kafka_jars(parts: &Path) -> Result<PathBuf, PartError> {
    let place = Place {
        root: parts,
        name: NAME,
        needed_bytes: NEEDED_BYTES,
    };
    let home = place.install(
        |home| JARS.present(&home.join("lib")),
        |home| {
            // Maven is a Java program: say that Java is missing, not that Maven fails.
            java()?;
            during("fetching Apache Kafka 4.3.0 (44 MB, with mvn)", || {
                fetch(home)
            })
        },
    )?;
    Ok(home.join("lib"))
}

fn fetch(home: &Path) -> Result<(), PartError> {
    let pom = home.join("pom.xml");
    fs::write(&pom, POM).map_err(PartError::io("write", &pom))?;
    MAVEN.run(
        home,
        &[
            "-B",
            "-q",
            COPY,
            "-DincludeScope=runtime",
            "-DoutputDirectory=lib",
        ],
    )?;
    JARS.verify(&home.join("lib"), "Apache Kafka", MAVEN.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_same_in_all_three_places() {
        let version = NAME.strip_prefix("kafka-").unwrap();
        assert!(POM.contains(&format!("<version>{version}</version>")));
        let broker = format!("kafka_2.13-{version}.jar");
        assert!(JARS.iter().any(|(_, name)| name == broker));
        assert!(JARS.iter().all(|(sum, _)| sum.len() == 64));
    }
}
