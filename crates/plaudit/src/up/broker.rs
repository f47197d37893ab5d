//! One Kafka broker: its configuration, its storage, its command line.
//!
//! KRaft mode, broker and controller in one JVM, on loopback: a single node, or one
//! [`Seat`] of several. Topics are made by `plaudit migrate` and by nobody else: a name
//! with a typo must not become a topic.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::child::ChildSpec;
use super::tether::Tether;

/// A broker on loopback and its directory.
#[derive(Clone, Debug)]
pub struct Broker {
    /// The Java that runs it, from [`java`](crate::parts::java).
    pub java: PathBuf,
    /// Its jars, from [`kafka_jars`](crate::parts::kafka_jars).
    pub jars: PathBuf,
    /// Its configuration, its identity and its topics.
    pub directory: PathBuf,
    /// The port that clients use.
    pub port: u16,
    /// The port that its own controller uses.
    pub controller_port: u16,
    /// The port that clients are told to come to: `port`, or that of a proxy before it.
    pub advertised_port: u16,
    /// Its place in a cluster of several; `None` is a cluster of one.
    pub seat: Option<Seat>,
    /// Users that it knows by SCRAM from the start, as Kafka's own tool is told of them:
    /// `SCRAM-SHA-512=[name=…,password=…]`.
    pub scram: Vec<String>,
    /// Further properties, over those that are written here.
    pub properties: Vec<(&'static str, String)>,
}

/// A broker's place in a cluster of several.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its number, from 1.
    pub node: u32,
    /// The port that the other brokers use.
    pub peers_port: u16,
    /// The controller's port of each broker by its number, this one's among them.
    pub voters: Vec<(u32, u16)>,
    /// The cluster's id, the same for each: 22 characters of base64.
    pub cluster_id: String,
}

/// Why a broker's storage cannot be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Kafka refuses to format its storage.
    #[error("Kafka cannot format its storage in {}: {line}", directory.display())]
    Format {
        /// The broker's directory.
        directory: PathBuf,
        /// The last line that Kafka says.
        line: String,
    },
}

const HEAP: &str = "-Xmx512m";
const COLLECTOR: &str = "-XX:+UseSerialGC";
/// Kafka at `info` writes a page about every topic.
const QUIET: &str = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
const TIMES: [&str; 2] = [
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
];

impl Broker {
    /// A cluster of one, to which clients come directly.
    pub fn alone(
        (java, jars): (PathBuf, PathBuf),
        directory: PathBuf,
        port: u16,
        controller_port: u16,
    ) -> Self {
        Self {
            java,
            jars,
            directory,
            port,
            controller_port,
            advertised_port: port,
            seat: None,
            scram: Vec::new(),
            properties: Vec::new(),
        }
    }

    /// Writes the configuration, and formats the storage the first time. Blocks, for a
    /// second or two when it formats.
    ///
    /// # Errors
    ///
    /// When a file cannot be written, or Kafka refuses the storage.
    pub fn prepare(&self) -> Result<(), BrokerError> {
        let logs = self.logs();
        fs::create_dir_all(&logs).map_err(failed(&logs))?;
        let properties = self.properties_path();
        fs::write(&properties, self.properties()).map_err(failed(&properties))?;
        if !logs.join("meta.properties").exists() {
            self.format()?;
        }
        Ok(())
    }

    /// How the broker is started, once [`prepare`](Self::prepare)d.
    pub fn spec(&self, log: PathBuf, tether: Tether) -> ChildSpec {
        let options = [HEAP, COLLECTOR, QUIET].into_iter().chain(TIMES);
        let mut arguments: Vec<OsString> = options.map(OsString::from).collect();
        arguments.extend(["-cp".into(), self.class_path(), "kafka.Kafka".into()]);
        arguments.push(self.properties_path().into());
        ChildSpec {
            name: "kafka",
            program: self.java.clone(),
            arguments,
            environment: Vec::new(),
            log,
            tether,
        }
    }

