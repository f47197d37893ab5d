//! The services of one test, in this process: real intake, sinks and query, on the
//! shared broker and engine, with a topic, a group and a database of their own.
//!
//! [`run`] gives a test its stack and is the judge at the end: see [`judge`](crate::judge).

mod topic;

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plaudit_intake::{Intake, IntakeConfig, KafkaPublish, MetricRegistry, MetricsConfig};
use plaudit_kafka::{Admin, ConfirmingProducer, KafkaConfig};
use plaudit_query::{Deps, QueryConfig};
use plaudit_service::{AuthConfig, AuthMode, Keyring, Readiness};
use plaudit_sink::{BatchConfig, SinkConfig};
use plaudit_store::{ClickhouseConfig, Store};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::dispatcher::{DefaultGuard, set_default};

use crate::api::Api;
use crate::backend;
use crate::judge;
use crate::log::Log;
use crate::shards::Shards;
use crate::sql::Database;
use crate::wait::{DEADLINE, wait_until};

/// What a test wants different from the usual stack.
#[derive(Clone, Debug)]
pub struct Options {
    /// Partitions of the topic.
    pub partitions: i32,
    /// Sinks that run from the start.
    pub sinks: usize,
    /// How they batch and retry.
    pub sink: SinkConfig,
    /// The intake; address and query service are set by the stack.
    pub intake: IntakeConfig,
    /// The query service.
    pub query: QueryConfig,
    /// Who may call; open by default.
    pub auth: AuthConfig,
    /// Declared metrics.
    pub metrics: MetricsConfig,
    /// Where the sinks find ClickHouse, instead of the engine's own address.
    pub sink_clickhouse_url: Option<String>,
    /// Two engines of its own, the shards of a cluster, instead of the shared one.
    pub sharded: bool,
    /// How long feedback is kept.
    pub retention: Option<Duration>,
    /// Parts of ERROR lines that this test provokes.
    pub expected_errors: &'static [&'static str],
}

/// The services of one test.
#[derive(Debug)]
pub struct Stack {
    /// Talks to the intake, in open mode.
    pub api: Api,
    /// The test's database.
    pub db: Database,
    /// The test's topics and group.
    pub kafka: KafkaConfig,
    /// What the services log.
    pub log: Log,
    /// The engines, where they are the test's own.
    pub shards: Option<Shards>,
    options: Options,
    admin: Admin,
    producer: ConfirmingProducer,
    sinks: Vec<Option<Running>>,
    servers: Vec<Running>,
    intake: Arc<Intake<KafkaPublish>>,
    runtime: Option<Runtime>,
}

/// A service that runs.
#[derive(Debug)]
struct Running {
    name: &'static str,
    readiness: Readiness,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            partitions: 3,
            sinks: 1,
            sink: SinkConfig {
                batch: BatchConfig {
                    max_age: Duration::from_millis(50),
                    ..BatchConfig::default()
                },
                ..SinkConfig::default()
            },
            intake: IntakeConfig::default(),
            query: QueryConfig::default(),
            auth: AuthConfig {
                mode: AuthMode::Open,
                token_secret: Some("signs the tokens of the tests alone".to_owned().into()),
                ..AuthConfig::default()
            },
            metrics: MetricsConfig::default(),
            sink_clickhouse_url: None,
            sharded: false,
            retention: None,
            expected_errors: &[],
        }
    }
}

/// A name that no other test of the run has: letters, digits and `_`.
pub fn unique_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("test_{}_{count}", std::process::id())
}

/// Runs a test with a stack, and then judges what it left: [`judge::judge`].
///
/// # Errors
/// The test's own error, else the judge's. What the services logged is printed.
pub fn run(options: Options, test: impl AsyncFnOnce(&mut Stack) -> Result<()>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stack = Stack::start(options).await?;
        test(&mut stack).await?;
        judge::judge(&mut stack).await
    })
}

impl Stack {
    async fn start(options: Options) -> Result<Self> {
        let log = Log::default();
        Log::of_process();
        let name = unique_name();
        let kafka = KafkaConfig {
            brokers: backend().brokers.clone(),
            topic: name.clone(),
            partitions: options.partitions,
            metrics_topic: format!("{name}.metrics"),
            group: name.clone(),
            ..KafkaConfig::default()
        };
        let admin = Admin::new(&kafka)?;
        admin.ensure_topics(DEADLINE).await?;
        let shards = match options.sharded {
            true => Some(Shards::start().await?),
            false => None,
        };
        let config = clickhouse(shards.as_ref(), &name, &options);
        let url = config.url.clone();
        let store = Store::new(config)?;
        store.migrate().await?;

        let runtime = service_runtime(&log)?;
        let query_listener = TcpListener::bind("127.0.0.1:0").await?;
        let intake_listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = intake_listener.local_addr()?;
        let query_address = query_listener.local_addr()?;
        let intake = make_intake(&options, &kafka, query_address)?;
        let mut stack = Self {
            api: Api::new(&format!("http://{address}")),
            db: Database::new(&url, &name),
            producer: ConfirmingProducer::new(&kafka)?,
            kafka,
            log,
            shards,
            admin,
            sinks: Vec::new(),
            servers: Vec::new(),
            intake,
            runtime: Some(runtime),
            options,
        };
        stack.serve_query(query_listener, store)?;
        stack.serve_intake(intake_listener);
        for _ in 0..stack.options.sinks {
            stack.start_sink();
        }
        stack.ready().await?;
        Ok(stack)
    }

