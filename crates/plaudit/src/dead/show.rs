//! `plaudit dead show`.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;
use plaudit_event::{Event, Operation, codec};
use plaudit_kafka::{KafkaConfig, Message};
use plaudit_sink::dead_letter_header as header;
use tokio::task::spawn_blocking;

use super::letter::Letter;
use super::{DeadTopic, Place};
use crate::console::print;

/// Options of `plaudit dead show`.
#[derive(Args, Clone, Debug)]
pub struct ShowOptions {
    /// The record: PARTITION:OFFSET in the topic of events, as `list` prints it
    place: Place,
    /// Print the record's value too, as it is
    #[arg(long)]
    payload: bool,
}

/// A letter that was found, with its record.
struct Found {
    letter: Letter,
    /// Where it is in the dead-letter topic.
    kept_at: Place,
    key_bytes: usize,
    payload: Vec<u8>,
    /// The size of a value that the letter does not have.
    not_kept: Option<String>,
}

/// Prints one letter.
pub(super) async fn run(kafka: KafkaConfig, options: ShowOptions) -> anyhow::Result<()> {
    let (events, dead) = (kafka.topic.clone(), kafka.dead_topic());
    let topic = DeadTopic::open(kafka).await?;
    let place = options.place;
    let read = spawn_blocking(move || {
        let mut found = None;
        let copies = topic.read(|letter, message| {
            if letter.place == place {
                found = Some(Found::of(letter, message));
            }
            Ok(())
        });
        copies.map(|copies| (found, copies.of(place)))
    });
    let (found, copies) = read.await??;
    let Some(found) = found else {
        bail!("{dead} has no letter of {events} {place}");
    };
    print(format_args!("record    {events} {place}"));
    print(format_args!("reason    {}", found.letter.reason));
    print(format_args!("attempts  {}", found.letter.attempts));
    print(format_args!("time      {}", found.letter.time));
    print(format_args!("kept at   {dead} {}", found.kept_at));
    print(format_args!("copies    {copies}"));
    print(format_args!("key       {} bytes", found.key_bytes));
    match &found.not_kept {
        None => print(format_args!("value     {} bytes", found.payload.len())),
        Some(bytes) => print(format_args!(
            "value     {bytes} bytes, not kept: too large for {dead}"
        )),
    }
    print(format_args!("event     {}", described(&found.payload)));
    if options.payload {
        let mut out = std::io::stdout().lock();
        out.write_all(&found.payload)
            .and_then(|()| writeln!(out))
            .context("print the record's value")?;
    }
    Ok(())
}

impl Found {
    fn of(letter: Letter, message: &Message<'_>) -> Self {
        Self {
            letter,
            kept_at: Place {
                partition: message.partition(),
                offset: message.offset(),
            },
            key_bytes: message.key().unwrap_or_default().len(),
            payload: message.payload().unwrap_or_default().to_vec(),
            not_kept: message
                .header(header::VALUE_BYTES)
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

/// What the record is, and nothing of what it says.
fn described(payload: &[u8]) -> String {
    match codec::decode(payload, || None) {
        Ok(event) => format!(
            "{} of {}, project {}, by {}, received {}, version time {}",
            operation(&event),
            event.id(),
            event.project,
            event.dialect.name(),
            event.received_at,
            event.version_time
        ),
        Err(error) => format!("none: {:#}", anyhow::Error::from(error)),
    }
}

fn operation(event: &Event<'_>) -> &'static str {
    match event.operation {
        Operation::Put(_) => "put",
        Operation::Withdraw(_) => "withdrawal",
        Operation::Patch { .. } => "patch",
        Operation::Retract { .. } => "retraction",
    }
}

#[cfg(test)]
mod tests {
    use plaudit_event::{Dialect, Feedback, Micros};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn p7_a_description_has_nothing_of_what_was_said() {
        let mut feedback = Feedback::new(Uuid::nil(), "the trace", "the metric");
        feedback.comment = Some("the comment".into());
        let event = Event {
            project: "demo".into(),
            dialect: Dialect::Native,
            received_at: Micros(1),
            version_time: Micros(2),
            operation: Operation::Put(feedback),
        };
        let mut payload = Vec::new();
        codec::encode(&event, &mut payload);
        let text = described(&payload);
        assert!(text.starts_with("put of 00000000-0000"), "{text}");
        assert!(!text.contains("the "), "{text}");
        let text = described(b"{ the secret");
        assert!(text.starts_with("none: "), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
