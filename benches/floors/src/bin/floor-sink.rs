//! Kafka to ClickHouse by rdkafka, serde_json and an HTTP client alone: batches of rows,
//! committed once ClickHouse has acknowledged them.
//!
//! A thread polls, decodes and encodes; another sends, one batch while the next fills.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use plaudit_floors::record::Record;
use plaudit_floors::row::{COLUMNS, Position, encode};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use rustls::crypto::ring;
use tokio::time::Instant;

#[derive(Clone, Parser)]
struct Options {
    /// Kafka's bootstrap address
    #[arg(long)]
    brokers: String,
    /// The topic that is read, from its start
    #[arg(long)]
    topic: String,
    /// Its partitions
    #[arg(long)]
    partitions: i32,
    /// ClickHouse's HTTP interface
    #[arg(long)]
    clickhouse: String,
    /// The database whose `feedback` is written
    #[arg(long)]
    database: String,
    /// Rows of a batch
    #[arg(long, default_value_t = 50_000)]
    max_rows: usize,
}

/// Rows, and up to where in each partition they go.
struct Batch {
    rows: Vec<u8>,
    count: usize,
    next: HashMap<i32, i64>,
    began: Instant,
}

/// A batch that does not fill is sent after this.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Room for the rows of a batch of narrow events.
const ROOM: usize = 16 << 20;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let consumer = Arc::new(consumer(&options)?);
    // One batch waits while another is sent.
    let (batches, sent) = sync_channel(1);
    let sender = {
        let (options, consumer) = (options.clone(), Arc::clone(&consumer));
        thread::spawn(move || send_all(&options, &consumer, &sent))
    };
    let polled = poll_all(&options, &consumer, &batches);
    drop(batches);
    match sender.join() {
        Ok(sent) => sent.and(polled),
        Err(_) => bail!("the sending thread panicked"),
    }
}

fn consumer(options: &Options) -> anyhow::Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    for (key, value) in [
        ("bootstrap.servers", options.brokers.as_str()),
        ("group.id", &options.database),
        ("enable.auto.commit", "false"),
        // The default of a second idles the consumer whenever its queue is full.
        ("fetch.queue.backoff.ms", "5"),
    ] {
        config.set(key, value);
    }
    let consumer: BaseConsumer = config.create().context("make the consumer")?;
    let mut all = TopicPartitionList::new();
    for partition in 0..options.partitions {
        all.add_partition_offset(&options.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all).context("assign the partitions")?;
    Ok(consumer)
}

/// Reads for ever, or until the sender is gone.
fn poll_all(
    options: &Options,
    consumer: &BaseConsumer,
    batches: &SyncSender<Batch>,
) -> anyhow::Result<()> {
    let mut batch = Batch::new();
    loop {
        let polled = consumer.poll(Duration::from_millis(50));
        let idle = polled.is_none();
        if let Some(message) = polled {
            let message = message.context("read the topic")?;
            let payload = message.payload().context("a record has no value")?;
            let record: Record<'_> = serde_json::from_slice(payload)?;
            if batch.count == 0 {
                batch.began = Instant::now();
            }
            let position = Position {
                topic: message.topic(),
                partition: message.partition(),
                offset: message.offset(),
            };
            encode(&mut batch.rows, &record, position);
            batch.count += 1;
            batch.next.insert(position.partition, position.offset + 1);
        }
        // The clock is looked at once in a while: it costs as much as a field.
        let looks = batch.count > 0 && (idle || batch.count.is_multiple_of(1000));
        let due = batch.count >= options.max_rows || (looks && batch.began.elapsed() >= MAX_AGE);
        if due
            && batches
                .send(std::mem::replace(&mut batch, Batch::new()))
                .is_err()
        {
            return Ok(());
        }
    }
}

/// It speaks plain HTTP; built with the product, the library has to be told whom to trust.
fn http_client() -> anyhow::Result<reqwest::Client> {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    #[expect(clippy::disallowed_methods, reason = "a floor knows no crate of ours")]
    let builder = reqwest::Client::builder();
    Ok(builder.tls_backend_preconfigured(tls).build()?)
}

/// Sends batch after batch, each until it is acknowledged.
fn send_all(
    options: &Options,
    consumer: &BaseConsumer,
    batches: &Receiver<Batch>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let http = http_client()?;
    let insert = format!("INSERT INTO feedback ({COLUMNS}) FORMAT RowBinary");
    for batch in batches {
        let answer = runtime.block_on(async {
            let request = http
                .post(&options.clickhouse)
                .header("x-clickhouse-database", &options.database)
                .query(&[("query", insert.as_str()), ("async_insert", "0")])
                .body(batch.rows);
            let answer = request.send().await?;
            let status = answer.status();
            anyhow::Ok((status, answer.text().await?))
        });
        let (status, text) = answer.context("insert")?;
        if !status.is_success() {
            bail!("insert: {status}: {text}");
        }
        let mut list = TopicPartitionList::new();
        for (partition, next) in batch.next {
            list.add_partition_offset(&options.topic, partition, Offset::Offset(next))?;
        }
        consumer
            .commit(&list, CommitMode::Async)
            .context("commit")?;
    }
    Ok(())
}

impl Batch {
    fn new() -> Self {
        Self {
            rows: Vec::with_capacity(ROOM),
            count: 0,
            next: HashMap::new(),
            began: Instant::now(),
        }
    }
}
