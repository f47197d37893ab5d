//! Records that left the log before they were stored (P2): none goes without a word.

use std::time::Duration;

use anyhow::{Result, ensure};
use plaudit_event::Outcome;
use plaudit_sink::{OnExpired, SinkConfig};
use serde_json::json;
use support::{Options, Proxy, Stack, backend, run, wait_until};

use crate::events;

const EXPIRED: &str = "records left the log before they were stored";

fn options() -> Options {
    Options {
        partitions: 1,
        expected_errors: &[EXPIRED],
        ..Options::default()
    }
}

/// One outcome for each offset up to the log's end: those of `expired` are, the
/// others are stored.
async fn all_but(stack: &Stack, expired: std::ops::Range<i64>) -> Result<()> {
    let outcomes = stack.settled().await?;
    let end = stack.logs().await?[&0].end;
    for offset in 0..end {
        let expected = if expired.contains(&offset) {
            Outcome::Expired
        } else {
            Outcome::Stored
        };
        let found = outcomes.get(&(0, offset));
        ensure!(found == Some(&expected), "{offset}: {found:?}");
    }
    let seen = i64::try_from(stack.db.current().await?.len())?;
    assert_eq!(seen, end - (expired.end - expired.start));
    Ok(())
}

#[test]
fn p2_what_the_log_no_longer_has_stops_the_sink_until_it_is_told_to_skip() -> Result<()> {
    run(options(), async |stack| {
        stack.produce(&events::puts(10)).await?;
        stack.settled().await?;
        stack.stop_sink(0).await?;
        stack.produce(&events::puts(10)).await?;
        stack.expire(0, 15).await?;

        let stopped = stack.start_sink();
        let failure = stack.sink_failure(stopped).await?;
        assert!(failure.contains("offsets 10 to 14"), "{failure}");
        assert!(failure.contains("sink.on_expired"), "{failure}");

        stack.options_mut().sink.on_expired = OnExpired::Skip;
        stack.start_sink();
        all_but(stack, 10..15).await?;
        let receipt = format!("{}:0:12", stack.kafka.topic);
        let state = stack.api.get(&format!("/v1/receipts/{receipt}")).await?;
        assert_eq!(state.json, json!({"receipt": receipt, "state": "expired"}));
        assert!(stack.log.has(EXPIRED));
        Ok(())
    })
}

#[test]
fn p2_a_group_without_a_commit_does_not_skip_what_its_ledger_has_not() -> Result<()> {
    let options = Options {
        sinks: 0,
        ..options()
    };
    run(options, async |stack| {
        let group = stack.kafka.group.clone();
        stack.kafka.group = format!("{group}.before");
        let first = stack.start_sink();
        stack.produce(&events::puts(10)).await?;
        stack.settled().await?;
        stack.stop_sink(first).await?;
        stack.produce(&events::puts(10)).await?;
        stack.expire(0, 15).await?;

        stack.kafka.group = group;
        let stopped = stack.start_sink();
        let failure = stack.sink_failure(stopped).await?;
        assert!(failure.contains("offsets 10 to 14"), "{failure}");
        stack.options_mut().sink.on_expired = OnExpired::Skip;
        stack.start_sink();
        all_but(stack, 10..15).await
    })
}

#[test]
fn p2_what_is_ledgered_has_not_expired() -> Result<()> {
    let options = Options {
        expected_errors: &[],
        ..options()
    };
    run(options, async |stack| {
        stack.produce(&events::puts(10)).await?;
        stack.settled().await?;
        stack.stop_sink(0).await?;
        // As if a crash had come before the commit, and retention after it.
        crate::sinks::rewind(stack)?;
        stack.expire(0, 10).await?;
        stack.start_sink();
        stack.produce(&events::puts(5)).await?;
        stack.ready().await?;
        all_but(stack, 0..0).await
    })
}

#[test]
fn p2_retention_that_overtakes_a_sink_that_holds_leaves_no_gap() -> Result<()> {
    let target = backend().clickhouse_url.trim_start_matches("http://");
    let proxies = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let proxy = proxies.block_on(Proxy::start(target))?;
    let mut options = options();
    options.sink_clickhouse_url = Some(format!("http://{}", proxy.address()));
    options.sink = SinkConfig {
        on_expired: OnExpired::Skip,
        max_in_flight: 1,
        ..options.sink
    };
    options.sink.batch.max_rows = 10;
    options.sink.retry.max = Duration::from_millis(100);
    run(options, async |stack| {
        stack.produce(&events::puts(5)).await?;
        stack.settled().await?;
        proxy.cut();
        stack.produce(&events::puts(100)).await?;
        wait_until("the sink to pause", async || Ok(stack.has_paused())).await?;
        stack.expire(0, 80).await?;
        proxy.mend();
        let outcomes = stack.settled().await?;
        let expired: Vec<i64> = outcomes
            .iter()
            .filter(|(_, outcome)| **outcome == Outcome::Expired)
            .map(|((_, offset), _)| *offset)
            .collect();
        let first = *expired.first().unwrap();
        assert_eq!(expired.last(), Some(&79));
        all_but(stack, first..80).await
    })
}
