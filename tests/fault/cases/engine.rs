//! ClickHouse that does not answer, or says no.

use std::time::Duration;

use anyhow::{Result, ensure};
use plaudit_event::Outcome;
use support::Proxy;

use super::{Case, case};
use crate::scene::{Form, Options, Row, Scene, Stage};
use crate::tap::{Point, Tap};

pub(super) const CASES: &[Case] = &[
    case!(
        "insert-answer-cut",
        answer_cut,
        "the answer to an insert is lost after the server has the rows, again and again"
    ),
    case!(
        "clickhouse-away",
        away,
        "ClickHouse away for longer than every timeout: first refused, then without a word"
    ),
    case!(
        "poison",
        poison,
        "one row in a thousand breaks a constraint of the table"
    ),
];

async fn answer_cut(stage: &mut Stage) -> Result<Row> {
    let tap = Tap::start(stage.site.clickhouse_address).await?;
    let options = Options {
        sink_clickhouse_url: Some(tap.url()),
        ..Options::default()
    };
    let mut scene = Scene::set(stage, options).await?;
    let insert = format!("INSERT INTO {}.", scene.database.name());
    for _ in 0..scene.form.pick(10, 12) {
        let caught = tap.trap(Point::After, &[&insert]).caught().await?;
        drop(caught);
    }
    scene.fault_ended();
    scene.judge().await
}

async fn away(stage: &mut Stage) -> Result<Row> {
    let proxy = Proxy::start(&stage.site.clickhouse_address.to_string()).await?;
    let options = Options {
        sinks: 2,
        sink_clickhouse_url: Some(format!("http://{}", proxy.address())),
        ..Options::default()
    }
    .with("clickhouse.timeout", "1s")
    .with("kafka.properties.max.poll.interval.ms", 4000)
    .with("sink.drain", "3s");
    let mut scene = Scene::set(stage, options).await?;
    scene.go_on(Duration::from_secs(1)).await;
    proxy.cut();
    scene.go_on(scene.form.seconds(5, 10)).await;
    proxy.freeze();
    scene.go_on(scene.form.seconds(5, 10)).await;
    proxy.mend();
    scene.fault_ended();
    scene.judge().await
}

/// Ids whose last three digits are below 4: one in 1024.
async fn poison(stage: &mut Stage) -> Result<Row> {
    // Each poisonous row costs a dozen inserts before it stands alone.
    let options = Options {
        rate: 500.0,
        ..Options::default()
    };
    let mut scene = Scene::set_silent(stage, options).await?;
    let poison = "ALTER TABLE {db}.feedback ADD CONSTRAINT poison CHECK \
                  NOT startsWith(trace_id, 'trace-') OR substring(toString(id), 34) >= '004'";
    scene.database.execute(poison).await?;
    scene.begin()?;
    scene.go_on(scene.form.seconds(4, 15)).await;
    scene.fault_ended();
    let is_poison = |id: uuid::Uuid| id.as_u128() & 0xfff < 4;
    let form = scene.form;
    let row = scene
        .judge_with(&|id, _| is_poison(id).then_some(Outcome::DeadLettered))
        .await?;
    // In the short form there may be none by chance.
    ensure!(
        form == Form::Short || row.line.count.dead > 0,
        "nothing was poisonous"
    );
    Ok(row)
}
