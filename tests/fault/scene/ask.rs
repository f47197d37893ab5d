//! What a case asks while it runs: of its services, of the broker, of the built binary.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plaudit_client::{Client, Wait};
use plaudit_kafka::{ConfirmingProducer, Delivery, Record};
use serde_json::Value;
use support::command;
use tokio::time::{Instant, sleep};

use super::Scene;
use crate::flood::Flood;
use crate::part::Part;
use crate::watch::Watch;

/// A debug build on a busy machine; a log of ten minutes.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
pub(super) const LOOK: Duration = Duration::from_millis(100);
pub(super) const ASK: Duration = Duration::from_secs(10);

impl Scene<'_> {
    /// The intake's address.
    pub(crate) fn intake_url(&self, number: usize) -> Result<&str> {
        let url = self.intake_urls.get(number);
        Ok(url.context("there is no such intake")?)
    }

    /// Begins to watch what clients see of the first intake.
    pub(crate) fn watch(&self) -> Result<Watch> {
        let intake = self.intakes.first().context("there is no intake")?;
        let timeout = self.options.http_timeout;
        Watch::start(self.intake_url(0)?, intake.pid()?, timeout)
    }

    /// Begins to send the first intake more than it may hold.
    pub(crate) fn flood(&self) -> Result<Flood> {
        Flood::start(self.intake_url(0)?, &self.own)
    }

    pub(crate) fn intake(&mut self, number: usize) -> Result<&mut Part> {
        let part = self.intakes.get_mut(number);
        part.context("there is no such intake")
    }

    pub(crate) fn sink(&mut self, number: usize) -> Result<&mut Part> {
        self.sinks.get_mut(number).context("there is no such sink")
    }

    /// The case's own files.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Something to be said beside the counts.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The same, where it is said again and again.
    pub(crate) fn note_once(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Sends items of the case's own to the first intake, which must take them all.
    /// What puts feedback on a trace begins it as the load's do.
    pub(crate) async fn post(&self, items: &[Value]) -> Result<()> {
        self.own.sends(items.len());
        let api = Client::builder(self.intake_url(0)?).build_api()?;
        let body = serde_json::to_vec(items)?.into();
        let reply = api.post_feedback(body, Wait::Durable).await?;
        let accepted = self.own.take(&reply)?;
        ensure!(
            accepted == items.len(),
            "{accepted} of {} items are accepted: {}",
            items.len(),
            reply.status
        );
        Ok(())
    }

    /// Changes a setting of the topic, as its operator might.
    pub(crate) async fn set_of_topic(&self, key: &str, value: &str) -> Result<()> {
        Ok(self.admin.alter_topic(&[(key, value)], ASK).await?)
    }

    /// Keeps rows that a merge would take away, so that all that were inserted twice
    /// are counted.
    pub(crate) async fn keep_copies(&self) -> Result<()> {
        let stop = "SYSTEM STOP MERGES {db}.feedback";
        self.database.execute(stop).await.map(drop)
    }

    /// Lets the fault, or the load, go on for a while: its schedule.
    pub(crate) async fn go_on(&self, time: Duration) {
        sleep(time).await;
    }

    /// From now on all should be well again.
    pub(crate) fn fault_ended(&mut self) {
        self.fault_ended = Some(Instant::now());
    }

    /// What the group has committed, by partition.
    pub(crate) async fn committed(&self) -> Result<BTreeMap<i32, i64>> {
        let committed = self.admin.committed(ASK).await?.into_iter();
        Ok(committed
            .filter_map(|(partition, next)| Some((partition, next?)))
            .collect())
    }

    /// How many records the group has committed.
    pub(crate) async fn committed_in_all(&self) -> Result<i64> {
        Ok(self.committed().await?.values().sum())
    }

    /// Deletes the records of a partition before an offset, as retention does.
    pub(crate) async fn expire(&self, partition: i32, before: i64) -> Result<()> {
        Ok(self
            .admin
            .delete_before(&[(partition, before)], ASK)
            .await?)
    }

    /// Writes a record past the intake. Returns where it is.
    pub(crate) async fn write(&self, record: Record<'_>) -> Result<(i32, i64)> {
        let producer = ConfirmingProducer::new(&self.kafka)?;
        let deliveries = producer.send_all(&self.kafka.topic, [record]);
        match deliveries.wait(ASK).await.as_slice() {
            [Delivery::Confirmed { partition, offset }] => Ok((*partition, *offset)),
            other => bail!("a record is not confirmed: {other:?}"),
        }
    }

    /// Runs a tool of the built binary; it must end well. Returns what it prints.
    pub(crate) async fn tool(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_tool(arguments).await?;
        let [printed, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        ensure!(
            output.status.success(),
            "plaudit {}: {printed}{said}",
            arguments.join(" ")
        );
        Ok(printed)
    }

    /// Runs a tool of the built binary.
    pub(crate) async fn try_tool(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let mut words: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        for (key, value) in &self.settings {
            words.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        command(&self.directory, &words).await
    }

    /// Where the logs end; asked until the broker says.
    pub(crate) async fn ends(&self) -> Result<Vec<(i32, i64)>> {
        let topic = &self.kafka.topic;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.admin.watermarks(topic, ASK).await {
                Ok(marks) => {
                    return Ok(marks
                        .iter()
                        .map(|mark| (mark.partition, mark.high))
                        .collect());
                }
                Err(error) if Instant::now() >= end => return Err(error.into()),
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    /// How many records there are that the group has not committed.
    pub(crate) async fn behind(&self, ends: &[(i32, i64)]) -> Result<i64> {
        let committed = self.committed().await?;
        let behind = ends.iter().map(|(partition, end)| {
            let next = committed.get(partition).copied().unwrap_or(0);
            (end - next).max(0)
        });
        Ok(behind.sum())
    }

    /// Waits until the group has committed all up to here.
    pub(crate) async fn caught_up(&self, ends: &[(i32, i64)], patience: Duration) -> Result<()> {
        let give_up = Instant::now() + patience;
        loop {
            let behind = self.behind(ends).await;
            match behind {
                Ok(0) => return Ok(()),
                Ok(_) | Err(_) if Instant::now() < give_up => sleep(LOOK).await,
                other => {
                    return Err(anyhow::anyhow!(
                        "after {patience:?} the group is still behind: {other:?}"
                    ));
                }
            }
        }
    }
}
