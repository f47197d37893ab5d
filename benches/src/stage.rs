//! Everything that a benchmark runs on: a broker, an engine, and the programs between.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use plaudit::config::Sources;
use plaudit::up::{Listener, Member, Ports, Probe, Stack, UpOptions};
use plaudit_kafka::{Admin, KafkaConfig};
use plaudit_store::{ClickhouseConfig, Store};

use crate::clickhouse::Clickhouse;
use crate::process::Process;
use crate::report::Report;
use crate::say;
use crate::service::{Program, Service};

/// A broker and an engine of this run, and how the programs are started.
#[derive(Debug)]
pub struct Stage {
    /// The engine, past Plaudit.
    pub clickhouse: Clickhouse,
    /// The engine's process.
    pub engine: Process,
    /// The broker's process.
    pub kafka: Process,
    /// The API key of the project `bench`; it may read and write.
    pub key: String,
    /// Where everything is, which is removed when all went well.
    directory: PathBuf,
    brokers: String,
    /// The directory of the built programs.
    programs: PathBuf,
    stack: Stack,
    started: AtomicU32,
}

/// A topic, a group and a database, made for one measurement.
#[derive(Clone, Debug)]
pub struct Space {
    /// The topic and the group.
    pub kafka: KafkaConfig,
    /// The database.
    pub database: String,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Turns of floor and product.
    pub rounds: usize,
    /// 1 for a measurement, more for a trial.
    pub divisor: u32,
}

/// What a scenario is given.
#[derive(Debug)]
pub struct Bench {
    /// What it runs on.
    pub stage: Stage,
    /// How much it does.
    pub scale: Scale,
    /// What it found.
    pub report: Report,
}

const TOPIC_PATIENCE: Duration = Duration::from_secs(30);

impl Scale {
    /// For a measurement.
    pub const FULL: Self = Self {
        rounds: 3,
        divisor: 1,
    };
    /// To see that everything works; its numbers mean nothing.
    pub const QUICK: Self = Self {
        rounds: 1,
        divisor: 20,
    };

    /// So many seconds.
    pub fn seconds(self, seconds: u32) -> Duration {
        Duration::from_millis(u64::from(seconds) * 1000 / u64::from(self.divisor))
    }

    /// So many events.
    pub fn events(self, events: u64) -> u64 {
        events / u64::from(self.divisor)
    }
}

impl Stage {
    /// Starts broker and engine with nothing in them.
    ///
    /// # Errors
    /// Whatever keeps them from running; the text says what to do.
    pub async fn open(directory: &Path) -> anyhow::Result<Self> {
        let programs = std::env::current_exe().context("find the built programs")?;
        let programs = programs
            .parent()
            .context("find the built programs")?
            .to_owned();
        let plaudit = programs.join("plaudit");
        ensure!(
            plaudit.is_file(),
            "{} is not built: `make bench` builds it",
            plaudit.display()
        );
        let directory = directory.join("stage");
        if directory.exists() {
            fs::remove_dir_all(&directory).context("remove what an earlier run left")?;
        }
        let mut stack = Stack::prepare(UpOptions {
            directory: directory.clone(),
            parts: repository().join(".plaudit/parts"),
            ports: Ports::free(),
            members: vec![Member::Kafka, Member::Clickhouse],
            binary: plaudit.clone(),
            sources: Sources::default(),
        })
        .await?;
        stack.start().await?;
        let process = |name| -> anyhow::Result<Process> {
            let file = directory.join("logs").join(name).with_extension("pid");
            let pid = fs::read_to_string(file)?.trim().parse()?;
            Ok(Process { name, pid })
        };
        Ok(Self {
            clickhouse: Clickhouse::new(&stack.url(Listener::Clickhouse)),
            engine: process("clickhouse")?,
            kafka: process("kafka")?,
            key: make_key(&plaudit, &directory).await?,
            brokers: stack.ports().address(Listener::Kafka).to_string(),
            programs,
            directory,
            stack,
            started: AtomicU32::new(0),
        })
    }

