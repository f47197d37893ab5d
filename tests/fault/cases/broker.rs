//! The way to the broker: cut, silent, slow, without answers; and a record it refuses.
//!
//! An intake must answer within its time and say when to ask again, keep its memory, and
//! acknowledge nothing that is not durable.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use support::Api;
use support::{Proxy, wait_until};

use super::{Case, case};
use crate::scene::{Options, Row, Scene, Stage};

pub(super) const CASES: &[Case] = &[
    case!(
        "broker-away",
        away,
        "nobody listens where the broker was, while more is sent than the intake may hold"
    ),
    case!(
        "broker-silent",
        silent,
        "the network to the broker loses everything, for longer than a request may take"
    ),
    case!(
        "broker-slow",
        slow,
        "each piece to and from the broker takes 300 ms more"
    ),
    case!(
        "broker-answer-lost",
        answers_lost,
        "the broker writes, and its answers are lost"
    ),
    case!(
        "message-too-large",
        too_large,
        "the topic takes smaller records than the intake: one that is too large is refused"
    ),
];

const QUEUE_FULL: &str = r#"plaudit_intake_kafka_errors_total{code="queue_full"}"#;

async fn away(stage: &mut Stage) -> Result<Row> {
    let mut scene = Scene::set(stage, Options::default()).await?;
    scene.go_on(Duration::from_secs(1)).await;
    let watch = scene.watch()?;
    scene.site.kafka.proxy.cut();
    let flood = scene.flood()?;
    wait_until("the producer's queue to be full", async || {
        Ok(scene.intake(0)?.metric(QUEUE_FULL).await? > 0.0)
    })
    .await?;
    scene.go_on(scene.form.seconds(1, 12)).await;
    let refused = scene.intake(0)?.metric(QUEUE_FULL).await?;
    scene.note(format!("{refused} records found the queue full"));
    // What is in the queue by now is to be written, or given up.
    flood.stop();
    scene.site.kafka.proxy.mend();
    scene.fault_ended();
    scene.recovered().await?;
    let poured = flood.end().await?;
    poured.judge()?;
    scene.note(poured.to_string());
    // In the short form what is small still finds room, and is written in time.
    let must_refuse = scene.form.pick(false, true);
    scene.judge_watched(watch, must_refuse).await
}

async fn silent(stage: &mut Stage) -> Result<Row> {
    trouble(stage, Proxy::freeze, (6, 12), true).await
}

async fn slow(stage: &mut Stage) -> Result<Row> {
    let slow = |proxy: &Proxy| proxy.slow_down(Duration::from_millis(300));
    trouble(stage, slow, (4, 10), false).await
}

async fn answers_lost(stage: &mut Stage) -> Result<Row> {
    let row = trouble(stage, Proxy::lose_answers_to_writes, (6, 12), true).await?;
    let written = row.line.count.unacknowledged;
    ensure!(written > 0, "nothing was written without an answer");
    Ok(row.with(format!("{written} stored without an answer")))
}

/// Something is wrong with the way to the broker for so many seconds.
async fn trouble(
    stage: &mut Stage,
    harm: impl Fn(&Proxy),
    seconds: (u64, u64),
    must_refuse: bool,
) -> Result<Row> {
    // The short form has no time for the usual 7 s and 8 s.
    let (write, answer) = stage.form.pick((3, 4), (7, 8));
    let options = Options {
        http_timeout: Duration::from_secs(answer),
        ..Options::default()
    }
    .with("kafka.properties.message.timeout.ms", write * 1000);
    let mut scene = Scene::set(stage, options).await?;
    scene.go_on(Duration::from_secs(1)).await;
    let watch = scene.watch()?;
    harm(&scene.site.kafka.proxy);
    scene.go_on(scene.form.seconds(seconds.0, seconds.1)).await;
    scene.site.kafka.proxy.mend();
    scene.fault_ended();
    scene.judge_watched(watch, must_refuse).await
}

async fn too_large(stage: &mut Stage) -> Result<Row> {
    // What the producer puts together must fit as well.
    let options = Options::default().with("kafka.properties.batch.size", 20_000);
    let mut scene = Scene::set_silent(stage, options).await?;
    scene.set_of_topic("max.message.bytes", "30000").await?;
    scene.begin()?;
    scene.go_on(Duration::from_secs(1)).await;
    let watch = scene.watch()?;
    let api = Api::new(scene.intake_url(0)?);
    // Nothing that compression would make fit.
    let mut long = String::new();
    while long.len() < 50_000 {
        long += &format!("{:016x}", scene.random.next());
    }
    for _ in 0..scene.form.pick(5, 50) {
        let item = |comment: &str| json!({"trace_id": "large", "metric": "m", "comment": comment});
        let items = json!([item("short"), item(&long), item("short too")]);
        let answer = api.post("/v1/feedback", &items).await?;
        let says: Vec<&str> = (0..3)
            .map(|index| {
                let status = answer.at(&format!("/items/{index}/status")).as_str();
                status.unwrap_or("nothing")
            })
            .collect();
        ensure!(
            says == ["accepted", "rejected", "accepted"],
            "{}: {says:?}",
            answer.status
        );
        let code = answer.at("/items/1/error/code").as_str();
        scene.note_once(format!("refused as {}", code.context("no code")?));
    }
    scene.fault_ended();
    scene.judge_watched(watch, false).await
}
