//! `plaudit dead list`.

use std::collections::BTreeMap;

use plaudit_event::Micros;
use plaudit_kafka::KafkaConfig;
use tokio::task::spawn_blocking;

use super::{DeadTopic, Filter, Place};
use crate::console::print;

/// Prints the letters, ordered by reason and place, and how many there are of each.
pub(super) async fn run(kafka: KafkaConfig, filter: Filter) -> anyhow::Result<()> {
    let topic = DeadTopic::since(kafka, &filter).await?;
    let read = spawn_blocking(move || {
        let mut letters: BTreeMap<String, BTreeMap<Place, (Micros, u64)>> = BTreeMap::new();
        let copies = topic.read(|letter, _| {
            if filter.takes(&letter) {
                let of_reason = letters.entry(letter.reason).or_default();
                of_reason.insert(letter.place, (letter.time, letter.attempts));
            }
            Ok(())
        });
        copies.map(|copies| (letters, copies))
    });
    let (letters, copies) = read.await??;
    if letters.is_empty() {
        print("no dead letters");
    } else {
        print("reason        partition       offset  time                         attempts");
    }
    for (reason, letters) in &letters {
        for (Place { partition, offset }, (time, attempts)) in letters {
            let time = time.to_string();
            print(format_args!(
                "{reason:<12}  {partition:>9}  {offset:>11}  {time:<27}  {attempts:>8}"
            ));
        }
    }
    for (reason, letters) in &letters {
        print(format_args!("{reason}: {}", letters.len()));
    }
    if copies.further() > 0 {
        print(format_args!(
            "second copies, counted once: {}",
            copies.further()
        ));
    }
    if copies.foreign > 0 {
        print(format_args!(
            "records that are no dead letters of this topic: {}",
            copies.foreign
        ));
    }
    Ok(())
}
