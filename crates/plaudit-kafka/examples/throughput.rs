//! What writing and reading cost:
//! `throughput BROKERS [EVENTS [PER_REQUEST [REQUESTS_AT_ONCE [KEY=VALUE ...]]]]`,
//! the last being librdkafka settings.
//!
//! Writes events of 262 bytes to a topic of its own, each request waiting for the
//! confirmation of all its records, then reads them all as a group's only member.
//! Reports rate, CPU time of this process per event, and its largest memory.

#![expect(clippy::print_stdout, reason = "the report is what the program is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use plaudit_kafka::{
    Admin, Assigned, ConfirmingProducer, Delivery, GroupConsumer, KafkaConfig, Rebalance, Record,
    StartOffset,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

const PAYLOAD_BYTES: usize = 262;
const DEADLINE: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().context("name the brokers")?;
    let mut number = |or: usize| arguments.next().map_or(Ok(or), |text| text.parse());
    let (events, per_request, at_once) = (number(1_000_000)?, number(100)?, number(256)?);
    let properties = arguments
        .map(|text| {
            text.split_once('=')
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        })
        .collect::<Option<Vec<_>>>()
        .context("a setting is KEY=VALUE")?;
    let config = KafkaConfig {
        brokers,
        topic: format!("throughput-{}", std::process::id()),
        group: format!("throughput-{}", std::process::id()),
        properties: properties.into_iter().collect(),
        ..KafkaConfig::default()
    };
    Admin::new(&config)?
        .ensure_topics(Duration::from_secs(30))
        .await?;

    let meter = Meter::start();
    let confirmed = produce(&config, events, per_request, at_once).await?;
    println!(
        "{}",
        meter.report(&format!("produce, {per_request} a request"), confirmed)?
    );

    let meter = Meter::start();
    let bytes = consume(&config, confirmed)?;
    println!("{}", meter.report("consume", confirmed)?);
    ensure!(bytes == confirmed * PAYLOAD_BYTES, "read {bytes} bytes");
    Ok(())
}

async fn produce(
    config: &KafkaConfig,
    events: usize,
    per_request: usize,
    at_once: usize,
) -> Result<usize> {
    let producer = ConfirmingProducer::new(config)?;
    let next = Arc::new(AtomicUsize::new(0));
    let topic: Arc<str> = config.topic.as_str().into();
    let payloads: Arc<[_]> = payloads(1024).into();
    let mut clients = JoinSet::new();
    for _ in 0..at_once {
        let (producer, next) = (producer.clone(), Arc::clone(&next));
        let (topic, payloads) = (Arc::clone(&topic), Arc::clone(&payloads));
        clients.spawn(async move {
            let mut confirmed = 0;
            loop {
                let first = next.fetch_add(per_request, Ordering::Relaxed);
                let last = events.min(first + per_request);
                if first >= last {
                    return confirmed;
                }
                let keys: Vec<_> = (first..last).map(|n| format!("trace-{n:030}")).collect();
                let headers: [(&str, &[u8]); 3] =
                    [("v", b"1"), ("project", b"default"), ("dialect", b"native")];
                let records = keys.iter().enumerate().map(|(index, key)| Record {
                    key: Some(key.as_bytes()),
                    payload: payloads.get(index % payloads.len()).map(Vec::as_slice),
                    headers: &headers,
                    timestamp_ms: 0,
                });
                let deliveries = producer.send_all(&topic, records).wait(DEADLINE).await;
                let is_confirmed =
                    |delivery: &&Delivery| matches!(delivery, Delivery::Confirmed { .. });
                confirmed += deliveries.iter().filter(is_confirmed).count();
            }
        });
    }
    let confirmed = clients.join_all().await.into_iter().sum();
    for (code, count) in producer.failures().filter(|(_, count)| *count > 0) {
        println!("not confirmed: {code} {count}");
    }
    Ok(confirmed)
}

/// Half field names, half digits of no pattern: events compress to about a third.
fn payloads(count: usize) -> Vec<Vec<u8>> {
    const NAMES: &[u8] = br#"{"trace_id":"","metric":"","value":,"comment":"","rater":""#;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Sixteen letters from `a`.
        b'a' + (state >> 60).to_le_bytes()[0]
    };
    let random = NAMES.len() * 2;
    (0..count)
        .map(|_| {
            let names = NAMES.iter().copied().cycle();
            let digits = std::iter::repeat_with(&mut digit);
            names
                .take(random)
                .chain(digits.take(PAYLOAD_BYTES - random))
                .collect()
        })
        .collect()
}

fn consume(config: &KafkaConfig, events: usize) -> Result<usize> {
    let consumer = GroupConsumer::new(config)?;
    let mut handler = FromTheBeginning;
    let (mut seen, mut bytes) = (0, 0);
    while seen < events {
        let message = consumer.poll(Duration::from_secs(10), &mut handler);
        match message {
            Some(Ok(message)) => {
                seen += 1;
                bytes += message.payload().map_or(0, <[u8]>::len);
            }
            Some(Err(error)) if error.is_fatal() => return Err(error.into()),
            Some(Err(error)) => println!("{error}"),
            None => {}
        }
    }
    consumer.close(&mut handler);
    Ok(bytes)
}

struct FromTheBeginning;

impl Rebalance for FromTheBeginning {
    fn on_assign(&mut self, _: &GroupConsumer, new: &[Assigned]) -> Vec<(i32, StartOffset)> {
        new.iter()
            .map(|new| (new.partition, StartOffset::Beginning))
            .collect()
    }

    fn on_revoke(&mut self, _: &GroupConsumer, _: &[i32]) {}

    fn on_lost(&mut self, _: &[i32]) {}
}

struct Meter {
    start: Instant,
    cpu: Duration,
}

impl Meter {
    fn start() -> Self {
        Self {
            start: Instant::now(),
            cpu: cpu().unwrap_or_default(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a report for people")]
    fn report(&self, what: &str, events: usize) -> Result<String> {
        let elapsed = self.start.elapsed();
        let cpu = cpu()?.saturating_sub(self.cpu);
        let resident = getrusage(UsageWho::RUSAGE_SELF)?.max_rss() / 1024;
        let rate = events as f64 / elapsed.as_secs_f64();
        let each = cpu.as_secs_f64() * 1e6 / events as f64;
        Ok(format!(
            "{what}: {events} events, {rate:.0}/s, {each:.2} us CPU each, {resident} MiB at most"
        ))
    }
}

fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}
