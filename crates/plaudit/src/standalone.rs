//! `plaudit standalone`: intake, ClickHouse and query in one process, without Kafka.
//!
//! The intake is the same and so are the tables; only what it publishes to differs: the
//! sink's steps behind a local sequence, so that an answer means committed in ClickHouse.
//! For trying it out and for small installations; Kafka is the way up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use plaudit_embedded::Engine;
use plaudit_event::{Declaration, Receipt};
use plaudit_intake::{
    Batch, Delivery, Intake, MetricRegistry, NotReady, Publish, Refused, Unflushed,
};
use plaudit_query::Deps;
use plaudit_service::{Keyring, Readiness, TlsConfig};
use plaudit_sink::{LOCAL_TOPIC, LocalRecord, LocalSink, LocalSinkError};
use plaudit_store::{ClusterConfig, Store};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::clickhouse::{self, ClickhouseOptions};
use crate::config::Config;
use crate::console::say;
use crate::descriptors::make_room;
use crate::services::{self, INTAKE_METRICS_PORT};
use crate::token_secret;

mod declared;

pub use declared::{Declarations, DeclaredFile};

/// Publishes to the sink of this process.
#[derive(Debug)]
pub struct LocalPublish {
    sink: LocalSink,
    topic: Arc<str>,
    under_way: Arc<UnderWay>,
    declared: DeclaredFile,
}

/// Events that were taken and have no end yet.
#[derive(Debug, Default)]
struct UnderWay {
    events: AtomicUsize,
    none: Notify,
}

/// Counts events as under way until it is dropped, also when nobody waits any more.
struct Counted {
    under_way: Arc<UnderWay>,
    events: usize,
}

/// Seconds after which a full queue has drained.
const RETRY_AFTER: u32 = 1;

impl LocalPublish {
    /// Publishes events to `sink` and declarations to a file.
    pub fn new(sink: LocalSink, declared: DeclaredFile) -> Self {
        Self {
            sink,
            declared,
            topic: LOCAL_TOPIC.into(),
            under_way: Arc::default(),
        }
    }
}

impl Publish for LocalPublish {
    const CONDITION: &'static str = "store";
    const COMES_BACK: bool = false;

    async fn publish(&self, batch: Arc<Batch>, deadline: Duration) -> Vec<Delivery> {
        let records = batch.records().map(|record| LocalRecord {
            key: record.key.to_vec(),
            payload: record.value.to_vec(),
        });
        let _counted = Counted::of(&self.under_way, batch.len());
        let published = self.sink.publish(records.collect());
        let Ok(published) = tokio::time::timeout(deadline, published).await else {
            return vec![Delivery::Unconfirmed; batch.len()];
        };
        match published {
            Ok(stored) => stored
                .into_iter()
                .map(|one| match one {
                    Ok(offset) => Delivery::Confirmed(Receipt {
                        topic: Arc::clone(&self.topic),
                        partition: 0,
                        offset,
                    }),
                    Err(_) => Delivery::Refused(Refused::Unstorable),
                })
                .collect(),
            Err(LocalSinkError::Full) => {
                vec![
                    Delivery::Refused(Refused::Busy {
                        retry_after: RETRY_AFTER
                    });
                    batch.len()
                ]
            }
            Err(_) => vec![Delivery::Unconfirmed; batch.len()],
        }
    }

    async fn declare(&self, project: &str, declarations: &[Declaration]) -> Result<(), NotReady> {
        self.declared.add(project, declarations)
    }

    fn readiness(&self) -> Result<(), NotReady> {
        if self.sink.is_open() {
            Ok(())
        } else {
            Err(NotReady("the sink has ended".into()))
        }
    }

    fn queue_len(&self) -> usize {
        self.under_way.events.load(Ordering::Relaxed)
    }

    async fn flush(&self, deadline: Duration) -> Result<(), Unflushed> {
        let none = async {
            loop {
                // Before the look, or a wake-up between the two is lost.
                let woken = self.under_way.none.notified();
                if self.queue_len() == 0 {
                    return;
                }
                woken.await;
            }
        };
        let flushed = tokio::time::timeout(deadline, none).await;
        flushed.map_err(|_| Unflushed {
            events: self.queue_len(),
        })
    }
}

