//! `plaudit-kafka` against a real broker: confirmations, records and topics; the group
//! is in [`group`].
//!
//! Each test has a topic and a group of its own.

mod group;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use plaudit_kafka::{
    Admin, ConfirmingProducer, Delivery, KafkaConfig, KafkaError, Read, Reason, Record,
    TopicReader, partition_for,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// A configuration whose topics exist and are empty.
async fn topics(partitions: i32) -> Result<KafkaConfig> {
    let (brokers, topic) = support::kafka();
    let config = KafkaConfig {
        brokers,
        partitions,
        group: format!("{topic}-group"),
        metrics_topic: format!("{topic}.metrics"),
        topic,
        ..KafkaConfig::default()
    };
    Admin::new(&config)?.ensure_topics(DEADLINE).await?;
    Ok(config)
}

fn keyed(key: &str) -> Record<'_> {
    Record {
        key: Some(key.as_bytes()),
        payload: Some(key.as_bytes()),
        ..Record::default()
    }
}

/// Writes one record for each key and expects all of them confirmed.
async fn write(config: &KafkaConfig, keys: &[String]) -> Result<Vec<(i32, i64)>> {
    let producer = ConfirmingProducer::new(config)?;
    let records = keys.iter().map(|key| keyed(key));
    let deliveries = producer
        .send_all(&config.topic, records)
        .wait(DEADLINE)
        .await;
    deliveries
        .into_iter()
        .map(|delivery| match delivery {
            Delivery::Confirmed { partition, offset } => Ok((partition, offset)),
            other => anyhow::bail!("{other:?}"),
        })
        .collect()
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("trace-{n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_every_record_is_confirmed_where_the_java_client_would_put_it() -> Result<()> {
    let config = topics(12).await?;
    let keys = keys(500);
    let mut next = BTreeMap::<i32, i64>::new();
    for (key, (partition, offset)) in keys.iter().zip(write(&config, &keys).await?) {
        assert_eq!(partition, partition_for(key.as_bytes(), 12), "{key}");
        let expected = next.entry(partition).or_default();
        assert_eq!(
            offset, *expected,
            "the order within a partition is the request's"
        );
        *expected += 1;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_that_is_too_large_does_not_stop_the_others() -> Result<()> {
    let config = topics(1).await?;
    let producer = ConfirmingProducer::new(&config)?;
    let large = vec![0; 3_000_000];
    let mut records = [keyed("a"), keyed("b"), keyed("c")];
    records[1].payload = Some(&large);
    let pending = producer.send_all(&config.topic, records);
    assert_eq!(pending.accepted(), 2);
    let deliveries = pending.wait(DEADLINE).await;
    assert_eq!(
        deliveries[0],
        Delivery::Confirmed {
            partition: 0,
            offset: 0
        }
    );
    assert_eq!(deliveries[1], Delivery::Refused(Reason::TooLarge));
    assert_eq!(
        deliveries[2],
        Delivery::Confirmed {
            partition: 0,
            offset: 1
        }
    );
    producer.flush(DEADLINE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_never_made_by_writing_or_asking() -> Result<()> {
    let config = topics(1).await?;
    let missing = format!("{}-missing", config.topic);
    let producer = ConfirmingProducer::new(&config)?;
    let deliveries = producer
        .send_all(&missing, [keyed("a")])
        .wait(DEADLINE)
        .await;
    assert_eq!(deliveries, [Delivery::Failed(Reason::UnknownTopic)]);
    let admin = Admin::new(&config)?;
    for _ in 0..2 {
        let error = admin
            .topic_partitions(&missing, DEADLINE)
            .await
            .unwrap_err();
        assert_eq!(
            error,
            KafkaError::NoTopic {
                topic: missing.clone()
            }
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_payloads_headers_and_times_come_back_as_they_were() -> Result<()> {
    let config = topics(1).await?;
    let producer = ConfirmingProducer::for_dead_letters(&config)?;
    let large = vec![7; 1_500_000];
    // Not long ago, or the retention would take the record away.
    let written_ms = UNIX_EPOCH.elapsed()?.as_millis().try_into()?;
    let dead = Record {
        key: None,
        payload: Some(&large),
        headers: &[("reason", b"poison"), ("empty", b""), ("reason", b"again")],
        timestamp_ms: written_ms,
    };
    let tombstone = Record {
        key: Some(b""),
        ..Record::default()
    };
    let topic = config.dead_topic();
    let deliveries = producer
        .send_all(&topic, [dead, tombstone])
        .wait(DEADLINE)
        .await;
    assert!(
        deliveries
            .iter()
            .all(|d| matches!(d, Delivery::Confirmed { .. })),
        "{deliveries:?}"
    );

    let reader = TopicReader::open(&config, &topic, &[(0, 0)])?;
    let mut seen = 0;
    loop {
        match reader.poll(DEADLINE).transpose()? {
            Some(Read::Record(message)) if message.offset() == 0 => {
                assert_eq!(message.key(), None);
                assert_eq!(message.payload(), Some(&*large));
                assert_eq!(message.timestamp_ms(), Some(written_ms));
                assert_eq!(message.header("reason"), Some(&b"poison"[..]));
                assert_eq!(message.header("empty"), Some(&b""[..]));
                assert_eq!(message.header("absent"), None);
                assert_eq!(message.headers().count(), 3);
                seen += 1;
            }
            Some(Read::Record(message)) => {
                assert_eq!(message.key(), Some(&b""[..]));
                assert_eq!(message.payload(), None);
                assert_eq!(message.headers().count(), 0);
                seen += 1;
            }
            Some(Read::End { partition }) => {
                assert_eq!((partition, seen), (0, 2));
                return Ok(());
            }
            None => anyhow::bail!("no end of the topic"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_once_and_never_changed() -> Result<()> {
    let config = topics(3).await?;
    let more = KafkaConfig {
        partitions: 5,
        ..config.clone()
    };
    let admin = Admin::new(&more)?;
    let reports = admin.ensure_topics(DEADLINE).await?;
    let names: Vec<_> = reports.iter().map(|report| &*report.name).collect();
    assert_eq!(
        names,
        [&*config.topic, &config.dead_topic(), &config.metrics_topic]
    );
    assert!(reports.iter().all(|report| !report.created));
    assert_eq!(
        (reports[0].partitions, reports[0].configured_partitions),
        (3, 5)
    );
    assert_eq!(
        admin.topic_partitions(&config.topic, DEADLINE).await?,
        [0, 1, 2]
    );

    write(&config, &keys(30)).await?;
    let watermarks = admin.watermarks(&config.topic, DEADLINE).await?;
    assert_eq!(
        watermarks
            .iter()
            .map(|each| each.high - each.low)
            .sum::<i64>(),
        30
    );
    assert_eq!(
        admin.committed(DEADLINE).await?,
        [(0, None), (1, None), (2, None)]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_cannot_do_is_said_with_the_key() -> Result<()> {
    let config = topics(1).await?;
    let topic = format!("{}-replicated", config.topic);
    let replicated = KafkaConfig {
        topic: topic.clone(),
        replication: 3,
        ..config
    };
    let admin = Admin::new(&replicated)?;
    let error = admin.ensure_topics(DEADLINE).await.unwrap_err();
    assert!(error.to_string().contains("kafka.replication"), "{error}");
    let error = admin.topic_partitions(&topic, DEADLINE).await.unwrap_err();
    assert_eq!(error, KafkaError::NoTopic { topic });
    Ok(())
}
