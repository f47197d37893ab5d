//! Intake, engine and query in one process: an answer means committed in ClickHouse.

use crate::Bench;
use crate::feed::Width;

use super::http::{Load, Subject, in_turns};
use super::requests::Requests;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    // It has an engine of its own, and a topic that it does not use.
    let space = bench.stage.space(1).await?;
    let server = bench.stage.service("standalone", &space, &[]).await?;
    for (subject, events, load) in [
        (
            "single",
            1,
            Load {
                connections: 64,
                rate: 200.0,
            },
        ),
        (
            "100 a request",
            100,
            Load {
                connections: 16,
                rate: 50.0,
            },
        ),
    ] {
        let subjects = [Subject {
            name: subject,
            server: &server,
            requests: Requests::native(&bench.stage.key, events, Width::Narrow),
        }];
        for numbers in in_turns(bench, &subjects, load).await? {
            bench.report.line("standalone", subject, numbers);
        }
    }
    server.stop().await
}
