//! What the read API answers is what `feedback_current` holds, whatever lies in the
//! table: several versions, copies, rows of other metrics and tags, tombstones,
//! retractions without one, and many feedbacks received at one time.

use anyhow::{Context, Result};
use plaudit_store::{ClickhouseConfig, ClusterConfig, Store};
use serde_json::Value;
use support::{Answer, Database, Options, Stack, run};

/// The filters of a list, each with the condition that it stands for.
const FILTERS: [(&str, &str); 17] = [
    ("", "1"),
    ("metric=m1", "metric = 'm1'"),
    ("trace_id=t3", "trace_id = 't3'"),
    ("trace_id=t3&metric=m1", "trace_id = 't3' AND metric = 'm1'"),
    ("tag.env=prod", "tags['env'] = 'prod'"),
    (
        "tag.env=prod&tag.a%20%3F=%27",
        "tags['env'] = 'prod' AND tags['a ?'] = '\\''",
    ),
    (
        "metric=m0&tag.env=dev",
        "metric = 'm0' AND tags['env'] = 'dev'",
    ),
    ("rater=u1", "rater = 'u1'"),
    ("rater=u1&metric=m2", "rater = 'u1' AND metric = 'm2'"),
    ("session_id=s1", "session_id = 's1'"),
    ("experiment_id=e1", "experiment_id = 'e1'"),
    ("group_id=g1", "group_id = 'g1'"),
    ("dialect=portkey", "dialect = 'portkey'"),
    ("target=run:r1", "target_kind = 'run' AND target_id = 'r1'"),
    ("target=r1", "target_id = 'r1'"),
    (
        "from=2026-01-02T03:04:10Z&to=2026-01-02T03:04:15Z",
        "received_at >= '2026-01-02 03:04:10' AND received_at < '2026-01-02 03:04:15'",
    ),
    (
        "metric=m1&from=2026-01-02T03:04:10Z",
        "metric = 'm1' AND received_at >= '2026-01-02 03:04:10'",
    ),
];

/// Writes some of 300 feedbacks, each anew: what it says follows from its number and
/// the wave's. Waves overlap, and times are few.
async fn write_wave(db: &Database, wave: u32) -> Result<()> {
    let sql = format!(
        "INSERT INTO {{db}}.feedback (project, trace_id, id, version, is_deleted, target_kind, target_id,
            metric, value_type, value, score, weight, tags, rater, group_id, experiment_id, session_id,
            created_at, received_at, dialect, topic, partition, offset)
        SELECT if(n % 29 = 0, 'another', 'default'), concat('t', toString(n % 17)),
            toUUID(concat(leftPad(lower(hex(65535 - n)), 8, '0'), '-0000-4000-', leftPad(lower(hex(n * 7919 % 65536)), 4, '0'), '-', leftPad(lower(hex(n)), 12, '0'))) AS id,
            (1767323045000000 + h % 1000000) * 4096 + {wave}, h % 11 = 0, if(h % 3 = 0, 'inference', 'run'),
            concat('r', toString(h % 4)), concat('m', toString(h % 5)), 'bool', if(h % 2 = 0, 'true', 'false'),
            h % 2 = 0, (h % 3) / 2,
            if(h % 7 = 0, map(), map('env', if(h % 2 = 0, 'prod', 'dev'), 'a ?', if(h % 4 < 2, '\\'', '?'))),
            concat('u', toString(h % 3)), concat('g', toString(intDiv(h, 3) % 3)), concat('e', toString(intDiv(h, 9) % 3)),
            concat('s', toString(intDiv(h, 4) % 4)), received, toDateTime64('2026-01-02 03:04:05', 6, 'UTC') + h % 16 AS received,
            if(h % 5 = 0, 'portkey', 'native'), 'written', 0, n + 1000 * {wave}
        FROM (SELECT number AS n, cityHash64(number, {wave}) AS h FROM numbers(300)
            WHERE cityHash64(number, {wave}, 'in') % 5 < 2)
        SETTINGS insert_deduplicate = 0, distributed_foreground_insert = 1"
    );
    db.execute(&sql).await.map(drop)
}

/// Writes changes to some of it, every other one a retraction.
async fn write_changes(db: &Database) -> Result<()> {
    let sql = "INSERT INTO {db}.changes (project, id, topic, partition, offset, kind)
        SELECT project, id, 'written', 1, rowNumberInAllBlocks(), if(number % 2 = 0, 'retract', 'patch')
        FROM (SELECT DISTINCT project, id, cityHash64(id) AS number FROM {db}.feedback WHERE cityHash64(id) % 10 < 2)
        SETTINGS distributed_foreground_insert = 1";
    db.execute(sql).await.map(drop)
}

/// Everything of a list, page by page, as (trace, id, metric, receipt).
async fn listed(stack: &Stack, filter: &str, limit: usize) -> Result<Vec<[String; 4]>> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/feedback?limit={limit}&{filter}{cursor}");
        let answer = stack.api.get(&path).await?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let page = items(&answer)?;
        let length = page.len();
        assert!(length <= limit, "{path}");
        found.extend(page);
        match answer.at("/next_cursor").as_str() {
            None => return Ok(found),
            Some(next) => cursor = format!("&cursor={next}"),
        }
        assert_eq!(length, limit, "a page that is not the last is full: {path}");
    }
}

fn items(answer: &Answer) -> Result<Vec<[String; 4]>> {
    let items = answer.at("/items").as_array().context("items")?;
    Ok(items.iter().map(named).collect())
}

