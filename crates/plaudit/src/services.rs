//! The services, each put together from its configuration and run until a signal.
//!
//! What a service does is in its own crate. Here are the listeners, the metrics and
//! probes, the signals and the end: the same for all three.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use plaudit_intake::{Intake, KafkaPublish, MetricRegistry};
use plaudit_kafka::ConfirmingProducer;
use plaudit_query::Deps;
use plaudit_service::{Keyring, Readiness, Tasks, install_metrics, serve, stop_signal};
use plaudit_store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::descriptors::make_room;

/// How long a service may take to end what is under way after SIGTERM. Just below what
/// Kubernetes gives a pod.
pub const GRACE: Duration = Duration::from_secs(28);

pub(crate) const INTAKE_METRICS_PORT: u16 = 9101;
const SINK_METRICS_PORT: u16 = 9102;
const QUERY_METRICS_PORT: u16 = 9103;

/// `plaudit intake`: takes feedback until a signal.
///
/// # Errors
///
/// When it does not start, or a part of it fails or does not end in time.
pub async fn intake(mut config: Config) -> anyhow::Result<()> {
    make_room(&mut [("intake", &mut config.intake.connections)]);
    let keyring = Arc::new(Keyring::load(config.auth.clone())?);
    let registry = MetricRegistry::load(config.metrics.clone())?;
    let listener = listen(config.intake.listen, "intake.listen").await?;
    let conditions = plaudit_intake::conditions::<KafkaPublish>();
    let readiness =
        Readiness::waiting_for(&[&conditions[..], &[plaudit_intake::DECLARATIONS]].concat());
    let mut tasks = observe(&config, INTAKE_METRICS_PORT, &readiness).await?;

    let producer = ConfirmingProducer::new(&config.kafka).context("make the producer")?;
    let publish = KafkaPublish::new(producer, &config.kafka, config.intake.http_timeout);
    let intake = Arc::new(Intake::new(config.intake, keyring, registry, publish)?);

    let reloaded = Arc::clone(&intake);
    on_hangup(&mut tasks, move || reloaded.reload())?;
    let following = plaudit_intake::follow(
        config.kafka,
        Arc::clone(&intake),
        readiness.clone(),
        tasks.stop_token(),
    );
    tasks.start("declarations", async move {
        following.await;
        Ok::<_, std::convert::Infallible>(())
    });
    let stop = tasks.stop_token().cancelled_owned();
    tasks.start(
        "intake",
        plaudit_intake::run(listener, intake, readiness.clone(), stop),
    );
    until_signal(tasks, readiness).await
}

/// `plaudit sink`: stores feedback until a signal.
///
/// # Errors
///
/// When it does not start, or must not go on.
pub async fn sink(config: Config) -> anyhow::Result<()> {
    let readiness = Readiness::default();
    let mut tasks = observe(&config, SINK_METRICS_PORT, &readiness).await?;
    let store = Store::new(config.clickhouse)?;
    let stop = tasks.stop_token();
    let sink_readiness = readiness.clone();
    tasks.start("sink", async move {
        plaudit_sink::run(config.sink, &config.kafka, store, sink_readiness, stop).await
    });
    until_signal(tasks, readiness).await
}

/// `plaudit query`: answers questions until a signal.
///
/// # Errors
///
/// When it does not start, or a part of it fails or does not end in time.
pub async fn query(mut config: Config) -> anyhow::Result<()> {
    make_room(&mut [("query", &mut config.query.connections)]);
    let keyring = Arc::new(Keyring::load(config.auth.clone())?);
    let listener = listen(config.query.listen, "query.listen").await?;
    let readiness = Readiness::waiting_for(&[Deps::CLICKHOUSE]);
    let mut tasks = observe(&config, QUERY_METRICS_PORT, &readiness).await?;
    let reloaded = Arc::clone(&keyring);
    on_hangup(&mut tasks, move || reloaded.reload_and_log())?;
    let deps = Deps {
        config: config.query,
        store: Store::new(config.clickhouse)?,
        keyring,
        readiness: readiness.clone(),
    };
    let stop = tasks.stop_token();
    tasks.start("query", plaudit_query::run(listener, deps, stop));
    until_signal(tasks, readiness).await
}

/// Does this at every SIGHUP: files are read again.
pub(crate) fn on_hangup(
    tasks: &mut Tasks,
    reload: impl Fn() + Send + 'static,
) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let stop = tasks.stop_token();
    tasks.start("reload", async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => reload(),
                () = stop.cancelled() => return Ok::<_, std::convert::Infallible>(()),
            }
        }
    });
    Ok(())
}

/// Serves metrics and probes; returns the tasks of the service, of which this is one.
pub(crate) async fn observe(
    config: &Config,
    port: u16,
    readiness: &Readiness,
) -> anyhow::Result<Tasks> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let address = config.observe.listen.unwrap_or(address);
    let listener = listen(address, "observe.listen").await?;
    let metrics = install_metrics()?;
    let mut tasks = Tasks::default();
    // Until the end: who drains says that it is not ready, and is measured still.
    let end = tasks.end_token().cancelled_owned();
    let serving = serve(listener, metrics, readiness.clone(), end);
    tasks.start_watching("observe", async move {
        serving.await;
        Ok::<_, std::convert::Infallible>(())
    });
    Ok(tasks)
}

pub(crate) async fn listen(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ({key})"))
}

/// Runs the tasks until a signal; from then on the service is not ready.
pub(crate) async fn until_signal(tasks: Tasks, readiness: Readiness) -> anyhow::Result<()> {
    let signal = stop_signal().context("listen for signals")?;
    let signal = async move {
        signal.await;
        readiness.block("running", "stopping");
    };
    tasks.run(signal, GRACE).await?;
    tracing::info!("stopped");
    Ok(())
}
