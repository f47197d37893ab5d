//! The topic of a test: what is written to it past the intake, and what became of it.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use plaudit_event::{Event, Outcome, codec};
use plaudit_kafka::{Delivery, Read, Record, TopicReader};
use serde_json::Value;

use super::Stack;
use crate::wait::{DEADLINE, wait_for, wait_until};

impl Stack {
    /// Writes events to the topic as the intake does, past it. Returns where they are.
    ///
    /// # Errors
    /// When one is not confirmed.
    pub async fn produce(&self, events: &[Event<'_>]) -> Result<Vec<(i32, i64)>> {
        let encoded: Vec<(Vec<u8>, Vec<u8>)> = events
            .iter()
            .map(|event| {
                let mut bytes = Vec::new();
                codec::encode(event, &mut bytes);
                (event.with_key(|key| key.as_bytes().to_vec()), bytes)
            })
            .collect();
        let records = encoded.iter().map(|(key, payload)| Record {
            key: Some(key),
            payload: Some(payload),
            ..Record::default()
        });
        self.write(records).await
    }

    /// Writes records to the topic. Returns where they are.
    ///
    /// # Errors
    /// When one is not confirmed.
    pub async fn write<'r, I>(&self, records: I) -> Result<Vec<(i32, i64)>>
    where
        I: IntoIterator<Item = Record<'r>>,
        I::IntoIter: ExactSizeIterator,
    {
        let pending = self.producer.send_all(&self.kafka.topic, records);
        let deliveries = pending.wait(DEADLINE).await;
        let place = |delivery| match delivery {
            Delivery::Confirmed { partition, offset } => Ok((partition, offset)),
            other => bail!("a record is not confirmed: {other:?}"),
        };
        deliveries.into_iter().map(place).collect()
    }

    /// Everything that is in the test's topics: keys, values and headers, as they are.
    ///
    /// # Errors
    /// When the broker does not say.
    pub async fn contents(&self) -> Result<Vec<Vec<u8>>> {
        let mut contents = Vec::new();
        for topic in [
            &self.kafka.topic,
            &self.kafka.dead_topic(),
            &self.kafka.metrics_topic,
        ] {
            let marks = self.admin.watermarks(topic, DEADLINE).await?;
            for mark in marks.into_iter().filter(|mark| mark.low < mark.high) {
                let from = [(mark.partition, mark.low)];
                let reader = TopicReader::open(&self.kafka, topic, &from)?;
                loop {
                    let read = reader.poll(DEADLINE).context("a topic has no end")?;
                    let Read::Record(message) = read? else {
                        break;
                    };
                    contents.extend(
                        [message.key(), message.payload()]
                            .into_iter()
                            .flatten()
                            .map(<[u8]>::to_vec),
                    );
                    contents.extend(message.headers().map(|(_, content)| content.to_vec()));
                }
            }
        }
        Ok(contents)
    }

    /// Per partition with records, where its log begins and ends.
    ///
    /// # Errors
    /// When the broker does not say.
    pub async fn logs(&self) -> Result<BTreeMap<i32, Range<i64>>> {
        // A broker that is busy may be without a leader for a moment.
        let asked = wait_for("the broker to say where its logs end", async || {
            Ok(self
                .admin
                .watermarks(&self.kafka.topic, DEADLINE)
                .await
                .ok())
        });
        let marks = asked.await?;
        Ok(marks
            .into_iter()
            .map(|mark| (mark.partition, mark.low..mark.high))
            .collect())
    }

    /// Deletes the records of a partition before an offset, as retention does.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn expire(&self, partition: i32, before: i64) -> Result<()> {
        let before = [(partition, before)];
        Ok(self.admin.delete_before(&before, DEADLINE).await?)
    }

    /// Lowers what the broker takes of the topic at once, in bytes.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn limit_batches(&self, bytes: u32) -> Result<()> {
        let bytes = bytes.to_string();
        let settings = [("max.message.bytes", bytes.as_str())];
        Ok(self.admin.alter_topic(&settings, DEADLINE).await?)
    }

    /// What the group has committed, by partition.
    ///
    /// # Errors
    /// When the broker does not say.
    pub async fn committed(&self) -> Result<BTreeMap<i32, i64>> {
        let asked = wait_for("the broker to say what is committed", async || {
            Ok(self.admin.committed(DEADLINE).await.ok())
        });
        let committed = asked.await?;
        let known = committed
            .into_iter()
            .filter_map(|(partition, offset)| Some((partition, offset?)));
        Ok(known.collect())
    }

    /// The outcome of every offset that has one: the strongest.
    ///
    /// # Errors
    /// When ClickHouse does not say.
    pub async fn outcomes(&self) -> Result<BTreeMap<(i32, i64), Outcome>> {
        let sql = format!(
            "SELECT partition, first, last, toString(outcome) AS code FROM {{db}}.ledger WHERE topic = '{}'",
            self.kafka.topic
        );
        let mut outcomes = BTreeMap::new();
        for row in self.db.rows(&sql).await? {
            let number = |name: &str| row.get(name).and_then(Value::as_i64).context("a number");
            let partition = i32::try_from(number("partition")?)?;
            let outcome: Outcome = row
                .get("code")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .parse()?;
            for offset in number("first")?..=number("last")? {
                let known = outcomes.entry((partition, offset)).or_insert(outcome);
                *known = outcome.max(*known);
            }
        }
        Ok(outcomes)
    }

    /// Waits until every record of the topic has an outcome, and returns them.
    ///
    /// # Errors
    /// When that does not come about.
    pub async fn settled(&self) -> Result<BTreeMap<(i32, i64), Outcome>> {
        let logs = self.logs().await?;
        let mut found = BTreeMap::new();
        let settled = wait_until("every record to have an outcome", async || {
            found = self.outcomes().await?;
            let mut offsets = logs
                .iter()
                .flat_map(|(p, log)| log.clone().map(|offset| (*p, offset)));
            Ok(offsets.all(|place| found.contains_key(&place)))
        });
        let waited = settled.await;
        waited.with_context(|| format!("topic {logs:?}, outcomes {found:?}"))?;
        Ok(found)
    }
}
