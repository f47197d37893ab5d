//! Fills a topic with records, as an intake would have.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use plaudit_event::Micros;
use plaudit_kafka::{ConfirmingProducer, Delivery, KafkaConfig, Record};

use crate::feed::{self, Width};

const EVENTS_A_SEND: u64 = 10_000;

/// Writes `events` records of a width, all confirmed.
///
/// # Errors
/// When the broker does not confirm every one.
pub async fn fill(kafka: &KafkaConfig, events: u64, width: Width) -> anyhow::Result<()> {
    let a_send = match width {
        Width::Narrow => EVENTS_A_SEND,
        Width::Wide => EVENTS_A_SEND / 20,
    };
    let producer = ConfirmingProducer::new(kafka)?;
    let mut sent = 0;
    while sent < events {
        let until = events.min(sent + a_send);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let now = Micros(i64::try_from(now.as_micros())?);
        let mut buffer = Vec::new();
        let encoded: Vec<_> = (sent..until)
            .map(|index| {
                let start = buffer.len();
                // No two at the same moment, or their times would cost nothing to store.
                let at = Micros(now.0 + i64::try_from(index - sent).unwrap_or_default());
                let key = feed::record(index, width, at, &mut buffer);
                (key, start..buffer.len())
            })
            .collect();
        let records = encoded.iter().map(|(key, range)| Record {
            key: Some(key.as_bytes()),
            payload: buffer.get(range.clone()),
            headers: &[],
            timestamp_ms: now.as_millis(),
        });
        let records: Vec<_> = records.collect();
        let deliveries = producer
            .send_all(&kafka.topic, records)
            .wait(Duration::from_secs(30))
            .await;
        let confirmed = |delivery: &Delivery| matches!(delivery, Delivery::Confirmed { .. });
        ensure!(
            deliveries.iter().all(confirmed),
            "the broker did not confirm every record"
        );
        sent = until;
    }
    Ok(())
}
