//! The end of a service that has clients: SIGTERM to the built binary.

use anyhow::Result;
use nix::sys::signal::Signal;
use support::{Options, Process, run, wait_until};
use tokio::net::TcpListener;

const GOOD: &str = r#"{"trace_id":"t","metric":"m","value":true}"#;

fn post(path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    )
}

async fn ready(process: &Process) -> Result<u16> {
    Ok(process.observe.get("/readyz").await?.status)
}

async fn under_way(intake: &Process, requests: f64) -> Result<()> {
    wait_until("the request to be under way", async || {
        let open = intake.metric("plaudit_intake_open_requests").await?;
        Ok((open - requests).abs() < f64::EPSILON)
    })
    .await
}

#[test]
fn p1_who_drains_says_so_answers_what_is_under_way_and_ends_well() -> Result<()> {
    run(Options::default(), async |stack| {
        let mut settings = stack.settings();
        // The test is what ends the wait.
        settings.push(("intake.limits.body_timeout", "10m".to_owned()));
        let mut intake = Process::start("intake", &settings).await?;
        let mut idle = intake.connect().await?;
        idle.send(post("/v1/feedback")).await?;
        assert!(idle.answer().await?.starts_with("HTTP/1.1 200 "));
        let mut busy = intake.connect().await?;
        let request = post("/v1/feedback");
        let (most, last) = request.split_at(request.len() - 1);
        busy.send(most).await?;
        under_way(&intake, 1.0).await?;
        assert_eq!(ready(&intake).await?, 200);

        intake.signal(Signal::SIGTERM)?;
        wait_until("it to say that it is not ready", async || {
            Ok(ready(&intake).await? == 503)
        })
        .await?;
        // Who is idle is let go, who is new is not let in, who probes is answered.
        assert_eq!(idle.rest().await?, "");
        wait_until("the listener to close", async || {
            Ok(intake.connect().await.is_err())
        })
        .await?;
        assert_eq!(intake.observe.get("/healthz").await?.status, 200);
        assert_eq!(ready(&intake).await?, 503);
        busy.send(last).await?;
        let answer = busy.rest().await?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(intake.ended().await?, Some(0));
        let log = intake.log()?;
        assert!(!log.contains("\"ERROR\""), "{log}");
        let stored = stack.settled().await?;
        assert_eq!(stored.len(), 2);
        Ok(())
    })
}

#[test]
fn p1_who_waits_for_kafka_is_answered_before_the_end() -> Result<()> {
    run(Options::default(), async |stack| {
        let mut settings = stack.settings();
        settings.push(("kafka.properties.linger.ms", "2000".to_owned()));
        let intake = Process::start("intake", &settings).await?;
        let mut wires = Vec::new();
        for _ in 0..10 {
            let mut wire = intake.connect().await?;
            wire.send(post("/v1/feedback")).await?;
            wires.push(wire);
        }
        under_way(&intake, 10.0).await?;
        // A client that is gone leaves its event behind, to be flushed.
        drop(wires.pop());
        let stopping = intake.stop();
        let answers = async {
            for wire in &mut wires {
                let answer = wire.rest().await?;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
            anyhow::Ok(())
        };
        tokio::try_join!(stopping, answers)?;
        assert_eq!(stack.settled().await?.len(), 10);
        Ok(())
    })
}

#[test]
fn p1_who_waits_until_it_is_visible_is_told_what_is_known() -> Result<()> {
    run(Options::default(), async |stack| {
        // Takes the question and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").await?;
        let mut settings = stack.settings();
        settings.push((
            "intake.query_url",
            format!("http://{}", silent.local_addr()?),
        ));
        let intake = Process::start("intake", &settings).await?;
        let mut wire = intake.connect().await?;
        wire.send(post("/v1/feedback?wait=visible&timeout_ms=30000"))
            .await?;
        let (_asked, _) = silent.accept().await?;
        let (log, answer) = tokio::try_join!(intake.stop(), wire.rest())?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(r#""state":"pending""#), "{answer}");
        assert!(!log.contains("cut connections"), "{log}");
        stack.settled().await.map(drop)
    })
}

#[test]
fn a_second_signal_ends_it_at_once() -> Result<()> {
    run(Options::default(), async |stack| {
        let mut settings = stack.settings();
        settings.push(("intake.limits.body_timeout", "10m".to_owned()));
        let mut intake = Process::start("intake", &settings).await?;
        let mut wire = intake.connect().await?;
        let request = post("/v1/feedback");
        let (most, _) = request.split_at(request.len() - 1);
        wire.send(most).await?;
        under_way(&intake, 1.0).await?;
        intake.signal(Signal::SIGTERM)?;
        wait_until("it to drain", async || Ok(ready(&intake).await? == 503)).await?;
        intake.signal(Signal::SIGTERM)?;
        assert_eq!(intake.ended().await?, Some(130));
        Ok(())
    })
}
