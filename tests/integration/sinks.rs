//! Sinks that come and go: nothing lost, nothing seen twice.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use plaudit_event::{Event, Outcome};
use support::{Options, Process, Proxy, Stack, backend, run, wait_until};

use crate::events;

/// Everything that was produced is seen once, with the value it was sent with.
async fn all_seen_once(stack: &Stack, sent: &[Event<'_>]) -> Result<()> {
    stack.settled().await?;
    let rows = stack.db.current().await?;
    let mut seen: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    let sent: Vec<String> = sent.iter().map(|event| event.id().to_string()).collect();
    let mut sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    seen.sort_unstable();
    sent.sort_unstable();
    assert_eq!(seen, sent);
    Ok(())
}

/// Makes the group, of which nobody is a member, begin the topic anew.
pub(crate) fn rewind(stack: &Stack) -> Result<()> {
    support::rewind(&stack.kafka)
}

#[test]
fn p2_a_sink_that_stops_and_one_that_starts_share_the_work_without_loss() -> Result<()> {
    run(Options::default(), async |stack| {
        let sent = events::puts(900);
        stack.produce(&sent[..300]).await?;
        stack.stop_sink(0).await?;
        stack.produce(&sent[300..600]).await?;
        let next = stack.start_sink();
        stack.produce(&sent[600..]).await?;
        all_seen_once(stack, &sent).await?;
        stack.ready().await?;
        assert!(stack.sink_is_ready(next));
        Ok(())
    })
}

#[test]
fn p3_a_sink_that_is_killed_is_replaced_and_nothing_is_lost_or_seen_twice() -> Result<()> {
    let options = Options {
        sinks: 0,
        ..Options::default()
    };
    run(options, async |stack| {
        let mut settings = stack.settings();
        // As soon as the broker allows, the group goes on without the dead.
        settings.push(("kafka.properties.session.timeout.ms", "6000".to_owned()));
        settings.push(("sink.batch.max_age", "50ms".to_owned()));
        let sent = events::puts(3000);
        stack.produce(&sent[..1000]).await?;
        let mut killed = Process::start("sink", &settings).await?;
        stack.produce(&sent[1000..2000]).await?;
        // In the middle of it: some are stored, and some are not.
        wait_until("the first rows", async || {
            Ok(!stack.db.current().await?.is_empty())
        })
        .await?;
        killed.kill().await?;
        let next = Process::start("sink", &settings).await?;
        stack.produce(&sent[2000..]).await?;
        all_seen_once(stack, &sent).await?;
        next.stop().await?;
        Ok(())
    })
}

#[test]
fn p2_two_sinks_in_one_group_share_the_partitions() -> Result<()> {
    let options = Options {
        sinks: 2,
        partitions: 4,
        ..Options::default()
    };
    run(options, async |stack| {
        let sent = events::puts(1000);
        stack.produce(&sent[..500]).await?;
        stack.ready().await?;
        stack.produce(&sent[500..]).await?;
        all_seen_once(stack, &sent).await?;
        stack.stop_sink(1).await?;
        let more = events::puts(100);
        stack.produce(&more).await?;
        stack.settled().await?;
        assert_eq!(stack.db.current().await?.len(), 1100);
        Ok(())
    })
}

#[test]
fn p3_a_replay_of_the_whole_topic_changes_nothing_a_reader_sees() -> Result<()> {
    run(Options::default(), async |stack| {
        let sent = events::puts(500);
        stack.produce(&sent).await?;
        let patches: Vec<_> = sent
            .iter()
            .take(50)
            .map(|event| events::event(events::comment(event.id(), "patched")))
            .collect();
        stack.produce(&patches).await?;
        wait_until("every patch to be stored", async || {
            Ok(stack
                .settled()
                .await?
                .values()
                .all(|outcome| *outcome == Outcome::Stored))
        })
        .await?;
        let (seen, ledger) = (stack.db.current().await?, stack.outcomes().await?);
        assert_eq!(
            seen.iter()
                .filter(|row| row["comment"] == "patched")
                .count(),
            50
        );

        stack.stop_sink(0).await?;
        rewind(stack)?;
        stack.start_sink();
        wait_until("the group to commit everything again", async || {
            let (committed, logs) = (stack.committed().await?, stack.logs().await?);
            Ok(logs
                .iter()
                .all(|(partition, log)| committed.get(partition) == Some(&log.end)))
        })
        .await?;
        let again = stack.outcomes().await?;
        assert!(
            ledger
                .iter()
                .all(|(place, outcome)| again[place] == *outcome)
        );
        assert_eq!(stack.db.current().await?, seen);
        Ok(())
    })
}

#[test]
fn p3_a_topic_whose_ledger_is_lost_is_stored_again_and_seen_once() -> Result<()> {
    run(Options::default(), async |stack| {
        let sent = events::puts(300);
        stack.produce(&sent).await?;
        stack.settled().await?;
        stack.stop_sink(0).await?;
        // As if the crash had come between rows and ledger, for every batch.
        stack.db.execute("TRUNCATE TABLE {db}.ledger").await?;
        rewind(stack)?;
        stack.start_sink();
        stack.ready().await?;
        all_seen_once(stack, &sent).await
    })
}

#[test]
fn p2_partitions_move_from_a_sink_that_has_paused_to_another() -> Result<()> {
    let target = backend().clickhouse_url.trim_start_matches("http://");
    let proxies = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let proxy = proxies.block_on(Proxy::start(target))?;
    let mut options = Options {
        partitions: 4,
        sink_clickhouse_url: Some(format!("http://{}", proxy.address())),
        ..Options::default()
    };
    options.sink.batch.max_rows = 10;
    options.sink.max_in_flight = 1;
    options.sink.retry.max = Duration::from_millis(100);
    options.sink.drain = Duration::from_millis(100);
    run(options, async |stack| {
        proxy.cut();
        let sent = events::puts(400);
        stack.produce(&sent).await?;
        wait_until("the sink to pause", async || Ok(stack.has_paused())).await?;
        // One that reaches ClickHouse takes over what it is given, and only that.
        stack.options_mut().sink_clickhouse_url = None;
        stack.start_sink();
        wait_until("the other one to store", async || {
            Ok(!stack.db.current().await?.is_empty())
        })
        .await?;
        proxy.mend();
        all_seen_once(stack, &sent).await?;
        stack.ready().await
    })
}

#[test]
fn p3_a_sink_that_lost_its_partitions_while_it_stood_still_joins_again() -> Result<()> {
    let options = Options {
        sinks: 0,
        ..Options::default()
    };
    run(options, async |stack| {
        let mut settings = stack.settings();
        settings.push(("kafka.properties.session.timeout.ms", "6000".to_owned()));
        settings.push(("sink.batch.max_age", "50ms".to_owned()));
        let sent = events::puts(3000);
        stack.produce(&sent[..1000]).await?;
        let stopped = Process::start("sink", &settings).await?;
        wait_until("the first to have something to lose", async || {
            Ok(stopped.log()?.contains("partition started"))
        })
        .await?;
        // Perhaps in the middle of a batch, which it ends when it goes on.
        stopped.signal(Signal::SIGSTOP)?;
        let other = Process::start("sink", &settings).await?;
        stack.produce(&sent[1000..2000]).await?;
        stack.settled().await?;
        stopped.signal(Signal::SIGCONT)?;
        wait_until("the first to learn of it", async || {
            Ok(stopped.log()?.contains("partitions were lost"))
        })
        .await?;
        stack.produce(&sent[2000..]).await?;
        all_seen_once(stack, &sent).await?;
        other.stop().await?;
        // All are the first one's now.
        let more = events::puts(100);
        stack.produce(&more).await?;
        stack.settled().await?;
        assert_eq!(stack.db.current().await?.len(), 3100);
        stopped.stop().await?;
        Ok(())
    })
}

/// What went into a sink and is in none of the places where it could be.
async fn unaccounted(sink: &Process) -> Result<f64> {
    let mut left = sink.metric("plaudit_sink_records_total").await?;
    for name in [
        "plaudit_sink_skipped_records_total",
        "plaudit_sink_in_flight_records",
        "plaudit_sink_pending_changes",
        r#"plaudit_sink_events_total{outcome="stored"}"#,
        r#"plaudit_sink_events_total{outcome="duplicate"}"#,
        r#"plaudit_sink_events_total{outcome="dead_lettered"}"#,
    ] {
        left -= sink.metric(name).await?;
    }
    Ok(left)
}

#[test]
fn p2_the_metrics_balance_when_patches_that_wait_go_to_another_sink() -> Result<()> {
    let options = Options {
        sinks: 0,
        ..Options::default()
    };
    run(options, async |stack| {
        let mut settings = stack.settings();
        settings.push(("sink.batch.max_age", "50ms".to_owned()));
        let first = Process::start("sink", &settings).await?;
        let puts = events::puts(40);
        let ids = puts.iter().map(Event::id);
        let patches: Vec<_> = ids
            .map(|id| events::event(events::comment(id, "later")))
            .collect();
        stack.produce(&patches).await?;
        let waiting = async |sink: &Process| sink.metric("plaudit_sink_pending_changes").await;
        let is = |number: f64, expected: f64| (number - expected).abs() < f64::EPSILON;
        wait_until("all patches to wait", async || {
            Ok(is(waiting(&first).await?, 40.0))
        })
        .await?;
        let second = Process::start("sink", &settings).await?;
        wait_until("another sink to have some of them", async || {
            let (here, there) = (waiting(&first).await?, waiting(&second).await?);
            Ok(there > 0.0 && is(here + there, 40.0))
        })
        .await?;
        for sink in [&first, &second] {
            wait_until("the balance with patches that wait", async || {
                Ok(is(unaccounted(sink).await?, 0.0))
            })
            .await?;
        }
        stack.produce(&puts).await?;
        for sink in [&first, &second] {
            wait_until("no patch to wait, and the balance", async || {
                Ok(is(waiting(sink).await?, 0.0) && is(unaccounted(sink).await?, 0.0))
            })
            .await?;
        }
        first.stop().await?;
        second.stop().await?;
        stack.settled().await?;
        Ok(())
    })
}
