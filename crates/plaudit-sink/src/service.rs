//! The sink as a service.

use std::sync::Arc;
use std::time::Duration;

use plaudit_kafka::{Admin, ConfirmingProducer, GroupConsumer, KafkaConfig};
use plaudit_service::Readiness;
use plaudit_store::{MigrateError, Store};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::SinkConfig;
use crate::consume::{SinkError, Work};
use crate::dead_letter::DeadLetters;
use crate::metrics;
use crate::origin::Origin;
use crate::pending::Pending;
use crate::retry::{CLICKHOUSE, Retry};
use crate::steps::Steps;

/// Between two looks at the patches that wait for their feedback, and at a
/// schema that is not there yet.
const LOOK: Duration = Duration::from_secs(1);

/// Stores the topic in ClickHouse until `stop`, then drains and commits.
///
/// Ready when it is a member of its group, ClickHouse answers and the schema is
/// there. While ClickHouse is away it holds, and is not ready.
///
/// # Errors
/// What must not be gone on with: see [`SinkError`].
pub async fn run(
    config: SinkConfig,
    kafka: &KafkaConfig,
    store: Store,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), SinkError> {
    metrics::describe();
    for condition in [CLICKHOUSE, "kafka", "assignment"] {
        readiness.block(condition, "starting");
    }
    let retry = Retry::new(config.retry.clone(), readiness.clone());
    tokio::select! {
        ready = wait_for_schema(&store, &readiness) => ready?,
        () = stop.cancelled() => return Ok(()),
    }
    let topic: Arc<str> = kafka.topic.as_str().into();
    let steps = Arc::new(Steps {
        store,
        retry,
        dead_letters: DeadLetters::Topic {
            producer: ConfirmingProducer::for_dead_letters(kafka)?,
            original: topic.clone(),
            topic: kafka.dead_topic(),
            readiness: readiness.clone(),
        },
        config,
        topic,
        pending: Pending::default(),
        origin: Origin::Topic(Admin::new(kafka)?),
    });
    let consumer = GroupConsumer::new(kafka)?;
    let work = Work::new(steps.clone(), Handle::current(), readiness, stop.clone());
    let polled = poll_on_a_thread(work, consumer)?;
    tokio::select! {
        ended = polled => ended.unwrap_or_else(|_| Err(SinkError::Thread("it panicked".to_owned()))),
        failed = look_after_pending(&steps) => failed,
        // Whoever starts the process anew has a producer that can write.
        reason = steps.dead_letters.failed_for_good() => Err(SinkError::Producer(reason)),
    }
}

fn poll_on_a_thread(
    work: Work,
    consumer: GroupConsumer,
) -> Result<oneshot::Receiver<Result<(), SinkError>>, SinkError> {
    let (ended, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("sink-poll".to_owned())
        .spawn(move || {
            if ended.send(work.run(consumer)).is_err() {
                tracing::debug!("the service ended before its polling thread");
            }
        })
        .map_err(|error| SinkError::Thread(error.to_string()))?;
    Ok(receiver)
}

async fn wait_for_schema(store: &Store, readiness: &Readiness) -> Result<(), SinkError> {
    let mut told = false;
    loop {
        let error = match store.check_schema().await {
            Ok(()) => {
                readiness.clear(CLICKHOUSE);
                return Ok(());
            }
            Err(
                error @ (MigrateError::Newer { .. }
                | MigrateError::Column { .. }
                | MigrateError::Shape { .. }),
            ) => return Err(SinkError::Schema(error)),
            Err(error) => error,
        };
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let reason = [Some(error.to_string()), cause]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(": ");
        if !told {
            tracing::warn!(reason, "waiting for the schema");
            told = true;
        }
        readiness.block(CLICKHOUSE, reason);
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs beside the polling, and ends only when it fails.
async fn look_after_pending(steps: &Steps) -> Result<(), SinkError> {
    loop {
        tokio::time::sleep(LOOK).await;
        steps.retry_pending().await?;
    }
}
