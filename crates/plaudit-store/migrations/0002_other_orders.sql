-- The same feedback by metric, by tag and by id. Their keys end in (trace_id,
-- id) and hold no time, since a new version has another one. An entry counts
-- only if its version is its feedback's: a put can move a feedback to another
-- metric or tag and leaves the old entry behind.
--
-- merge_selector_base: a merge takes twice as many parts, so that an entry is
-- written again half as often. Nothing reads these with FINAL.
--
-- No cluster was ever without the orders of migration 4, which end these.
{if single} CREATE TABLE IF NOT EXISTS {database}.feedback_by_metric
(
    project         LowCardinality(String),
    metric          LowCardinality(String),
    trace_id        String,
    id              UUID,
    version         UInt64,
    is_deleted      UInt8,
    received_at     DateTime64(6, 'UTC'),
    INDEX received_at_range received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (project, metric, trace_id, id)
SETTINGS non_replicated_deduplication_window = 1000,
         merge_selector_base = 10,
         auto_statistics_types = '';

{if single} CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.feedback_to_metric
TO {database}.feedback_by_metric AS
SELECT project, metric, trace_id, id, version, is_deleted, received_at
FROM {database}.feedback;

{if single} CREATE TABLE IF NOT EXISTS {database}.feedback_by_tag
(
    project         LowCardinality(String),
    tag             LowCardinality(String),
    text            String,
    trace_id        String,
    id              UUID,
    version         UInt64,
    is_deleted      UInt8,
    received_at     DateTime64(6, 'UTC'),
    INDEX received_at_range received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (project, tag, text, trace_id, id)
SETTINGS non_replicated_deduplication_window = 1000,
         merge_selector_base = 10,
         auto_statistics_types = '';

{if single} CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.feedback_to_tag
TO {database}.feedback_by_tag AS
SELECT project, tags.1 AS tag, tags.2 AS text, trace_id, id, version, is_deleted, received_at
FROM {database}.feedback
ARRAY JOIN CAST(tags, 'Array(Tuple(LowCardinality(String), String))') AS tags;

{if single} CREATE TABLE IF NOT EXISTS {database}.feedback_by_id
(
    project         LowCardinality(String),
    id              UUID,
    trace_id        String,
    version         UInt64,
    received_at     DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (project, id, trace_id)
SETTINGS non_replicated_deduplication_window = 1000,
         merge_selector_base = 10,
         auto_statistics_types = '';

{if single} CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.feedback_to_id
TO {database}.feedback_by_id AS
SELECT project, id, trace_id, version, received_at
FROM {database}.feedback;
