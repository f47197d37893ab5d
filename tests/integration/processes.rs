//! The built binary: metrics, probes, signals, standalone.

use std::collections::BTreeSet;

use anyhow::Result;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::{Api, Options, Process, command, own_names, run, wait_until};

/// The samples of a scrape: name and labels, and the number.
async fn scrape(observe: &Api) -> Result<Vec<(String, f64)>> {
    let answer = observe.get("/metrics").await?;
    assert_eq!(answer.status, 200);
    let samples = answer.text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.filter_map(|line| {
        let (name, number) = line.rsplit_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    });
    Ok(samples.collect())
}

/// The sum of the samples that begin so.
fn sum(samples: &[(String, f64)], prefix: &str) -> f64 {
    samples
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(_, number)| number)
        .sum()
}

async fn has(observe: &Api, names: &[&str]) -> Result<()> {
    let text = observe.get("/metrics").await?.text;
    let known: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    for name in names {
        assert!(known.contains(name), "{name} is not in {known:?}");
    }
    Ok(())
}

async fn probes(process: &Process) -> Result<()> {
    for path in ["/healthz", "/readyz"] {
        // On a busy machine a service may be without its broker for a moment.
        wait_until("the probe to say yes", async || {
            Ok(process.observe.get(path).await?.status == 200)
        })
        .await?;
    }
    Ok(())
}

#[test]
fn p2_every_service_counts_what_it_does_under_its_public_names() -> Result<()> {
    let options = Options {
        sinks: 0,
        ..Options::default()
    };
    run(options, async |stack| {
        let mut settings = stack.settings();
        settings.push(("sink.batch.max_age", "50ms".to_owned()));
        let query = Process::start("query", &settings).await?;
        settings.push(("intake.query_url", query.api.base().to_owned()));
        let intake = Process::start("intake", &settings).await?;
        let sink = Process::start("sink", &settings).await?;
        for process in [&query, &intake, &sink] {
            probes(process).await?;
        }
        // From the start, before anything has happened.
        let intake_names = [
            "plaudit_intake_requests_total",
            "plaudit_intake_events_total",
            "plaudit_intake_producer_queue_records",
            "plaudit_ready",
        ];
        has(&intake.observe, &intake_names).await?;
        let sink_names = [
            "plaudit_sink_events_total",
            "plaudit_sink_records_total",
            "plaudit_sink_skipped_records_total",
            "plaudit_sink_insert_attempts_total",
            "plaudit_sink_lag_records",
            "plaudit_sink_lag_seconds",
            "plaudit_sink_dead_letters_total",
        ];
        has(&sink.observe, &sink_names).await?;
        let samples = scrape(&sink.observe).await?;
        for outcome in ["stored", "duplicate", "dead_lettered", "expired", "pending"] {
            let name = format!("plaudit_sink_events_total{{outcome=\"{outcome}\"}}");
            assert!(samples.contains(&(name.clone(), 0.0)), "{name}");
        }

        let items: Value = (0..30)
            .map(|n| json!({"trace_id": format!("t-{n}"), "metric": "m", "value": n}))
            .collect();
        let answer = intake.api.feedback(&items).await?;
        assert_eq!(answer.states(), vec!["visible"; 30], "{}", answer.text);

        has(&intake.observe, &["plaudit_intake_ack_seconds"]).await?;
        let samples = scrape(&intake.observe).await?;
        let accepted = "plaudit_intake_events_total{dialect=\"native\",outcome=\"accepted\"}";
        assert!(
            (sum(&samples, accepted) - 30.0).abs() < f64::EPSILON,
            "{samples:?}"
        );
        assert!(
            sum(&samples, "plaudit_intake_ack_seconds_bucket") > 0.0,
            "histograms have buckets"
        );
        let seconds = [
            "plaudit_sink_batch_rows",
            "plaudit_sink_insert_seconds",
            "plaudit_sink_visible_seconds",
        ];
        has(&sink.observe, &seconds).await?;
        wait_until("the sink to count 30 stored", async || {
            let stored = sum(
                &scrape(&sink.observe).await?,
                "plaudit_sink_events_total{outcome=\"stored\"}",
            );
            Ok((stored - 30.0).abs() < f64::EPSILON)
        })
        .await?;
        let samples = scrape(&sink.observe).await?;
        let records = sum(&samples, "plaudit_sink_records_total");
        let ended = sum(&samples, "plaudit_sink_events_total")
            + sum(&samples, "plaudit_sink_skipped_records_total");
        assert!((records - ended).abs() < f64::EPSILON, "{samples:?}");

        // SIGTERM drains; the logs are JSON, a line each, without an ERROR.
        for process in [intake, sink, query] {
            let log = process.stop().await?;
            for line in log.lines() {
                let line: Value = serde_json::from_str(line)?;
                assert_ne!(line["level"], "ERROR", "{line}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_hangup_makes_the_intake_read_its_metrics_again() -> Result<()> {
    let options = Options::default();
    run(options, async |stack| {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("metrics.toml");
        std::fs::write(&file, "[metrics.stars]\ntype = \"integer\"\nmax = 5\n")?;
        let mut settings = stack.settings();
        settings.push(("metrics.file", file.display().to_string()));
        let intake = Process::start("intake", &settings).await?;
        let stars = json!({"trace_id": "t", "metric": "stars", "value": 6});
        assert_eq!(intake.api.post("/v1/feedback", &stars).await?.status, 400);
        std::fs::write(&file, "[metrics.stars]\ntype = \"integer\"\nmax = 6\n")?;
        intake.signal(Signal::SIGHUP)?;
        wait_until("the new range to hold", async || {
            Ok(intake.api.post("/v1/feedback", &stars).await?.status == 200)
        })
        .await?;
        intake.stop().await?;
        Ok(())
    })
}

#[test]
fn a_service_that_cannot_start_says_why_in_one_line() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let directory = tempfile::tempdir()?;
        for (arguments, word) in [
            (&["intake"][..], "auth.keys_file"),
            (
                &["intake", "--set", "intake.listen=nowhere"][..],
                "intake.listen",
            ),
            (
                &["sink", "--set", "sink.batch.max_rows=0"][..],
                "sink.batch.max_rows",
            ),
            (&["query", "--set", "query.nonsense=1"][..], "nonsense"),
            (
                &[
                    "intake",
                    "--set",
                    "auth.mode=open",
                    "--set",
                    "intake.listen=0.0.0.0:0",
                ][..],
                "loopback",
            ),
        ] {
            let output = command(directory.path(), arguments).await?;
            let text = String::from_utf8(output.stderr)?;
            assert!(!output.status.success(), "{arguments:?}");
            assert!(text.contains(word), "{arguments:?}: {text}");
        }
        Ok(())
    })
}

#[test]
fn migrate_makes_topics_and_tables_and_can_be_repeated() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let directory = tempfile::tempdir()?;
        let (name, settings) = own_names();
        let backend = support::backend();
        let mut arguments = vec!["migrate".to_owned()];
        let addresses = [
            ("kafka.brokers", backend.brokers.clone()),
            ("clickhouse.url", backend.clickhouse_url.clone()),
        ];
        for (key, value) in settings.iter().chain(&addresses) {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let first = command(directory.path(), &arguments).await?;
        let said = String::from_utf8(first.stderr)?;
        assert!(
            first.status.success() && said.contains(&format!("made topic {name} (3 partitions)")),
            "{said}"
        );
        let second = command(directory.path(), &arguments).await?;
        assert!(second.status.success());
        assert_eq!(
            String::from_utf8(second.stderr)?,
            "",
            "nothing is left to do"
        );
        Ok(())
    })
}