    /// Stops them and removes what they kept.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn close(self) -> anyhow::Result<()> {
        self.stack.stop().await;
        fs::remove_dir_all(&self.directory).context("remove the data of this run")
    }

    /// Makes a topic with its database.
    ///
    /// # Errors
    /// When the broker or the engine refuses.
    pub async fn space(&self, partitions: i32) -> anyhow::Result<Space> {
        let name = format!("bench_{}", self.started.fetch_add(1, Ordering::Relaxed));
        let kafka = KafkaConfig {
            brokers: self.brokers.clone(),
            topic: name.clone(),
            metrics_topic: format!("{name}.metrics"),
            group: name.clone(),
            partitions,
            ..KafkaConfig::default()
        };
        Admin::new(&kafka)?.ensure_topics(TOPIC_PATIENCE).await?;
        let space = Space {
            kafka,
            database: name,
        };
        self.store(&space).migrate().await?;
        Ok(space)
    }

    /// The same topic for another group, with a database of its own.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn beside(&self, space: &Space) -> anyhow::Result<Space> {
        let name = format!("bench_{}", self.started.fetch_add(1, Ordering::Relaxed));
        let space = Space {
            kafka: KafkaConfig {
                group: name.clone(),
                ..space.kafka.clone()
            },
            database: name,
        };
        self.store(&space).migrate().await?;
        Ok(space)
    }

    /// Starts a service of Plaudit, with keys on; it is not waited for.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn launch(
        &self,
        service: &'static str,
        space: &Space,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Service> {
        let listeners = [
            Listener::Intake,
            Listener::IntakeMetrics,
            Listener::Query,
            Listener::Clickhouse,
        ];
        let mut ports = Ports::free();
        ports.claim(&listeners, Duration::ZERO).await?;
        let [api, observe, query, engine] = listeners.map(|listener| ports.address(listener));
        let kafka = &space.kafka;
        let own = [
            ("observe.listen", observe.to_string()),
            ("auth.mode", "keys".to_owned()),
            ("auth.keys_file", self.keys_file().display().to_string()),
            ("kafka.brokers", kafka.brokers.clone()),
            ("kafka.topic", kafka.topic.clone()),
            ("kafka.group", kafka.group.clone()),
            ("kafka.metrics_topic", kafka.metrics_topic.clone()),
            ("clickhouse.url", self.clickhouse.url().to_owned()),
            ("clickhouse.database", space.database.clone()),
        ];
        let mut arguments: Vec<OsString> = vec![service.into()];
        let listen = if service == "query" { api } else { query };
        let addresses = [
            ("intake.listen", api.to_string()),
            ("query.listen", listen.to_string()),
        ];
        let settings = settings.iter().map(|(key, value)| (*key, value.clone()));
        for (key, value) in own.into_iter().chain(addresses).chain(settings) {
            arguments.extend(["--set".into(), format!("{key}={value}").into()]);
        }
        if service == "standalone" {
            let parts = repository().join(".plaudit/parts");
            let directory = self.directory.join("standalone");
            arguments.extend([
                "--dir".into(),
                directory.into(),
                "--parts".into(),
                parts.into(),
            ]);
            arguments.extend(["--listen".into(), engine.to_string().into()]);
        }
        let ready = Probe::Http(format!("http://{observe}/readyz"));
        self.start(service, "plaudit", arguments, api, Some(ready))
            .await
    }

    /// Starts a service of Plaudit and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready, with its last words.
    pub async fn service(
        &self,
        service: &'static str,
        space: &Space,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Service> {
        let mut service = self.launch(service, space, settings).await?;
        service.ready().await?;
        Ok(service)
    }

    /// Starts the floor of the intake.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn floor_intake(&self, space: &Space) -> anyhow::Result<Service> {
        let mut ports = Ports::free();
        ports.claim(&[Listener::Intake], Duration::ZERO).await?;
        let address = ports.address(Listener::Intake);
        let arguments = [
            ("--listen", address.to_string()),
            ("--brokers", space.kafka.brokers.clone()),
            ("--topic", space.kafka.topic.clone()),
        ];
        let ready = Probe::Http(format!("http://{address}/readyz"));
        let arguments = flags(&arguments);
        let mut floor = self
            .start("intake", "floor-intake", arguments, address, Some(ready))
            .await?;
        floor.ready().await?;
        Ok(floor)
    }

    /// Starts the floor of the sink; it begins at once.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn floor_sink(&self, space: &Space) -> anyhow::Result<Service> {
        let arguments = [
            ("--brokers", space.kafka.brokers.clone()),
            ("--topic", space.kafka.topic.clone()),
            ("--partitions", space.kafka.partitions.to_string()),
            ("--clickhouse", self.clickhouse.url().to_owned()),
            ("--database", space.database.clone()),
        ];
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        self.start("sink", "floor-sink", flags(&arguments), nowhere, None)
            .await
    }

    async fn start(
        &self,
        name: &'static str,
        program: &str,
        arguments: Vec<OsString>,
        address: SocketAddr,
        ready: Option<Probe>,
    ) -> anyhow::Result<Service> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        Service::launch(Program {
            name,
            program: self.programs.join(program),
            arguments,
            address,
            ready,
            log: self
                .directory
                .join(format!("logs/{number}-{program}-{name}.log")),
            tether: self.programs.join("plaudit"),
        })
        .await
    }

    fn store(&self, space: &Space) -> Store {
        Store::new(ClickhouseConfig {
            url: self.clickhouse.url().to_owned(),
            database: space.database.clone(),
            ..ClickhouseConfig::default()
        })
        .expect("plain HTTP needs no certificates")
    }

    fn keys_file(&self) -> PathBuf {
        keys_file(&self.directory)
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

fn keys_file(directory: &Path) -> PathBuf {
    directory.join("keys.toml")
}

async fn make_key(plaudit: &Path, directory: &Path) -> anyhow::Result<String> {
    say("making a key");
    let made = tokio::process::Command::new(plaudit)
        .args([
            "keys",
            "create",
            "--project",
            "bench",
            "--scope",
            "read,write",
            "--file",
        ])
        .arg(keys_file(directory))
        .output()
        .await
        .context("make a key")?;
    let words = String::from_utf8_lossy(&made.stderr).into_owned();
    ensure!(made.status.success(), "cannot make a key: {words}");
    Ok(String::from_utf8(made.stdout)?.trim().to_owned())
}

fn flags(flags: &[(&str, String)]) -> Vec<OsString> {
    let pair = |(flag, value): &(&str, String)| [OsString::from(flag), OsString::from(value)];
    flags.iter().flat_map(pair).collect()
}
