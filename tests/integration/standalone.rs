//! One process without Kafka does the same.

use std::cell::Cell;

use anyhow::{Context, Result, anyhow};
use plaudit_event::{Event, Micros, Operation, RowVersion, codec};
use plaudit_service::Readiness;
use plaudit_sink::{LocalRecord, LocalSink, SinkConfig, SinkError};
use plaudit_store::{ClickhouseConfig, Store};
use serde_json::{Value, json};
use support::{Api, Database, Options, Process, backend, run, unique_name, wait_until};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::events;

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

/// The sink of a standalone, in this process.
struct Alone {
    sink: LocalSink,
    commits: JoinSet<Result<(), SinkError>>,
    stop: CancellationToken,
}

impl Alone {
    async fn open(store: &Store) -> Result<Self> {
        let (stop, mut commits) = (CancellationToken::new(), JoinSet::new());
        let (config, readiness) = (SinkConfig::default(), Readiness::default());
        let (sink, running) =
            LocalSink::open(config, store.clone(), readiness, stop.clone()).await?;
        commits.spawn(running);
        Ok(Self {
            sink,
            commits,
            stop,
        })
    }

    async fn close(mut self) -> Result<()> {
        self.stop.cancel();
        let ended = self.commits.join_next().await;
        Ok(ended.context("it was started")???)
    }
}

/// Publishes an event; returns its offset once it is stored.
async fn publish(sink: &LocalSink, event: &Event<'_>) -> Result<i64> {
    let mut payload = Vec::new();
    codec::encode(event, &mut payload);
    let key = b"trace".to_vec();
    let stored = sink.publish(vec![LocalRecord { key, payload }]).await?;
    let stored = stored.first().context("one record")?;
    stored.map_err(|refused| anyhow!("{refused:?}"))
}

/// Runs a test with a database that nobody else uses.
fn with_database(test: impl AsyncFnOnce(&Store, &Database) -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = ClickhouseConfig {
            url: backend().clickhouse_url.clone(),
            database: unique_name(),
            ..ClickhouseConfig::default()
        };
        let database = Database::new(&config.url, &config.database);
        let store = Store::new(config)?;
        store.migrate().await?;
        test(&store, &database).await?;
        database.execute("DROP DATABASE {db} SYNC").await?;
        Ok(())
    })
}

async fn outcome_of(database: &Database, offset: i64) -> Result<String> {
    let sql = format!(
        "SELECT toString(max(outcome)) FROM {{db}}.ledger WHERE first <= {offset} AND last >= {offset}"
    );
    Ok(database.execute(&sql).await?.trim().to_owned())
}

#[test]
fn p4_a_put_that_a_crash_left_without_its_fold_gets_the_changes_from_before() -> Result<()> {
    with_database(async |store, database| {
        let (now, id) = (events::now(), Uuid::now_v7());
        let earlier = |seconds: i64| Micros(now.0 - seconds * 1_000_000);
        let alone = Alone::open(store).await?;
        let put = Operation::Put(events::feedback(id, "trace", 1));
        publish(&alone.sink, &events::at(earlier(9), put)).await?;
        let patch = events::at(now, events::comment(id, "patched"));
        let patched = publish(&alone.sink, &patch).await?;
        alone.close().await?;

        // A second put, between the two, and a patch: killed before it folds and ledgers.
        let between = RowVersion::new(earlier(5), 0).as_column();
        let cut_short = [
            format!(
                "INSERT INTO {{db}}.feedback SELECT * REPLACE ({between} AS version, '2' AS value,
                    '' AS comment, 7 AS offset) FROM {{db}}.feedback LIMIT 1"
            ),
            "INSERT INTO {db}.changes SELECT * REPLACE (8 AS offset) FROM {db}.changes".to_owned(),
        ];
        for insert in &cut_short {
            database.execute(insert).await?;
        }
        let seen = async || {
            let rows = database.current().await?;
            let text = |name: &str| rows[0][name].as_str().unwrap_or_default().to_owned();
            anyhow::Ok((rows.len(), text("value"), text("comment")))
        };
        assert_eq!(seen().await?, (1, "2".to_owned(), String::new()));

        let alone = Alone::open(store).await?;
        wait_until("the put to be folded", async || {
            Ok(seen().await? == (1, "2".to_owned(), "patched".to_owned()))
        })
        .await?;
        wait_until("all to have an outcome", async || {
            Ok(outcome_of(database, 7).await? == "stored"
                && outcome_of(database, 8).await? == "stored")
        })
        .await?;
        let next = publish(&alone.sink, &events::put("trace", 3)).await?;
        assert_eq!((patched, next), (1, 9));
        // Between the two lives there is nothing.
        let sql = "SELECT count() FROM {db}.ledger WHERE first <= 6 AND last >= 2";
        assert_eq!(database.number(sql).await?, 0);
        alone.close().await
    })
}

#[test]
fn p2_what_waits_for_its_feedback_ends_also_while_there_is_always_a_request() -> Result<()> {
    with_database(async |store, database| {
        let alone = Alone::open(store).await?;
        let (sink, id) = (&alone.sink, Uuid::now_v7());
        let patch = events::event(events::comment(id, "early"));
        let waiting = publish(sink, &patch).await?;
        assert_eq!(outcome_of(database, waiting).await?, "pending");

        // While some are written, others wait.
        let ended = Cell::new(false);
        let send = async || {
            while !ended.get() {
                publish(sink, &events::put("trace", 2)).await?;
            }
            anyhow::Ok(())
        };
        let look = async {
            let put = Operation::Put(events::feedback(id, "trace", 1));
            publish(sink, &events::event(put)).await?;
            let what = "the patch to end";
            let stored = async || anyhow::Ok(outcome_of(database, waiting).await? == "stored");
            let looked = wait_until(what, stored).await;
            ended.set(true);
            looked
        };
        tokio::try_join!(look, send(), send(), send(), send())?;
        alone.close().await
    })
}
