//! One case's services and load, on topics, a group and a database of its own.
//!
//! What a case asks of it is in `ask`, the judgement at its end in `judge`.

mod ask;
mod judge;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use plaudit::up::{ChildSpec, Probe, Tether};
use plaudit_kafka::{Admin, KafkaConfig};
use support::{Database, binary};
use tokio::time::Instant;

use crate::edits::Edits;
use crate::load::Load;
use crate::part::Part;
use crate::random::Random;
use crate::receipts::Receipts;
use crate::site::{Site, free_ports};

pub(crate) use judge::Row;

/// What is given to every case.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) form: Form,
    /// The case's own chance.
    pub(crate) random: Random,
    pub(crate) name: &'static str,
}

/// How long a case goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Seconds: all cases within `make test`.
    Short,
    /// As long as it takes to be sure.
    Long,
}

/// What a case wants different.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) partitions: i32,
    pub(crate) intakes: usize,
    pub(crate) sinks: usize,
    /// Events a second of the load, all intakes together; 0 is none.
    pub(crate) rate: f64,
    /// Whether feedback is changed all the while.
    pub(crate) edits: bool,
    /// What is promised for an answer of the intake.
    pub(crate) http_timeout: Duration,
    /// Settings of every service, over the suite's own.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Where the sinks find ClickHouse, in place of the engine's own address.
    pub(crate) sink_clickhouse_url: Option<String>,
    /// On the cluster of three, in place of the one broker.
    pub(crate) cluster: bool,
}

/// A case's own part of the world.
#[derive(Debug)]
pub(crate) struct Scene<'s> {
    pub(crate) site: &'s mut Site,
    pub(crate) form: Form,
    pub(crate) random: &'s mut Random,
    pub(crate) intakes: Vec<Part>,
    pub(crate) sinks: Vec<Part>,
    pub(crate) kafka: KafkaConfig,
    pub(crate) admin: Admin,
    pub(crate) database: Database,
    name: &'static str,
    directory: PathBuf,
    options: Options,
    settings: Vec<(&'static str, String)>,
    intake_urls: Vec<String>,
    load: Option<Load>,
    edits: Option<Edits>,
    /// What the case itself sends; counted with the load.
    own: Arc<Receipts>,
    fault_ended: Option<Instant>,
    recovered: Option<Duration>,
    /// From the end of the fault until the intake acknowledged.
    acknowledged: Option<Duration>,
    notes: Vec<String>,
}

// === impl Form ===

impl Form {
    /// The first for the short form, the second for the long one.
    pub(crate) fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }

    pub(crate) fn seconds(self, short: u64, long: u64) -> Duration {
        Duration::from_secs(self.pick(short, long))
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            partitions: 6,
            intakes: 1,
            sinks: 1,
            rate: 1000.0,
            edits: true,
            http_timeout: Duration::from_secs(8),
            settings: Vec::new(),
            sink_clickhouse_url: None,
            cluster: false,
        }
    }
}

impl Options {
    /// The same with one more setting.
    pub(crate) fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }
}

impl Options {
    fn kafka(&self, brokers: String, name: &str) -> KafkaConfig {
        KafkaConfig {
            brokers,
            topic: name.to_owned(),
            partitions: self.partitions,
            replication: if self.cluster { 3 } else { 1 },
            metrics_topic: format!("{name}.metrics"),
            group: name.to_owned(),
            ..KafkaConfig::default()
        }
    }

    /// What every service is told.
    fn settings(
        &self,
        kafka: &KafkaConfig,
        clickhouse_url: &str,
        form: Form,
    ) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("kafka.brokers", kafka.brokers.clone()),
            ("kafka.topic", kafka.topic.clone()),
            ("kafka.partitions", kafka.partitions.to_string()),
            ("kafka.replication", kafka.replication.to_string()),
            ("kafka.metrics_topic", kafka.metrics_topic.clone()),
            ("kafka.group", kafka.group.clone()),
            // A sink that is gone is noticed within a case's time.
            ("kafka.properties.session.timeout.ms", "2000".to_owned()),
            ("kafka.properties.heartbeat.interval.ms", "500".to_owned()),
            ("clickhouse.url", clickhouse_url.to_owned()),
            ("clickhouse.database", kafka.topic.clone()),
            ("sink.batch.max_age", "200ms".to_owned()),
            ("sink.retry.max", form.pick("1s", "10s").to_owned()),
            ("intake.http_timeout", format!("{:?}", self.http_timeout)),
            ("auth.mode", "open".to_owned()),
        ];
        settings.extend(self.settings.iter().cloned());
        settings
    }
}

// === impl Scene ===