impl Counted {
    fn of(under_way: &Arc<UnderWay>, events: usize) -> Self {
        under_way.events.fetch_add(events, Ordering::Relaxed);
        Self {
            under_way: Arc::clone(under_way),
            events,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = self
            .under_way
            .events
            .fetch_sub(self.events, Ordering::Relaxed);
        if before == self.events {
            self.under_way.none.notify_waiters();
        }
    }
}

/// Runs everything until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// When a part does not start, fails, or does not end in time.
pub async fn run(mut config: Config, engine: ClickhouseOptions) -> anyhow::Result<()> {
    make_room(&mut [
        ("intake", &mut config.intake.connections),
        ("query", &mut config.query.connections),
    ]);
    config.clickhouse.url = format!("http://{}", engine.listen);
    config.clickhouse.ca_file = None;
    config.clickhouse.cluster = ClusterConfig::default();
    if config.query.tls.is_on() {
        // By its address its certificate does not name it.
        let known = config.intake.query_url.is_some();
        ensure!(
            known,
            "query.tls: set intake.query_url too, by a name that the certificate has"
        );
    } else {
        config.intake.query_url = Some(format!("http://{}", config.query.listen));
        config.intake.query_ca_file = None;
    }
    let directory = engine.directory.clone();
    let unusable = || format!("cannot use {}", directory.display());
    std::fs::create_dir_all(&directory).with_context(unusable)?;
    if config.auth.token_secret.is_none() {
        config.auth.token_secret = Some(token_secret::of(&directory).with_context(unusable)?);
    }
    let declared = directory.join("declared.jsonl");
    let engine = clickhouse::start(engine).await?;
    let result = serve(config, &declared).await;
    stop_engine(engine).await.and(result)
}

async fn serve(config: Config, declared: &Path) -> anyhow::Result<()> {
    let keyring = Arc::new(Keyring::load(config.auth.clone())?);
    let registry = MetricRegistry::load(config.metrics.clone())?;
    let (declared, known) = DeclaredFile::open(declared)?;
    registry.declare(&known);
    let store = Store::new(config.clickhouse.clone())?;
    store.migrate().await?;
    let intake_listener = services::listen(config.intake.listen, "intake.listen").await?;
    let query_listener = services::listen(config.query.listen, "query.listen").await?;
    let conditions = plaudit_intake::conditions::<LocalPublish>();
    let readiness = Readiness::waiting_for(&[&conditions[..], &[Deps::CLICKHOUSE]].concat());
    let mut tasks = services::observe(&config, INTAKE_METRICS_PORT, &readiness).await?;
    let url = |tls: &TlsConfig, address| format!("{}://{address}", tls.scheme());
    let urls = (
        url(&config.intake.tls, config.intake.listen),
        url(&config.query.tls, config.query.listen),
    );

    // The sink ends after the intake: what the intake took has to be answered.
    let sink_stop = CancellationToken::new();
    let opened = LocalSink::open(
        config.sink,
        store.clone(),
        readiness.clone(),
        sink_stop.clone(),
    );
    let (sink, commits) = opened.await.context("open the sink")?;
    tasks.start("sink", commits);
    let intake = Arc::new(Intake::new(
        config.intake,
        keyring.clone(),
        registry,
        LocalPublish::new(sink, declared),
    )?);
    let reloaded = Arc::clone(&intake);
    services::on_hangup(&mut tasks, move || reloaded.reload())?;
    let stop = tasks.stop_token().cancelled_owned();
    let intake_readiness = readiness.clone();
    tasks.start("intake", async move {
        let ended = plaudit_intake::run(intake_listener, intake, intake_readiness, stop).await;
        sink_stop.cancel();
        ended
    });
    let deps = Deps {
        config: config.query,
        store,
        keyring,
        readiness: readiness.clone(),
    };
    let stop = tasks.stop_token();
    tasks.start("query", plaudit_query::run(query_listener, deps, stop));
    say(format_args!(
        "plaudit standalone is ready: intake {}, query {}",
        urls.0, urls.1
    ));
    services::until_signal(tasks, readiness).await
}

async fn stop_engine(engine: Engine) -> anyhow::Result<()> {
    spawn_blocking(move || engine.stop(clickhouse::STOP_GRACE)).await??;
    Ok(())
}