    fn format(&self) -> Result<(), BrokerError> {
        let id = self.cluster_id()?;
        let output = Command::new(&self.java)
            // One second of work: the optimising compiler would only be in the way.
            .args([COLLECTOR, QUIET, "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(self.class_path())
            .args(["kafka.tools.StorageTool", "format", "-t", &id, "-c"])
            .arg(self.properties_path())
            .args(self.scram.iter().flat_map(|user| ["--add-scram", user]))
            .stdin(Stdio::null())
            .output()
            .map_err(failed(&self.java))?;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().rfind(|line| !line.trim().is_empty());
        Err(BrokerError::Format {
            directory: self.directory.clone(),
            line: line.unwrap_or("it gives no reason").trim().to_owned(),
        })
    }

    /// The cluster's id; made once and kept, so that a format that was cut short is
    /// done again under the same one.
    fn cluster_id(&self) -> Result<String, BrokerError> {
        if let Some(seat) = &self.seat {
            return Ok(seat.cluster_id.clone());
        }
        let path = self.directory.join("cluster.id");
        match fs::read_to_string(&path) {
            Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&path)(error));
            }
            _ => {}
        }
        let id = new_cluster_id();
        fs::write(&path, &id).map_err(failed(&path))?;
        Ok(id)
    }

    fn logs(&self) -> PathBuf {
        self.directory.join("topics")
    }

    fn properties_path(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    /// `DIR/*`, which Java expands itself.
    fn class_path(&self) -> OsString {
        self.jars.join("*").into()
    }

    fn properties(&self) -> String {
        let Self {
            port,
            controller_port,
            advertised_port,
            ..
        } = self;
        let logs = escape(&self.logs());
        let copies = self.seat.as_ref().map_or(1, |seat| seat.voters.len());
        let mut text = format!(
            "# Written at each start.
process.roles=broker,controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PEERS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
default.replication.factor={copies}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# Back 4 s after a kill instead of 12.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.retention.check.interval.ms=60000
# The default takes a quarter of the heap at once.
log.cleaner.dedupe.buffer.size=16777216
"
        );
        text += &match &self.seat {
            None => format!(
                "node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised_port}
"
            ),
            Some(seat) => format!(
                "node.id={}
controller.quorum.voters={}
listeners=PLAINTEXT://127.0.0.1:{port},PEERS://127.0.0.1:{peers},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised_port},PEERS://127.0.0.1:{peers}
inter.broker.listener.name=PEERS
",
                seat.node,
                seat.voters(),
                peers = seat.peers_port,
            ),
        };
        for (key, value) in &self.properties {
            // A String takes every write.
            writeln!(text, "{key}={value}").ok();
        }
        text
    }
}

impl Seat {
    fn voters(&self) -> String {
        let voters = self.voters.iter();
        let voters: Vec<_> = voters
            .map(|(node, port)| format!("{node}@127.0.0.1:{port}"))
            .collect();
        voters.join(",")
    }
}

/// A new id for a cluster.
pub fn new_cluster_id() -> String {
    // Its tools would take one that begins with a dash for an option.
    std::iter::repeat_with(|| URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes()))
        .find(|id| !id.starts_with('-'))
        .unwrap_or_default()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BrokerError {
    let path = path.to_owned();
    move |source| BrokerError::Io { path, source }
}

/// A path as a value of a Java properties file, where a backslash escapes.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(directory: &Path) -> Broker {
        let parts = ("java".into(), "/parts/kafka/lib".into());
        Broker::alone(parts, directory.to_owned(), 19092, 19093)
    }

    #[test]
    fn a_broker_listens_on_loopback_only() {
        let properties = broker(Path::new("/d")).properties();
        let listeners: Vec<&str> = properties
            .lines()
            .filter(|line| line.contains("listeners=") || line.contains("voters="))
            .collect();
        assert_eq!(listeners.len(), 3);
        assert!(listeners.iter().all(|line| line.contains("127.0.0.1:1909")));
    }

    #[test]
    fn one_of_three_is_told_of_the_others_and_what_is_set_comes_last() {
        let seat = Seat {
            node: 2,
            peers_port: 19091,
            voters: vec![(1, 1), (2, 19093), (3, 3)],
            cluster_id: new_cluster_id(),
        };
        let one = Broker {
            advertised_port: 7,
            seat: Some(seat.clone()),
            properties: vec![("broker.session.timeout.ms", "2000".to_owned())],
            ..broker(Path::new("/d"))
        };
        let properties = one.properties();
        for line in [
            "node.id=2",
            "controller.quorum.voters=1@127.0.0.1:1,2@127.0.0.1:19093,3@127.0.0.1:3",
            "advertised.listeners=PLAINTEXT://127.0.0.1:7,PEERS://127.0.0.1:19091",
            "offsets.topic.replication.factor=3",
        ] {
            assert!(properties.lines().any(|is| is == line), "{line}");
        }
        assert!(properties.ends_with("broker.session.timeout.ms=2000\n"));
        assert_eq!(one.cluster_id().unwrap(), seat.cluster_id);
    }

    #[test]
    fn a_cluster_keeps_its_id() {
        let directory = tempfile::tempdir().unwrap();
        let id = broker(directory.path()).cluster_id().unwrap();
        assert_eq!(id.len(), 22);
        assert_eq!(broker(directory.path()).cluster_id().unwrap(), id);
    }

    #[test]
    fn the_jars_are_one_wildcard() {
        let spec = broker(Path::new("/d")).spec("/log".into(), Tether::Loose);
        assert!(
            spec.arguments
                .contains(&OsString::from("/parts/kafka/lib/*"))
        );
        assert_eq!(
            spec.arguments.last(),
            Some(&OsString::from("/d/server.properties"))
        );
    }
}