impl<'s> Scene<'s> {
    /// Heals the site, makes topics and tables, starts the services, begins the load.
    pub(crate) async fn set(stage: &'s mut Stage, options: Options) -> Result<Self> {
        let mut scene = Self::set_silent(stage, options).await?;
        scene.begin()?;
        Ok(scene)
    }

    /// The same, without load.
    pub(crate) async fn set_silent(stage: &'s mut Stage, options: Options) -> Result<Self> {
        let Stage {
            site,
            form,
            random,
            name,
        } = stage;
        site.heal().await?;
        let directory = site.directory.join(*name);
        std::fs::create_dir_all(&directory)?;
        let brokers = if options.cluster {
            site.cluster().await?.addresses()
        } else {
            site.kafka.address()
        };
        let own_receipts = Arc::new(Receipts::create(&directory, "acked-own")?);
        let run = random.next() >> 32;
        let own = format!("fault_{}_{run:08x}", name.replace('-', "_"));
        let kafka = options.kafka(brokers, &own);
        let clickhouse_url = site.clickhouse_url();
        let settings = options.settings(&kafka, &clickhouse_url, *form);
        let mut scene = Self {
            database: Database::new(&clickhouse_url, &own),
            admin: Admin::new(&kafka)?,
            site,
            form: *form,
            random,
            intakes: Vec::new(),
            sinks: Vec::new(),
            kafka,
            name,
            directory,
            settings,
            intake_urls: Vec::new(),
            load: None,
            edits: None,
            own: own_receipts,
            fault_ended: None,
            recovered: None,
            acknowledged: None,
            notes: Vec::new(),
            options,
        };
        scene.tool(&["migrate"]).await?;
        for _ in 0..scene.options.intakes {
            scene.launch_intake(&[], Vec::new()).await?;
        }
        for _ in 0..scene.options.sinks {
            scene.launch_sink(&[]).await?;
        }
        for part in scene.intakes.iter_mut().chain(&mut scene.sinks) {
            part.ready().await?;
        }
        Ok(scene)
    }

    /// Begins the load, where there is to be one.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if self.options.rate > 0.0 && !self.intake_urls.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "a handful of intakes")]
            let rate = self.options.rate / self.intake_urls.len() as f64;
            let load = Load::start(&self.intake_urls, rate, self.random, &self.directory);
            self.load = Some(load?);
        }
        if self.options.edits {
            let edits = Edits::start(&self.intake_urls, self.random, &self.directory);
            self.edits = Some(edits?);
        }
        Ok(())
    }

    /// Starts one more intake and does not wait.
    pub(crate) async fn launch_intake(
        &mut self,
        settings: &[(&str, String)],
        environment: Vec<(String, String)>,
    ) -> Result<()> {
        let [port, observe_port] = free_ports()?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut own = vec![("intake.listen", listen.to_string())];
        own.extend(settings.iter().cloned());
        let mut part = self.service("intake", self.intakes.len(), observe_port, &own)?;
        let environment = environment.into_iter();
        part.spec_mut()
            .environment
            .extend(environment.map(|(key, value)| (key, value.into())));
        part.launch().await?;
        self.intakes.push(part);
        self.intake_urls.push(format!("http://{listen}"));
        Ok(())
    }

    /// Starts one more sink and does not wait.
    pub(crate) async fn launch_sink(&mut self, settings: &[(&str, String)]) -> Result<usize> {
        let [observe_port] = free_ports()?;
        let mut own = Vec::new();
        if let Some(url) = &self.options.sink_clickhouse_url {
            own.push(("clickhouse.url", url.clone()));
        }
        own.extend(settings.iter().cloned());
        let mut part = self.service("sink", self.sinks.len(), observe_port, &own)?;
        part.launch().await?;
        self.sinks.push(part);
        Ok(self.sinks.len() - 1)
    }

    fn service(
        &self,
        name: &'static str,
        number: usize,
        observe_port: u16,
        own: &[(&str, String)],
    ) -> Result<Part> {
        let observe = SocketAddr::from((Ipv4Addr::LOCALHOST, observe_port));
        let mut arguments = vec![name.to_owned()];
        let settings = self.settings.iter().map(|(key, value)| (*key, value));
        let own = own.iter().map(|(key, value)| (*key, value));
        for (key, value) in settings.chain(own) {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        arguments.extend(["--set".to_owned(), format!("observe.listen={observe}")]);
        let spec = ChildSpec {
            name,
            program: binary()?,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            log: self.directory.join(format!("{name}-{number}.log")),
            tether: Tether::Tied(binary()?),
        };
        Ok(Part::new(
            spec,
            Probe::Http(format!("http://{observe}/readyz")),
        ))
    }
}
