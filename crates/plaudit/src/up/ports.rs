//! Which port each part of the local stack gets, and whether it can have it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What listens on a port of the local stack.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Listener {
    /// The intake's API.
    Intake,
    /// The query API and the page.
    Query,
    /// ClickHouse's HTTP server.
    Clickhouse,
    /// Kafka's broker.
    Kafka,
    /// Kafka's controller, which only the broker talks to.
    KafkaController,
    /// Metrics and probes of the intake.
    IntakeMetrics,
    /// Metrics and probes of the sink.
    SinkMetrics,
    /// Metrics and probes of the query service.
    QueryMetrics,
}

/// One `--port NAME=PORT`. Port 0 means any free one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortChoice {
    /// Who listens.
    pub listener: Listener,
    /// Where.
    pub port: u16,
}

/// A port for every listener, all on loopback.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ports(BTreeMap<Listener, u16>);

/// Why the stack cannot have its ports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// Something else listens there.
    #[error(
        "port {port} ({listener}) is in use: stop what listens there, or choose another with --port {listener}=PORT"
    )]
    InUse {
        /// Who would listen.
        listener: Listener,
        /// The port.
        port: u16,
    },
    /// Two listeners were given one port.
    #[error(
        "port {port} is given to both {first} and {second}: choose another with --port {second}=PORT"
    )]
    Twice {
        /// The port.
        port: u16,
        /// Who has it.
        first: Listener,
        /// Who would have it too.
        second: Listener,
    },
    /// The system gives no port at all, or not this one.
    #[error(
        "cannot listen on port {port} ({listener}): {source}; choose another with --port {listener}=PORT"
    )]
    Refused {
        /// Who would listen.
        listener: Listener,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
}

impl Listener {
    /// Every listener of the stack.
    pub const ALL: [Self; 8] = [
        Self::Intake,
        Self::Query,
        Self::Clickhouse,
        Self::Kafka,
        Self::KafkaController,
        Self::IntakeMetrics,
        Self::SinkMetrics,
        Self::QueryMetrics,
    ];

    /// Its name in `--port` and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Query => "query",
            Self::Clickhouse => "clickhouse",
            Self::Kafka => "kafka",
            Self::KafkaController => "kafka-controller",
            Self::IntakeMetrics => "intake-metrics",
            Self::SinkMetrics => "sink-metrics",
            Self::QueryMetrics => "query-metrics",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Intake => 8080,
            Self::Query => 8081,
            Self::Clickhouse => 8123,
            Self::Kafka => 9092,
            Self::KafkaController => 9093,
            Self::IntakeMetrics => 9101,
            Self::SinkMetrics => 9102,
            Self::QueryMetrics => 9103,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PortChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = || Listener::ALL.map(Listener::name).join(", ");
        let (name, port) = text
            .split_once('=')
            .ok_or_else(|| format!("give it as NAME=PORT, where NAME is one of {}", names()))?;
        let listener = Listener::ALL
            .into_iter()
            .find(|listener| listener.name() == name)
            .ok_or_else(|| format!("`{name}` is none of {}", names()))?;
        let port = port.parse().map_err(|_| "PORT is 0 to 65535".to_owned())?;
        Ok(Self { listener, port })
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self(
            Listener::ALL
                .map(|listener| (listener, listener.default_port()))
                .into(),
        )
    }
}

impl Ports {
    /// Any free port for everybody, chosen when they are claimed: for tests.
    pub fn free() -> Self {
        Self(Listener::ALL.map(|listener| (listener, 0)).into())
    }

    /// Gives a listener another port.
    pub fn choose(&mut self, choice: PortChoice) {
        self.0.insert(choice.listener, choice.port);
    }

    /// The port of a listener.
    pub fn port(&self, listener: Listener) -> u16 {
        self.0
            .get(&listener)
            .copied()
            .unwrap_or_else(|| listener.default_port())
    }

    /// The address of a listener.
    pub fn address(&self, listener: Listener) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(listener)))
    }

    /// Checks that the listeners can have their ports, and puts a number where any will do.
    ///
    /// `patience` is how long to wait for ports in use: the children of an instance
    /// that was killed need a moment to go.
    ///
    /// # Errors
    ///
    /// The first listener that cannot have its port. Somebody may still take a port
    /// between this check and its use; the listener says so then.
    pub async fn claim(
        &mut self,
        listeners: &[Listener],
        patience: Duration,
    ) -> Result<(), PortError> {
        let deadline = Instant::now() + patience;
        // Held until all are checked: two listeners cannot be given the same free port.
        let mut held: Vec<(Listener, TcpListener)> = Vec::new();
        for &listener in listeners {
            let wanted = self.address(listener);
            if let Some((first, _)) = held.iter().find(|(_, other)| {
                wanted.port() != 0 && other.local_addr().is_ok_and(|address| address == wanted)
            }) {
                return Err(PortError::Twice {
                    port: wanted.port(),
                    first: *first,
                    second: listener,
                });
            }
            let bound = loop {
                match bind(listener, wanted) {
                    Err(PortError::InUse { .. }) if Instant::now() < deadline => {
                        sleep(Duration::from_millis(100)).await;
                    }
                    result => break result?,
                }
            };
            let address = bound.local_addr().map_err(|source| PortError::Refused {
                listener,
                port: wanted.port(),
                source,
            })?;
            self.choose(PortChoice {
                listener,
                port: address.port(),
            });
            held.push((listener, bound));
        }
        Ok(())
    }
}

fn bind(listener: Listener, address: SocketAddr) -> Result<TcpListener, PortError> {
    let port = address.port();
    TcpListener::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => PortError::InUse { listener, port },
        _ => PortError::Refused {
            listener,
            port,
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports::free();
        ports.choose(PortChoice {
            listener: Listener::Query,
            port,
        });
        let error = ports
            .claim(&Listener::ALL, Duration::ZERO)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "port {port} (query) is in use: stop what listens there, or choose another with --port query=PORT"
            )
        );
    }

    #[tokio::test]
    async fn free_ports_are_all_different() {
        let mut ports = Ports::free();
        ports.claim(&Listener::ALL, Duration::ZERO).await.unwrap();
        let mut numbers: Vec<u16> = Listener::ALL.map(|listener| ports.port(listener)).into();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), Listener::ALL.len());
        assert!(!numbers.contains(&0));
    }

    #[tokio::test]
    async fn one_port_for_two_is_said() {
        let mut ports = Ports::free();
        ports
            .claim(&[Listener::Intake], Duration::ZERO)
            .await
            .unwrap();
        let port = ports.port(Listener::Intake);
        ports.choose(PortChoice {
            listener: Listener::Query,
            port,
        });
        let error = ports
            .claim(&Listener::ALL, Duration::ZERO)
            .await
            .unwrap_err();
        assert!(matches!(error, PortError::Twice { .. }), "{error}");
    }

    #[test]
    fn a_choice_is_a_known_name_and_a_port() {
        let choice: PortChoice = "kafka-controller=0".parse().unwrap();
        assert_eq!(choice.listener, Listener::KafkaController);
        assert_eq!(choice.port, 0);
        assert!("kafka".parse::<PortChoice>().is_err());
        assert!("zookeeper=1".parse::<PortChoice>().is_err());
        assert!("kafka=65536".parse::<PortChoice>().is_err());
    }
}