fn named(row: &Value) -> [String; 4] {
    ["trace_id", "id", "metric", "receipt"].map(|field| text(&row[field]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What the view says of the same.
async fn current(db: &Database, condition: &str) -> Result<Vec<[String; 4]>> {
    let sql = format!(
        "SELECT trace_id, id, metric, concat(topic, ':', toString(partition), ':', toString(offset)) AS receipt
        FROM {{db}}.feedback_current AS f WHERE project = 'default' AND {condition}
        ORDER BY f.received_at DESC, f.trace_id DESC, f.id DESC"
    );
    let rows = db.rows(&sql).await?;
    Ok(rows.iter().map(named).collect())
}

#[test]
fn p3_every_list_is_what_the_view_holds() -> Result<()> {
    run(Options::default(), async |stack| {
        lists_are_the_views(stack, [2, 1000]).await
    })
}

#[test]
fn p3_every_list_of_two_shards_is_what_the_view_of_one_server_holds() -> Result<()> {
    run(two_shards(), async |stack| {
        lists_are_the_views(stack, [20, 1000]).await?;
        let single = ClickhouseConfig {
            database: format!("{}_single", stack.db.name()),
            cluster: ClusterConfig::default(),
            ..stack.clickhouse()
        };
        let db = Database::new(&single.url, &single.database);
        Store::new(single)?.migrate().await?;
        write_lists(&db).await?;
        for (filter, condition) in FILTERS {
            let expected = current(&db, condition).await?;
            assert_eq!(current(&stack.db, condition).await?, expected, "{filter}");
        }
        Ok(())
    })
}

#[test]
fn p3_every_aggregate_is_the_views() -> Result<()> {
    run(Options::default(), aggregates_are_the_views)
}

#[test]
fn p3_every_aggregate_of_two_shards_is_the_views() -> Result<()> {
    run(two_shards(), aggregates_are_the_views)
}

fn two_shards() -> Options {
    Options {
        sharded: true,
        ..Options::default()
    }
}

async fn write_lists(db: &Database) -> Result<()> {
    for wave in [0, 1, 2, 3, 4, 1] {
        write_wave(db, wave).await?;
    }
    write_changes(db).await
}

async fn lists_are_the_views(stack: &Stack, limits: [usize; 2]) -> Result<()> {
    stop_merges(stack).await?;
    write_lists(&stack.db).await?;
    for (filter, condition) in FILTERS {
        let expected = current(&stack.db, condition).await?;
        assert!(expected.len() > 2, "{filter}: too little to tell");
        for limit in limits {
            assert_eq!(
                listed(stack, filter, limit).await?,
                expected,
                "{filter}, {limit} a page"
            );
        }
    }
    for trace in (0..17).map(|number| format!("t{number}")) {
        let expected = current(&stack.db, &format!("trace_id = '{trace}'")).await?;
        // Whole, and the first page of a list.
        for limit in [1000, 2] {
            let path = format!("/v1/traces/{trace}/feedback?limit={limit}");
            let read = items(&stack.api.get(&path).await?)?;
            let expected: Vec<_> = expected.iter().take(limit).cloned().collect();
            assert_eq!(read, expected, "{path}");
        }
    }
    Ok(())
}

/// Else what is to be seen through is merged away.
async fn stop_merges(stack: &Stack) -> Result<()> {
    stack
        .on_every_node("SYSTEM STOP MERGES {db}.feedback{local}")
        .await
}

async fn aggregates_are_the_views(stack: &mut Stack) -> Result<()> {
    stop_merges(stack).await?;
    for wave in [0, 1, 2, 2] {
        write_wave(&stack.db, wave).await?;
    }
    write_changes(&stack.db).await?;
    let columns = "count() AS count, avg(score) AS mean,
        sum(score * weight) / nullIf(sum(weight), 0) AS weighted_mean";
    let sql = format!(
        "SELECT metric, {columns} FROM {{db}}.feedback_current WHERE project = 'default' GROUP BY metric"
    );
    for row in stack.db.rows(&sql).await? {
        let summary = stack
            .api
            .get(&format!("/v1/metrics/{}?by=tag.env", text(&row["metric"])))
            .await?;
        same_numbers(&summary.json, &row);
        let groups = summary.at("/groups").as_array().context("groups")?;
        let in_groups: u64 = groups
            .iter()
            .filter_map(|group| group["count"].as_u64())
            .sum();
        assert_eq!(Some(in_groups), row["count"].as_u64(), "{}", summary.text);
    }
    let sql = format!(
        "SELECT metric, {columns} FROM {{db}}.feedback_current
        WHERE project = 'default' AND trace_id = 't3' GROUP BY metric ORDER BY metric"
    );
    let rows = stack.db.rows(&sql).await?;
    let trace = stack.api.get("/v1/traces/t3/feedback").await?;
    let metrics = trace.at("/metrics").as_array().context("metrics")?;
    assert_eq!(metrics.len(), rows.len(), "{}", trace.text);
    for (metric, row) in metrics.iter().zip(&rows) {
        assert_eq!(metric["metric"], row["metric"]);
        same_numbers(metric, row);
    }
    Ok(())
}

fn same_numbers(answer: &Value, row: &Value) {
    assert_eq!(answer["count"], row["count"], "{answer}");
    for name in ["mean", "weighted_mean"] {
        let [one, other] = [answer, row].map(|numbers| numbers[name].as_f64());
        // Sums of floats depend on their order.
        let near = one
            .zip(other)
            .is_some_and(|(one, other)| (one - other).abs() < 1e-9);
        assert!(
            near || (one.is_none() && other.is_none()),
            "{name}: {answer} and {row}"
        );
    }
}
