//! One process without Kafka does the same.

use anyhow::Result;
use serde_json::{Value, json};
use support::{Api, Database, Options, Process, run};

/// Requests of both dialects: puts, a new version, a patch, a retraction, a bad item.
async fn send_everything(api: &Api) -> Result<Vec<u16>> {
    let id = |n: u8| format!("00000000-0000-4000-8000-0000000000{n:02}");
    let put = |n: u8, value: Value| {
        json!({"id": id(n), "trace_id": format!("t-{}", n % 3), "metric": format!("m-{n}"), "value": value,
            "comment": "c", "rater": "ada", "tags": {"env": "prod"}, "weight": 0.5})
    };
    let requests = [
        (
            "/v1/feedback",
            json!([
                put(1, json!(true)),
                put(2, json!(3)),
                put(3, json!("good")),
                put(4, json!([1]))
            ]),
        ),
        ("/v1/feedback", put(1, json!(false))),
        (
            "/v1/feedback",
            json!({"operation": "patch", "id": id(2), "comment": "patched", "score": 0.25}),
        ),
        ("/v1/feedback", json!({"operation": "retract", "id": id(3)})),
        (
            "/v1/feedback",
            json!([put(5, json!(1.5)), {"trace_id": "t"}]),
        ),
        (
            "/portkey/v1/feedback",
            json!({"trace_id": "t-p", "value": 7, "metadata": {"_user": "bob"}}),
        ),
    ];
    let mut statuses = Vec::new();
    for (path, body) in requests {
        // Not by one batch: a later one may not come before.
        let path = match path {
            "/v1/feedback" => "/v1/feedback?wait=visible&timeout_ms=30000",
            other => other,
        };
        statuses.push(api.post(path, &body).await?.status);
    }
    Ok(statuses)
}

/// What does not say when and by which way it came.
async fn rows(database: &Database) -> Result<Vec<Value>> {
    let sql = "SELECT * EXCEPT (id, version, created_at, received_at, topic, partition, offset) \
               FROM {db}.feedback_current ORDER BY metric, trace_id";
    database.rows(sql).await
}

#[test]
fn p8_standalone_stores_the_same_rows_for_the_same_requests() -> Result<()> {
    run(Options::default(), async |stack| {
        let settings = [
            ("auth.mode", "open".to_owned()),
            ("clickhouse.database", "alone".to_owned()),
        ];
        let standalone = Process::start("standalone", &settings).await?;
        let statuses = send_everything(&standalone.api).await?;
        assert_eq!(statuses, [200, 200, 200, 200, 207, 200]);
        assert_eq!(statuses, send_everything(&stack.api).await?);
        stack.settled().await?;
        let database = standalone.database("alone");
        let own = rows(&database).await?;
        assert_eq!(own.len(), 5, "{own:#?}");
        assert_eq!(own, rows(&stack.db).await?);

        // An answer means committed: the ledger has every record, without a gap.
        let sql = "SELECT uniqExact(arrayJoin(range(toUInt64(first), toUInt64(last) + 1))) FROM {db}.ledger";
        let count = database.number(sql).await?;
        assert_eq!(count, 9);
        assert_eq!(
            database
                .number("SELECT max(last) + 1 FROM {db}.ledger")
                .await?,
            count
        );
        let receipt = standalone.api.get("/v1/receipts/standalone:0:0").await?;
        assert_eq!(receipt.at("/state"), "visible", "{}", receipt.text);
        // A connection to the engine that is idle keeps it from nothing.
        let log = standalone.stop().await?;
        assert!(!log.contains("\"ERROR\""), "{log}");
        drop(database);
        Ok(())
    })
}
