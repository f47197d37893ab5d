//! Clients that mean harm or know no better: what they cost, and that the others are
//! served.

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use support::{Options, Process, Stack, Wire, run, wait_until};
use tokio::task::JoinSet;

const GOOD: &str = r#"{"trace_id":"t","metric":"m","value":true}"#;

/// A request with a body, or the beginning of one.
fn post(headers: &str, length: usize, body: &str) -> String {
    format!(
        "POST /v1/feedback HTTP/1.1\r\nhost: h\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

fn good() -> String {
    post("", GOOD.len(), GOOD)
}

async fn intake(stack: &Stack, settings: &[(&'static str, &str)]) -> Result<Process> {
    let mut all = stack.settings();
    let own = settings
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()));
    all.extend(own);
    Process::start("intake", &all).await
}

/// Waits until nothing of any request is held.
async fn empty(intake: &Process) -> Result<()> {
    let mut held = Vec::new();
    let emptied = wait_until("nothing to be under way", async || {
        held.clear();
        for name in [
            "plaudit_intake_open_requests",
            "plaudit_intake_buffered_bytes",
            "plaudit_intake_producer_queue_records",
            "plaudit_intake_connections",
        ] {
            let value = intake.metric(name).await?;
            if value > 0.0 {
                held.push((name, value));
            }
        }
        Ok(held.is_empty())
    });
    let emptied = emptied.await;
    emptied.with_context(|| format!("{held:?}"))
}

async fn is_served(intake: &Process) -> Result<()> {
    let event: Value = serde_json::from_str(GOOD)?;
    let answer = intake.api.post("/v1/feedback", &event).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Ok(())
}

/// A connection that has been used, and stays.
async fn idle(base: String) -> Result<Wire> {
    let mut wire = Wire::connect(&base).await?;
    wire.send("GET /info HTTP/1.1\r\nhost: h\r\n\r\n").await?;
    wire.answer().await?;
    Ok(wire)
}

#[test]
fn p5_ten_thousand_idle_connections_cost_little_and_a_fresh_client_is_served() -> Result<()> {
    const IDLE: usize = 10_000;
    // What each may cost: what is read and written, and what the system is told.
    const EACH: u64 = 24 << 10;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    run(Options::default(), async |stack| {
        let intake = intake(stack, &[("intake.connections.header_timeout", "10m")]).await?;
        is_served(&intake).await?;
        let before = intake.resident_bytes()?;
        let mut waiting = Vec::with_capacity(IDLE);
        let mut opening = JoinSet::new();
        for _ in 0..IDLE {
            opening.spawn(idle(intake.api.base().to_owned()));
            // Fewer than a listener lets wait.
            if opening.len() == 100 {
                waiting.push(opening.join_next().await.context("none")???);
            }
        }
        while let Some(opened) = opening.join_next().await {
            waiting.push(opened??);
        }
        let grown = intake.resident_bytes()?.saturating_sub(before);
        println!("{IDLE} idle connections: {} KiB", grown >> 10);
        assert!(grown < EACH * u64::try_from(IDLE)?, "{} KiB", grown >> 10);
        is_served(&intake).await?;
        // Each can be used still.
        let last = waiting.last_mut().context("none")?;
        last.send(good()).await?;
        assert!(last.answer().await?.starts_with("HTTP/1.1 200 "));
        drop(waiting);
        empty(&intake).await?;
        intake.stop().await.map(drop)
    })
}

#[test]
fn p5_one_connection_too_many_is_answered_503() -> Result<()> {
    run(Options::default(), async |stack| {
        let intake = intake(stack, &[("intake.connections.max", "2")]).await?;
        let mut kept = Vec::new();
        for _ in 0..2 {
            kept.push(idle(intake.api.base().to_owned()).await?);
        }
        let mut wire = intake.connect().await?;
        wire.send(good()).await?;
        let answer = wire.rest().await?;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        assert!(answer.contains(r#""code":"unavailable""#), "{answer}");
        for wire in &mut kept {
            wire.send(good()).await?;
            assert!(wire.answer().await?.starts_with("HTTP/1.1 200 "));
        }
        drop(kept);
        empty(&intake).await?;
        is_served(&intake).await?;
        intake.stop().await.map(drop)
    })
}

#[test]
fn p5_who_sends_slowly_is_cut_and_nobody_else_waits() -> Result<()> {
    run(Options::default(), async |stack| {
        let settings = [
            ("intake.connections.header_timeout", "500ms"),
            ("intake.limits.body_timeout", "500ms"),
        ];
        let intake = intake(stack, &settings).await?;
        let mut slow = Vec::new();
        for number in 0..200 {
            let mut wire = intake.connect().await?;
            let request = post("", 100, "{");
            // Half of them in the headers, half in the body.
            let until = if number % 2 == 0 { 30 } else { request.len() };
            wire.send(request.split_at(until).0).await?;
            slow.push((wire, number % 2 == 0));
        }
        is_served(&intake).await?;
        for (mut wire, in_headers) in slow {
            if in_headers {
                wire.closed().await?;
                continue;
            }
            let answer = wire.answer().await?;
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert!(answer.contains("body_timeout"), "{answer}");
        }
        empty(&intake).await?;
        intake.stop().await.map(drop)
    })
}

#[test]
fn p5_what_is_too_large_is_refused_by_the_word_for_it() -> Result<()> {
    run(Options::default(), async |stack| {
        let intake = intake(stack, &[("intake.limits.body_bytes", "1000")]).await?;
        let header = format!("a: {}\r\n", "x".repeat(64 << 10));
        let long = format!(
            "GET /v1/{} HTTP/1.1\r\nhost: h\r\n\r\n",
            "x".repeat(100_000)
        );
        for (request, status) in [
            (post(&header, GOOD.len(), GOOD), "431"),
            (long, "431"),
            (post("", 1 << 20, &" ".repeat(1 << 20)), "413"),
        ] {
            let mut wire = intake.connect().await?;
            wire.send(&request).await?;
            let answer = wire.rest().await?;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            assert!(answer.contains("connection: close\r\n"), "{answer}");
        }
        // A client that keeps its connections learns that this one is gone.
        let pooled = support::http_client();
        let url = format!("{}/v1/feedback", intake.api.base());
        for _ in 0..20 {
            let large = pooled.post(&url).body(" ".repeat(1 << 20)).send().await?;
            assert_eq!(large.status(), 413);
            assert_eq!(pooled.post(&url).body(GOOD).send().await?.status(), 200);
        }
        drop(pooled);
        empty(&intake).await?;
        intake.stop().await.map(drop)
    })
}

#[test]
fn p1_a_client_gone_in_mid_request_costs_nothing() -> Result<()> {
    run(Options::default(), async |stack| {
        // Slow to confirm, so that clients are gone before.
        let settings = [("kafka.properties.linger.ms", "1500")];
        let intake = intake(stack, &settings).await?;
        let mut wires = Vec::new();
        for _ in 0..20 {
            let mut wire = intake.connect().await?;
            wire.send(good()).await?;
            wires.push(wire);
            let mut wire = intake.connect().await?;
            wire.send(post("", 10_000, &" ".repeat(5000))).await?;
            wires.push(wire);
        }
        wait_until("all to be under way", async || {
            Ok(intake.metric("plaudit_intake_open_requests").await? == 40.0)
        })
        .await?;
        assert!(intake.metric("plaudit_intake_buffered_bytes").await? >= 100_000.0);
        drop(wires);
        empty(&intake).await?;
        is_served(&intake).await?;
        // What was published stays.
        let stored = stack.settled().await?;
        assert_eq!(stored.len(), 21);
        intake.stop().await.map(drop)
    })
}

#[test]
fn pipelined_requests_are_answered_in_their_order() -> Result<()> {
    run(Options::default(), async |stack| {
        let intake = intake(stack, &[]).await?;
        let mut wire = intake.connect().await?;
        let bad = post("", 1, "{");
        let half = good();
        let (first, second) = half.split_at(60);
        wire.send([&good(), &bad, &good(), first].concat()).await?;
        for status in ["200", "400", "200"] {
            let answer = wire.answer().await?;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
        wire.send(second).await?;
        assert!(wire.answer().await?.starts_with("HTTP/1.1 200 "));
        intake.stop().await.map(drop)
    })
}

#[test]
fn p6_an_event_that_the_broker_finds_too_large_is_rejected_alone() -> Result<()> {
    let options = Options {
        partitions: 1,
        ..Options::default()
    };
    run(options, async |stack| {
        stack.limit_batches(20_000).await?;
        // Noise, as what is compressed may be small.
        let noise = |length: usize| -> String {
            let ids = std::iter::repeat_with(|| uuid::Uuid::now_v7().simple().to_string());
            ids.flat_map(|id| id.into_bytes())
                .take(length)
                .map(char::from)
                .collect()
        };
        let item = |length| json!({"trace_id": "t", "metric": "m", "comment": noise(length)});
        // Together more than the broker takes at once.
        let mut items: Vec<_> = (0..20).map(|_| item(2000)).collect();
        items.insert(7, item(60_000));
        let statuses = |answer: &support::Answer| -> Vec<bool> {
            let items = answer.at("/items").as_array().cloned().unwrap_or_default();
            items
                .iter()
                .map(|item| item["status"] == "accepted")
                .collect()
        };
        let expected: Vec<_> = (0..21).map(|index| index != 7).collect();
        for _ in 0..3 {
            let answer = stack.api.post("/v1/feedback", &json!(items)).await?;
            assert_eq!(answer.status, 207, "{}", answer.text);
            assert_eq!(statuses(&answer), expected, "{}", answer.text);
            assert_eq!(answer.at("/items/7/error/code"), "too_long");
        }
        // Alone it is refused as it would be in company, and for good.
        let answer = stack.api.post("/v1/feedback", &item(60_000)).await?;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.at("/items/0/error/code"), "too_long");
        // Requests of others that met it in a batch are none the worse.
        let mut senders = JoinSet::new();
        for number in 0..40 {
            let (api, item) = (
                stack.api.clone(),
                item(if number % 4 == 0 { 60_000 } else { 2000 }),
            );
            senders.spawn(async move {
                let answer = api.post("/v1/feedback", &item).await?;
                anyhow::Ok((number, answer.status))
            });
        }
        while let Some(sent) = senders.join_next().await {
            let (number, status) = sent??;
            assert_eq!(status, if number % 4 == 0 { 400 } else { 200 }, "{number}");
        }
        let stored = stack.settled().await?;
        assert_eq!(stored.len(), 60 + 30);
        Ok(())
    })
}

#[test]
fn p5_the_query_service_and_the_probes_are_bounded_too() -> Result<()> {
    run(Options::default(), async |stack| {
        let mut settings = stack.settings();
        settings.extend([
            ("query.connections.max", "2".to_owned()),
            ("query.connections.header_timeout", "500ms".to_owned()),
        ]);
        let query = Process::start("query", &settings).await?;
        let mut slow = Vec::new();
        for _ in 0..2 {
            let mut wire = query.connect().await?;
            wire.send("GET /openapi.json HT").await?;
            slow.push(wire);
        }
        wait_until("both to be counted", async || {
            Ok(query.metric("plaudit_query_connections").await? == 2.0)
        })
        .await?;
        let mut third = query.connect().await?;
        third
            .send("GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n")
            .await?;
        assert!(third.rest().await?.starts_with("HTTP/1.1 503 "));
        for mut wire in slow {
            wire.closed().await?;
        }
        wait_until("a place to be free", async || {
            Ok(query.api.get("/openapi.json").await?.status == 200)
        })
        .await?;
        // Who asks half a question of the probes does not hold up the end.
        let mut prober = Wire::connect(query.observe.base()).await?;
        prober.send("GET /readyz HT").await?;
        wait_until("it to be taken", async || {
            Ok(query.observe.get("/readyz").await?.status == 200)
        })
        .await?;
        query.stop().await.map(drop)
    })
}
