//! The parts that cases share: a broker behind a proxy, an engine, a cluster of three.
//!
//! They are started once and healed after each case, since a JVM and an engine take
//! seconds to start. What a case breaks in them it breaks for itself only: topic, group
//! and database are its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};
use plaudit::parts;
use plaudit::up::{Broker, ChildSpec, DirectoryLock, Probe, Seat, Tether, new_cluster_id};
use support::{Proxy, binary, repository, scratch_directory};

use crate::part::Part;

/// Everything that outlives a case.
#[derive(Debug)]
pub(crate) struct Site {
    /// All that is written is below it; removed at the end.
    pub(crate) directory: PathBuf,
    pub(crate) kafka: Kafka,
    pub(crate) clickhouse: Part,
    pub(crate) clickhouse_address: SocketAddr,
    cluster: Option<Cluster>,
    /// Dropped after the parts, which write into it.
    _scratch: Scratch,
}

/// The directory of this run, removed however the run ends.
#[derive(Debug)]
struct Scratch {
    directory: PathBuf,
    _lock: DirectoryLock,
}

/// A broker, and the proxy that clients are told to come to.
#[derive(Debug)]
pub(crate) struct Kafka {
    pub(crate) part: Part,
    pub(crate) proxy: Proxy,
}

/// Three brokers: three copies of each record, two for an acknowledgement.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) brokers: Vec<Kafka>,
}

impl Site {
    /// Starts broker and engine.
    pub(crate) async fn start() -> Result<Self> {
        let directory = scratch_directory("plaudit-fault")?;
        let scratch = Scratch {
            _lock: DirectoryLock::claim(&directory)?,
            directory: directory.clone(),
        };
        let [port, controller_port] = free_ports()?;
        let place = Place {
            directory: directory.join("kafka"),
            port,
            controller_port,
            seat: None,
        };
        let mut kafka = Kafka::prepare(place).await?;
        let [clickhouse_port] = free_ports()?;
        let clickhouse_address = SocketAddr::from((Ipv4Addr::LOCALHOST, clickhouse_port));
        let mut clickhouse = clickhouse(&directory, clickhouse_address)?;
        tokio::try_join!(kafka.part.start(), clickhouse.start())?;
        Ok(Self {
            directory,
            kafka,
            clickhouse,
            clickhouse_address,
            cluster: None,
            _scratch: scratch,
        })
    }

    /// Makes good what the last case did.
    pub(crate) async fn heal(&mut self) -> Result<()> {
        self.kafka.proxy.mend();
        tokio::try_join!(self.kafka.part.heal(), self.clickhouse.heal())?;
        if let Some(cluster) = &mut self.cluster {
            cluster.heal().await?;
        }
        Ok(())
    }

    /// The cluster, started when it is first needed.
    pub(crate) async fn cluster(&mut self) -> Result<&mut Cluster> {
        if self.cluster.is_none() {
            self.cluster = Some(Cluster::start(&self.directory).await?);
        }
        self.cluster.as_mut().context("it was started just now")
    }

    /// The engine's HTTP interface.
    pub(crate) fn clickhouse_url(&self) -> String {
        format!("http://{}", self.clickhouse_address)
    }

