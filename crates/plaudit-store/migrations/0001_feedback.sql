-- Every version of every feedback; the highest version of an identity is the
-- one that counts. Nothing in the sort key is mutable or set by a client's clock.
--
-- received_at and offset have minmax indexes because new parts hold new
-- offsets: the sink's questions about what it has just written, or wrote before
-- a crash, read the newest granules only.
--
-- min_level_for_wide_part: a batch is written as one file and not as a hundred;
-- merges make wide parts of it, column by column.
-- auto_statistics_types: nothing here is planned by them, and every merge would
-- make them anew.
CREATE TABLE IF NOT EXISTS {database}.feedback{local}{on_cluster}
(
    project         LowCardinality(String),
    trace_id        String,
    id              UUID,
    version         UInt64,
    is_deleted      UInt8,
    target_kind     Enum8('trace' = 1, 'run' = 2, 'inference' = 3, 'episode' = 4, 'datapoint' = 5,
                          'evaluation_result' = 6, 'evaluation_sample' = 7, 'project' = 8, 'experiment' = 9),
    target_id       String,
    metric          LowCardinality(String),
    value_type      Enum8('none' = 0, 'bool' = 1, 'int' = 2, 'float' = 3, 'text' = 4, 'json' = 5),
    value           String,
    score           Nullable(Float64),
    weight          Float64,
    comment         String,
    correction      String,
    tags            Map(LowCardinality(String), String),
    metadata        String,
    rater           String,
    source_kind     LowCardinality(String),
    source_info     String,
    source_run_id   String,
    group_id        String,
    experiment_id   String,
    session_id      String,
    created_at      DateTime64(6, 'UTC'),
    received_at     DateTime64(6, 'UTC'),
    dialect         Enum8('native' = 1, 'portkey' = 2, 'tensorzero' = 3, 'patronus' = 4, 'humanloop' = 5, 'langsmith' = 6),
    topic           LowCardinality(String),
    partition       Int32,
    offset          Int64,
    INDEX received_at_range received_at TYPE minmax GRANULARITY 1,
    INDEX offset_range offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (project, trace_id, id)
-- index_granularity: what is read most is a trace of a few rows, and each of its 29
-- columns is unpacked a granule at a time. Finer still, the marks of a large part would
-- take long to read first.
SETTINGS non_replicated_deduplication_window = 1000,
         min_level_for_wide_part = 1,
         index_granularity = 2048,
         auto_statistics_types = '';

-- All versions of a feedback are on one shard: each applies FINAL by itself.
{if cluster} CREATE TABLE IF NOT EXISTS {database}.feedback{on_cluster} AS {database}.feedback{local}
ENGINE = Distributed({cluster}, '{database}', 'feedback{local}', cityHash64(trace_id));

-- Patches and retractions as they came: a fold reads all of an id again, so
-- they are kept as long as what they change. `record` is the Kafka value.
CREATE TABLE IF NOT EXISTS {database}.changes{local}{on_cluster}
(
    project         LowCardinality(String),
    id              UUID,
    topic           LowCardinality(String),
    partition       Int32,
    offset          Int64,
    kind            Enum8('patch' = 1, 'retract' = 2),
    version_time    DateTime64(6, 'UTC'),
    received_at     DateTime64(6, 'UTC'),
    record          String,
    gave_up         UInt8,
    INDEX version_time_range version_time TYPE minmax GRANULARITY 1,
    INDEX offset_range offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(gave_up)
ORDER BY (project, id, topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 1000, auto_statistics_types = '';

{if cluster} CREATE TABLE IF NOT EXISTS {database}.changes{on_cluster} AS {database}.changes{local}
ENGINE = Distributed({cluster}, '{database}', 'changes{local}', cityHash64(id));

-- What became of every offset: a set of ranges. Ranges may repeat and overlap;
-- an offset has the strongest outcome of those that cover it. No range is
-- longer than the store's MAX_SPAN, so that a point is found by its `first`.
CREATE TABLE IF NOT EXISTS {database}.ledger{local}{on_cluster}
(
    topic           LowCardinality(String),
    partition       Int32,
    first           Int64,
    last            Int64,
    outcome         Enum8('pending' = 1, 'expired' = 2, 'dead_lettered' = 3, 'duplicate' = 4, 'stored' = 5),
    reason          LowCardinality(String),
    min_timestamp   DateTime64(3, 'UTC'),
    max_timestamp   DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, first, last, outcome)
SETTINGS non_replicated_deduplication_window = 1000, auto_statistics_types = '';

{if cluster} CREATE TABLE IF NOT EXISTS {database}.ledger{on_cluster} AS {database}.ledger{local}
ENGINE = Distributed({cluster}, '{database}', 'ledger{local}', cityHash64(topic, partition));
