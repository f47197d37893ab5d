//! `plaudit dead`: the records that could not be stored.
//!
//! It reads the dead-letter topic from one end to the other, without a group. A
//! dead letter is named by the partition and offset of its record, so a second copy
//! of it counts once. It takes nothing out of the topic: letters go when their
//! retention is over.
//!
//! The invariant: no payload is shown unless it is asked for.
//!
//! Start at [`run`]; what a letter is, is in `letter`.

mod letter;
mod list;
mod replay;
mod show;

use anyhow::Context;
use clap::{Args, Subcommand};
use plaudit_event::Micros;
use plaudit_kafka::{Admin, KafkaConfig, Message};

use crate::config::{Config, Sources};
use crate::console::bar;
use crate::moment::Moment;
use crate::topic::{self, ASK, Span};
use letter::{Copies, Letter, Place};

/// What to do with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadCommand {
    /// Print which there are, and how many for each reason
    List(Filter),
    /// Print what is known of one
    Show(show::ShowOptions),
    /// Write their records to the topic of events again
    ///
    /// Each keeps its identity and its version, so that doing it twice shows nothing
    /// twice. Letters stay where they are. A record that is no event is left out: no
    /// sink could store it now either.
    Replay(replay::ReplayOptions),
}

/// Which dead letters.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Those with this reason only, such as `poison`
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Those of this time or later: 2026-01-02T03:04:05Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
}

/// The dead-letter topic, up to the end that it had when it was opened.
pub(crate) struct DeadTopic {
    kafka: KafkaConfig,
    spans: Vec<Span>,
}

/// Runs `plaudit dead`.
///
/// # Errors
/// When Kafka does not answer, a letter is not there, or a record is not confirmed.
pub async fn run(command: DeadCommand, sources: &Sources) -> anyhow::Result<()> {
    let config = Config::load(sources)?;
    match command {
        DeadCommand::List(filter) => list::run(config.kafka, filter).await,
        DeadCommand::Show(options) => show::run(config.kafka, options).await,
        DeadCommand::Replay(options) => replay::run(config.kafka, options).await,
    }
}

// === impl Filter ===

impl Filter {
    fn takes(&self, letter: &Letter) -> bool {
        let is_reason = self.reason.as_ref().is_none_or(|of| *of == letter.reason);
        is_reason && letter.time >= self.since()
    }

    fn since(&self) -> Micros {
        self.since.map_or(Micros(0), |since| since.0)
    }
}

// === impl DeadTopic ===

impl DeadTopic {
    /// Asks where the topic's logs begin and end now.
    ///
    /// # Errors
    /// When Kafka does not answer, or there is no such topic.
    pub(crate) async fn open(kafka: KafkaConfig) -> anyhow::Result<Self> {
        let logs = Admin::new(&kafka)?
            .watermarks(&kafka.dead_topic(), ASK)
            .await
            .context("look at the dead-letter topic")?;
        let spans = logs.into_iter().map(Span::from).collect();
        Ok(Self { kafka, spans })
    }

    /// The same, from the letters of a time on.
    async fn since(kafka: KafkaConfig, filter: &Filter) -> anyhow::Result<Self> {
        let mut topic = Self::open(kafka).await?;
        if filter.since.is_none() {
            return Ok(topic);
        }
        // A letter is written after its time, so none is before these offsets.
        let from = Admin::new(&topic.kafka)?
            .offsets_at(&topic.kafka.dead_topic(), filter.since().as_millis(), ASK)
            .await
            .context("look at the dead-letter topic")?;
        for span in &mut topic.spans {
            if let Some((_, first)) = from.iter().find(|(of, _)| *of == span.partition) {
                span.first = (*first).clamp(span.first, span.end);
            }
        }
        Ok(topic)
    }

    /// Hands over each letter with its record, second copies left out. Blocks.
    ///
    /// # Errors
    /// When Kafka does not answer, or `take` fails.
    pub(crate) fn read(
        &self,
        mut take: impl FnMut(Letter, &Message<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Copies> {
        let bar = bar(topic::total(&self.spans), "dead letters");
        let mut copies = Copies::default();
        let read = topic::read(
            &self.kafka,
            &self.kafka.dead_topic(),
            &self.spans,
            |message| {
                bar.inc(1);
                match Letter::of(message, &self.kafka.topic) {
                    Some(letter) if copies.is_first(letter.place) => take(letter, message),
                    Some(_) => Ok(()),
                    None => {
                        copies.foreign += 1;
                        Ok(())
                    }
                }
            },
        );
        bar.finish_and_clear();
        read.map(|()| copies)
    }
}