    /// Ends every part, and removes what they wrote.
    pub(crate) async fn end(mut self) -> Result<()> {
        let cluster = self
            .cluster
            .iter_mut()
            .flat_map(|cluster| &mut cluster.brokers);
        let brokers = cluster.map(|broker| &mut broker.part);
        for part in brokers.chain([&mut self.kafka.part, &mut self.clickhouse]) {
            part.kill().await?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whatever stays is removed by the next run.
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

impl Cluster {
    async fn start(directory: &Path) -> Result<Self> {
        let ports: [u16; 9] = free_ports()?;
        let ports: Vec<&[u16]> = ports.chunks(3).collect();
        let cluster_id = new_cluster_id();
        let voters: Vec<(u32, u16)> = (1..)
            .zip(ports.iter().filter_map(|ports| ports.get(1).copied()))
            .collect();
        let mut brokers = Vec::new();
        for (node, ports) in (1..).zip(&ports) {
            let [port, controller_port, peers_port] = **ports else {
                continue;
            };
            let seat = Seat {
                node,
                peers_port,
                voters: voters.clone(),
                cluster_id: cluster_id.clone(),
            };
            let place = Place {
                directory: directory.join(format!("kafka-{node}")),
                port,
                controller_port,
                seat: Some(seat),
            };
            let mut broker = Kafka::prepare(place).await?;
            broker.part.launch().await?;
            brokers.push(broker);
        }
        for broker in &mut brokers {
            broker.part.ready().await?;
        }
        Ok(Self { brokers })
    }

    async fn heal(&mut self) -> Result<()> {
        for broker in &mut self.brokers {
            broker.proxy.mend();
            broker.part.heal().await?;
        }
        Ok(())
    }

    /// Where clients begin.
    pub(crate) fn addresses(&self) -> String {
        let addresses: Vec<String> = self.brokers.iter().map(Kafka::address).collect();
        addresses.join(",")
    }
}

/// Where a broker is to be.
struct Place {
    directory: PathBuf,
    port: u16,
    controller_port: u16,
    seat: Option<Seat>,
}

impl Kafka {
    /// Where clients are told to come to.
    pub(crate) fn address(&self) -> String {
        self.proxy.address().to_string()
    }

    async fn prepare(place: Place) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, place.port));
        let proxy = Proxy::start(&address.to_string()).await?;
        let broker = Broker {
            java: parts::java()?,
            jars: parts::kafka_jars(&parts_directory())?,
            directory: place.directory.clone(),
            port: place.port,
            controller_port: place.controller_port,
            advertised_port: proxy.address().port(),
            seat: place.seat,
            scram: Vec::new(),
            properties: vec![
                // A member that is gone is noticed within a case's time.
                ("group.min.session.timeout.ms", "1000".to_owned()),
                // So is a broker.
                ("broker.session.timeout.ms", "3000".to_owned()),
                ("broker.heartbeat.interval.ms", "300".to_owned()),
                // Retention is waited for.
                ("log.retention.check.interval.ms", "1000".to_owned()),
            ],
        };
        let log = place.directory.join("log");
        let mut spec = broker.spec(log, Tether::Tied(binary()?));
        // It is started more often than it is busy: no time for the optimising compiler.
        spec.arguments.insert(0, "-XX:TieredStopAtLevel=1".into());
        tokio::task::spawn_blocking(move || broker.prepare()).await??;
        Ok(Self {
            part: Part::new(spec, Probe::Port(address)),
            proxy,
        })
    }
}

/// An engine with a directory below this one.
pub(crate) fn clickhouse(directory: &Path, address: SocketAddr) -> Result<Part> {
    parts::clickhouse_library(&parts_directory())?;
    let spec = ChildSpec {
        name: "clickhouse",
        program: binary()?,
        arguments: [
            "clickhouse".into(),
            "--dir".into(),
            directory.into(),
            "--parts".into(),
            parts_directory().into(),
            "--listen".into(),
            address.to_string().into(),
        ]
        .into(),
        environment: Vec::new(),
        log: directory.join("clickhouse.out"),
        tether: Tether::Tied(binary()?),
    };
    Ok(Part::new(
        spec,
        Probe::Http(format!("http://{address}/ping")),
    ))
}

fn parts_directory() -> PathBuf {
    repository().join(".plaudit/parts")
}

/// Ports that are free now, all different, and none that the system gives to outgoing
/// connections: a part that was killed finds its own free when it comes back.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % u32::from(COUNT))?;
    let mut ports = [0; N];
    for port in &mut ports {
        let mut tried = (0..COUNT).map(|_| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            FIRST + own.wrapping_add(next) % COUNT
        });
        let free = tried.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        *port = free.context("no port is free")?;
    }
    Ok(ports)
}