    /// Starts one more sink in the group; returns its number.
    pub fn start_sink(&mut self) -> usize {
        let mut config = self.clickhouse();
        if let Some(url) = &self.options.sink_clickhouse_url {
            config.url.clone_from(url);
        }
        let store = Store::new(config).expect("plain HTTP needs no certificates");
        let (config, kafka) = (self.options.sink.clone(), self.kafka.clone());
        let sink = self.spawn(
            "sink",
            &["clickhouse", "kafka", "assignment"],
            |readiness, stop| async move {
                Ok(plaudit_sink::run(config, &kafka, store, readiness, stop).await?)
            },
        );
        self.sinks.push(Some(sink));
        self.sinks.len() - 1
    }

    /// Stops a sink as SIGTERM does, and waits until it has drained.
    ///
    /// # Errors
    /// Why it ended, if not for the signal.
    pub async fn stop_sink(&mut self, number: usize) -> Result<()> {
        let sink = self.sinks.get_mut(number).and_then(Option::take);
        sink.context("this sink does not run")?.stop().await
    }

    /// Waits for the end of a sink that nobody told to stop; returns why it ended.
    ///
    /// # Errors
    /// When it goes on, or ended well.
    pub async fn sink_failure(&mut self, number: usize) -> Result<String> {
        let sink = self.sinks.get_mut(number).and_then(Option::take);
        let sink = sink.context("this sink does not run")?;
        let ended = tokio::time::timeout(DEADLINE, sink.task).await;
        match ended.context("the sink goes on")?? {
            Ok(()) => bail!("the sink ended well"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Whether a sink of this stack has paused its partitions.
    pub fn has_paused(&self) -> bool {
        // The line comes from the polling thread, which belongs to no test.
        let topic = format!("topic={} ", self.kafka.topic);
        Log::of_process().has_both("partitions paused", &topic)
    }

    /// What the sinks are told that are started from now on.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Settings that put a process of the built binary in this stack's place.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let clickhouse = self.clickhouse();
        let mut settings = vec![
            ("kafka.topic", self.kafka.topic.clone()),
            ("kafka.group", self.kafka.group.clone()),
            ("kafka.metrics_topic", self.kafka.metrics_topic.clone()),
            ("clickhouse.database", self.db.name().to_owned()),
            ("clickhouse.url", clickhouse.url),
            ("auth.mode", "open".to_owned()),
        ];
        if let Some(name) = clickhouse.cluster.name {
            let nodes = format!("{:?}", clickhouse.cluster.nodes);
            settings.extend([
                ("clickhouse.cluster.name", name),
                ("clickhouse.cluster.replicated", "false".to_owned()),
                ("clickhouse.cluster.nodes", nodes),
            ]);
        }
        settings
    }

    /// How the services reach ClickHouse.
    pub fn clickhouse(&self) -> ClickhouseConfig {
        clickhouse(self.shards.as_ref(), self.db.name(), &self.options)
    }

    /// The test's database, on every node.
    pub fn nodes(&self) -> Vec<Database> {
        let at = |url: &String| Database::new(url, self.db.name());
        match &self.shards {
            Some(shards) => shards.config().nodes.iter().map(at).collect(),
            None => vec![self.db.clone()],
        }
    }

    /// Runs a statement on every node. `{local}` is what the names of the tables that hold
    /// rows end with.
    ///
    /// # Errors
    /// What a server says.
    pub async fn on_every_node(&self, sql: &str) -> Result<()> {
        let local = self.shards.as_ref().map_or("", |_| "_local");
        for node in self.nodes() {
            node.execute(&sql.replace("{local}", local)).await?;
        }
        Ok(())
    }

    /// Whether a sink says that it is ready.
    pub fn sink_is_ready(&self, number: usize) -> bool {
        let sink = self.sinks.get(number).and_then(Option::as_ref);
        sink.is_some_and(|sink| sink.readiness.is_ready())
    }

    /// Waits until every service says that it is ready.
    ///
    /// # Errors
    /// When one does not, with its reasons.
    pub async fn ready(&self) -> Result<()> {
        let running = || self.servers.iter().chain(self.sinks.iter().flatten());
        let ready = wait_until("every service to be ready", async || {
            Ok(running().all(|service| service.readiness.is_ready()))
        });
        ready.await.with_context(|| {
            let reasons = running()
                .map(|service| format!("{}: {}", service.name, service.readiness.reasons()));
            reasons.collect::<String>()
        })
    }

    /// Reads keys and declared metrics again, as SIGHUP does.
    ///
    /// # Errors
    /// When that panics.
    pub async fn reload(&self) -> Result<()> {
        let intake = Arc::clone(&self.intake);
        let runtime = self.runtime.as_ref().expect("it is taken by `drop` only");
        // On a thread of the services, so that what it logs is this test's.
        Ok(runtime.spawn_blocking(move || intake.reload()).await?)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Stops intake, query and sinks in the order of the data's way.
    pub(crate) async fn stop_services(&mut self) -> Result<()> {
        for server in self.servers.drain(..).rev() {
            server.stop().await?;
        }
        for sink in self.sinks.drain(..).flatten() {
            sink.stop().await?;
        }
        Ok(())
    }

    fn serve_query(&mut self, listener: TcpListener, store: Store) -> Result<()> {
        let (config, keyring) = (self.options.query.clone(), keyring(&self.options)?);
        let query = self.spawn("query", &[Deps::CLICKHOUSE], |readiness, stop| async move {
            let deps = Deps {
                config,
                store,
                keyring,
                readiness,
            };
            Ok(plaudit_query::run(listener, deps, stop).await?)
        });
        self.servers.push(query);
        Ok(())
    }

    fn serve_intake(&mut self, listener: TcpListener) {
        let intake = Arc::clone(&self.intake);
        let conditions = plaudit_intake::conditions::<KafkaPublish>();
        let conditions = [&conditions[..], &[plaudit_intake::DECLARATIONS]].concat();
        let kafka = self.kafka.clone();
        let server = self.spawn("intake", &conditions, |readiness, stop| async move {
            let following =
                plaudit_intake::follow(kafka, intake.clone(), readiness.clone(), stop.clone());
            let serving = plaudit_intake::run(listener, intake, readiness, stop.cancelled_owned());
            let (served, ()) = tokio::join!(serving, following);
            Ok(served?)
        });
        self.servers.push(server);
    }

    /// Starts a service that is ready once it meets `conditions`.
    fn spawn<F>(
        &self,
        name: &'static str,
        conditions: &[&'static str],
        service: impl FnOnce(Readiness, CancellationToken) -> F,
    ) -> Running
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (readiness, stop) = (Readiness::waiting_for(conditions), CancellationToken::new());
        let runtime = self.runtime.as_ref().expect("it is taken by `drop` only");
        Running {
            name,
            task: runtime.spawn(service(readiness.clone(), stop.clone())),
            readiness,
            stop,
        }
    }
}

impl Running {
    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        let ended = ended.with_context(|| format!("{} does not stop", self.name))?;
        ended?.with_context(|| format!("{} failed", self.name))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        #[expect(
            clippy::print_stdout,
            reason = "the test harness shows it when the test fails"
        )]
        let show = |whose: &str, log: &str| println!("log of {whose}:\n{log}");
        show(self.db.name(), &self.log.text());
        show("threads of no test", &Log::of_process().recent(60));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A runtime whose threads log to `log`.
fn service_runtime(log: &Log) -> Result<Runtime> {
    thread_local! {
        static GUARD: Cell<Option<DefaultGuard>> = const { Cell::new(None) };
    }
    let dispatch = log.dispatch();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || GUARD.set(Some(set_default(&dispatch))))
        .on_thread_stop(|| drop(GUARD.take()))
        .build()?;
    Ok(runtime)
}

fn clickhouse(shards: Option<&Shards>, database: &str, options: &Options) -> ClickhouseConfig {
    ClickhouseConfig {
        url: shards.map_or_else(|| backend().clickhouse_url.clone(), |shards| shards.url(0)),
        database: database.to_owned(),
        retention: options.retention,
        cluster: shards.map(Shards::config).unwrap_or_default(),
        ..ClickhouseConfig::default()
    }
}

fn keyring(options: &Options) -> Result<Arc<Keyring>> {
    Ok(Arc::new(Keyring::load(options.auth.clone())?))
}

fn make_intake(
    options: &Options,
    kafka: &KafkaConfig,
    query: SocketAddr,
) -> Result<Arc<Intake<KafkaPublish>>> {
    let config = IntakeConfig {
        query_url: Some(format!("http://{query}")),
        ..options.intake.clone()
    };
    let problems = config.validate();
    ensure!(problems.is_empty(), "{problems:?}");
    let producer = ConfirmingProducer::new(kafka)?;
    let publish = KafkaPublish::new(producer, kafka, config.http_timeout);
    let registry = MetricRegistry::load(options.metrics.clone())?;
    Ok(Arc::new(Intake::new(
        config,
        keyring(options)?,
        registry,
        publish,
    )?))
}
