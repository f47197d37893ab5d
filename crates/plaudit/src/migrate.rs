//! `plaudit migrate`: makes topics and tables, or brings them to this version.
//!
//! Safe to run again and by several at once. Services do not do this: they check, and
//! refuse to start on a schema that is not theirs.

use std::time::Duration;

use anyhow::Context;
use plaudit_kafka::Admin;
use plaudit_store::Store;

use crate::config::{Config, Sources};
use crate::console::say;

/// How long Kafka may take to make topics and to elect their leaders.
const TOPICS_DEADLINE: Duration = Duration::from_secs(30);

/// Makes what is missing and says what it was.
///
/// # Errors
///
/// When Kafka or ClickHouse cannot be reached or refuses; what is made by then stays.
pub async fn run(sources: &Sources) -> anyhow::Result<()> {
    let config = Config::load(sources)?;
    let admin = Admin::new(&config.kafka).context("use the Kafka settings")?;
    let topics = admin
        .ensure_topics(TOPICS_DEADLINE)
        .await
        .with_context(|| format!("make topics at {}", config.kafka.brokers))?;
    for topic in topics.iter().filter(|topic| topic.created) {
        say(format_args!(
            "made topic {} ({} partitions)",
            topic.name, topic.partitions
        ));
    }
    let migrated = Store::new(config.clickhouse.clone())?
        .migrate()
        .await
        .with_context(|| format!("migrate the database at {}", config.clickhouse.url))?;
    for migration in &migrated.applied {
        say(format_args!("applied migration {migration}"));
    }
    Ok(())
}
