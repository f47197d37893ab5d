//! The local stack: what is started, in which order, told what.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plaudit_service::Secret;
use tokio_util::sync::CancellationToken;

use super::broker::{Broker, BrokerError};
use super::child::ChildSpec;
use super::found::Described;
use super::keeper::{CannotLive, Keeper, Patience};
use super::lock::{DirectoryLock, LockError};
use super::member::Member;
use super::ports::{Listener, PortError, Ports};
use super::probe::{NotReady, Probe};
use super::tether::Tether;
use crate::config::{Setting, Sources};
use crate::console::say;
use crate::parts::{self, PartError};
use crate::token_secret;

/// What the stack is made of and where.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Data, logs and locks of the stack: `.plaudit`.
    pub directory: PathBuf,
    /// The fetched parts, which several stacks may share: `.plaudit/parts`.
    pub parts: PathBuf,
    /// Who listens where.
    pub ports: Ports,
    /// What is started; the rest is somebody else's.
    pub members: Vec<Member>,
    /// The `plaudit` that the children run.
    pub binary: PathBuf,
    /// The configuration that the children get, below what the stack itself decides.
    pub sources: Sources,
}

/// Why there is no stack. Each text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpError {
    /// The directory belongs to another instance.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A part cannot be had.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Kafka's storage cannot be made ready.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A child dies whenever it is started.
    #[error(transparent)]
    CannotLive(#[from] CannotLive),
    /// A child lives and cannot do its work.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// Topics or tables cannot be made.
    #[error("cannot make topics and tables: {0:#}")]
    Migrate(anyhow::Error),
    /// The directory cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A local stack. Dropping it kills its children; [`stop`](Self::stop) is kinder.
#[derive(Debug)]
pub struct Stack {
    options: UpOptions,
    lock: DirectoryLock,
    keeper: Keeper,
    broker: Option<Broker>,
    /// What the intake signs tokens with, where the user gives no secret.
    token_secret: Option<Secret>,
}

/// How long children of a killed supervisor may still hold their ports.
const LEFT_BEHIND_PATIENCE: Duration = Duration::from_secs(20);
/// How long a child may take to become ready: a JVM on a busy machine, a large log.
const READY_PATIENCE: Duration = Duration::from_secs(90);

impl Stack {
    /// Claims directory and ports and fetches what is missing. Starts nothing yet.
    ///
    /// # Errors
    ///
    /// Whatever would keep the stack from starting, as far as it can be known before.
    pub async fn prepare(mut options: UpOptions) -> Result<Self, UpError> {
        let lock = DirectoryLock::claim(&options.directory)?;
        Described::remove(&options.directory);
        match Self::prepare_parts(&mut options, lock.left_behind()).await {
            Ok((broker, token_secret)) => Ok(Self {
                options,
                lock,
                keeper: Keeper::new(Patience::default()),
                broker,
                token_secret,
            }),
            Err(error) => {
                released(lock);
                Err(error)
            }
        }
    }

    /// Parts and ports; returns the broker, if there is to be one, and the secret of
    /// the intake, if it is to be given one.
    async fn prepare_parts(
        options: &mut UpOptions,
        left_behind: bool,
    ) -> Result<(Option<Broker>, Option<Secret>), UpError> {
        let unusable = |path: &Path, source| UpError::Directory {
            path: path.to_owned(),
            source,
        };
        // Children and library paths must not depend on who looks at them.
        for path in [&mut options.directory, &mut options.parts] {
            *path = std::path::absolute(&path).map_err(|source| unusable(path, source))?;
        }
        let directory = &options.directory;
        let token_secret = (!options.sources.gives("auth.token_secret"))
            .then(|| token_secret::of(directory).map_err(|source| unusable(directory, source)))
            .transpose()?;
        let has = |member| options.members.contains(&member);
        let (kafka, clickhouse) = (has(Member::Kafka), has(Member::Clickhouse));
        let parts = options.parts.clone();
        let jars = blocking(move || -> Result<_, PartError> {
            let jars = kafka
                .then(|| Ok::<_, PartError>((parts::java()?, parts::kafka_jars(&parts)?)))
                .transpose()?;
            if clickhouse {
                parts::clickhouse_library(&parts)?;
            }
            Ok(jars)
        })
        .await?;

        let listeners: Vec<Listener> = Member::ALL
            .into_iter()
            .filter(|member| options.members.contains(member))
            .flat_map(|member| member.listeners().iter().copied())
            .collect();
        let patience = if left_behind {
            say("the last instance here was killed: what it left gets a moment to go");
            LEFT_BEHIND_PATIENCE
        } else {
            Duration::ZERO
        };
        options.ports.claim(&listeners, patience).await?;
        let broker = jars.map(|java_and_jars| {
            let [port, controller_port] =
                [Listener::Kafka, Listener::KafkaController].map(|of| options.ports.port(of));
            let directory = options.directory.join("kafka");
            Broker::alone(java_and_jars, directory, port, controller_port)
        });
        Ok((broker, token_secret))
    }

    /// Starts everything and returns when all of it is ready.
    ///
    /// Dropping the future leaves what has been started running;
    /// [`stop`](Self::stop) stops it.
    ///
    /// # Errors
    ///
    /// The first child that cannot live or does not become ready, or why topics and
    /// tables cannot be made. What has been started runs on until it is stopped.
    pub async fn start(&mut self) -> Result<(), UpError> {
        let members = Member::ALL.into_iter().filter(|member| self.has(*member));
        let names: Vec<&str> = members.map(Member::name).collect();
        say(format_args!("starting {}", names.join(", ")));
        if let Some(broker) = self.broker.clone() {
            let prepared = broker.clone();
            blocking(move || prepared.prepare()).await?;
            let spec = broker.spec(self.log("kafka"), self.tether());
            self.keeper.keep(spec, Member::Kafka.grace());
        }
        if self.has(Member::Clickhouse) {
            let spec = self.clickhouse();
            self.keeper.keep(spec, Member::Clickhouse.grace());
        }
        // Both start at the same time; they know nothing of each other.
        self.ready(Member::Kafka).await?;
        self.ready(Member::Clickhouse).await?;

        let services: Vec<Member> = [Member::Sink, Member::Query, Member::Intake]
            .into_iter()
            .filter(|service| self.has(*service))
            .collect();
        if services.is_empty() {
            return self.describe();
        }
        let sources = self.options.sources.with(self.settings());
        let migrated = async {
            crate::migrate::run(&sources)
                .await
                .map_err(UpError::Migrate)
        };
        or_failed(&mut self.keeper, migrated).await?;
        for &service in &services {
            let spec = self.service(service);
            self.keeper.keep(spec, service.grace());
        }
        for service in services {
            self.ready(service).await?;
        }
        self.describe()
    }

    /// Waits until a child turns out to be unable to live. Cancel safe.
    pub async fn failed(&mut self) -> CannotLive {
        self.keeper.failed().await
    }

    /// Stops everything in order and gives the directory up.
    pub async fn stop(mut self) {
        Described::remove(&self.options.directory);
        self.keeper.stop().await;
        released(self.lock);
    }

    /// Cancelled, it turns a stop that takes its time into a kill.
    pub fn kill_token(&self) -> CancellationToken {
        self.keeper.kill_token()
    }

    /// The ports that everybody got.
    pub fn ports(&self) -> &Ports {
        &self.options.ports
    }

    /// Whether this is a part of the stack.
    pub fn has(&self, member: Member) -> bool {
        self.options.members.contains(&member)
    }

    /// What tells a service (or a tool, or a test) where this stack is.
    pub fn settings(&self) -> Vec<Setting> {
        let ports = &self.options.ports;
        let mut settings = vec![
            Setting::new("kafka.brokers", ports.address(Listener::Kafka).to_string()),
            Setting::new("clickhouse.url", self.url(Listener::Clickhouse)),
            Setting::new("intake.listen", ports.address(Listener::Intake).to_string()),
            Setting::new("intake.query_url", self.url(Listener::Query)),
            Setting::new("query.listen", ports.address(Listener::Query).to_string()),
        ];
        // Who has made keys for the local stack wants them asked for.
        if !self.options.sources.gives("auth.mode") {
            settings.push(Setting::new("auth.mode", "open"));
        }
        settings
    }

    /// The base URL of a listener that speaks HTTP.
    pub fn url(&self, listener: Listener) -> String {
        format!("http://{}", self.options.ports.address(listener))
    }

    /// Writes down where everything is, for tools beside it.
    fn describe(&self) -> Result<(), UpError> {
        let UpOptions {
            directory,
            members,
            sources,
            ..
        } = &self.options;
        let settings = sources.settings.iter().cloned().chain(self.settings());
        let file = sources.file.as_ref().map(std::path::absolute).transpose();
        let members = members.iter().map(|member| (*member, self.probe(*member)));
        let written = file.and_then(|file| {
            let described = Described {
                file,
                settings: settings.map(|setting| setting.to_argument()).collect(),
                members: members.collect(),
            };
            described.write(directory)
        });
        written.map_err(|source| UpError::Directory {
            path: directory.clone(),
            source,
        })
    }

    async fn ready(&mut self, member: Member) -> Result<(), UpError> {
        if !self.has(member) {
            return Ok(());
        }
        let probe = self.probe(member);
        let log = self.log(member.name()).display().to_string();
        let ready = async {
            let ready = probe.wait(READY_PATIENCE).await;
            ready.map_err(|why| {
                UpError::NotReady(NotReady {
                    name: member.name(),
                    waited: READY_PATIENCE,
                    why,
                    log,
                })
            })
        };
        or_failed(&mut self.keeper, ready).await?;
        say(format_args!("{member} is up"));
        Ok(())
    }

    fn probe(&self, member: Member) -> Probe {
        match member {
            Member::Kafka => Probe::Port(self.options.ports.address(Listener::Kafka)),
            Member::Clickhouse => Probe::Http(self.url(Listener::Clickhouse) + "/ping"),
            Member::Intake => Probe::Http(self.url(Listener::IntakeMetrics) + "/readyz"),
            Member::Sink => Probe::Http(self.url(Listener::SinkMetrics) + "/readyz"),
            Member::Query => Probe::Http(self.url(Listener::QueryMetrics) + "/readyz"),
        }
    }

    fn clickhouse(&self) -> ChildSpec {
        let address = self.options.ports.address(Listener::Clickhouse);
        let arguments = [
            "clickhouse".into(),
            "--dir".into(),
            self.options.directory.clone().into(),
            "--parts".into(),
            self.options.parts.clone().into(),
            "--listen".into(),
            address.to_string().into(),
        ];
        self.own(Member::Clickhouse, arguments.into())
    }

    fn service(&self, service: Member) -> ChildSpec {
        let metrics = match service {
            Member::Sink => Listener::SinkMetrics,
            Member::Query => Listener::QueryMetrics,
            _ => Listener::IntakeMetrics,
        };
        let metrics = self.options.ports.address(metrics).to_string();
        let mut arguments: Vec<OsString> = vec![service.name().into()];
        if let Some(file) = &self.options.sources.file {
            arguments.extend(["--config".into(), file.clone().into()]);
        }
        let settings = self.options.sources.settings.iter().cloned();
        let settings = settings
            .chain(self.settings())
            .chain([Setting::new("observe.listen", metrics)])
            .chain(
                (service == Member::Sink)
                    .then(|| self.membership())
                    .flatten(),
            );
        for setting in settings {
            arguments.extend(["--set".into(), setting.to_argument().into()]);
        }
        let mut spec = self.own(service, arguments);
        if let (Member::Intake, Some(secret)) = (service, &self.token_secret) {
            // Not among the arguments: those are for everyone on the machine to see.
            let variable = "PLAUDIT__AUTH__TOKEN_SECRET".to_owned();
            spec.environment.push((variable, secret.clone()));
        }
        spec
    }

    /// The sink's name in its group, unless it has one: under it, the next life takes the
    /// partitions over at once, where the group would wait for the session of the last
    /// one to end.
    fn membership(&self) -> Option<Setting> {
        const KEY: &str = "kafka.properties.group.instance.id";
        let own = !self.options.sources.gives(KEY);
        own.then(|| Setting::new(KEY, "plaudit-up"))
    }

    fn own(&self, member: Member, arguments: Vec<OsString>) -> ChildSpec {
        ChildSpec {
            name: member.name(),
            program: self.options.binary.clone(),
            arguments,
            environment: Vec::new(),
            log: self.log(member.name()),
            tether: self.tether(),
        }
    }

    fn tether(&self) -> Tether {
        Tether::Tied(self.options.binary.clone())
    }

    fn log(&self, name: &str) -> PathBuf {
        log_path(&self.options.directory, name)
    }
}

fn released(lock: DirectoryLock) {
    if let Err(error) = lock.release() {
        say(format_args!("cannot release the directory: {error}"));
    }
}

pub(super) fn log_path(directory: &Path, name: &str) -> PathBuf {
    directory.join("logs").join(format!("{name}.log"))
}

/// Does `work` unless a child turns out to be unable to live meanwhile.
async fn or_failed<T>(
    keeper: &mut Keeper,
    work: impl Future<Output = Result<T, UpError>>,
) -> Result<T, UpError> {
    tokio::select! {
        biased;
        failure = keeper.failed() => Err(failure.into()),
        done = work => done,
    }
}

/// Blocking work, off the runtime's thread.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
