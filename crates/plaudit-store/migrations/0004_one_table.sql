-- The orders by id, by metric and by tag, in `feedback` itself: they are written and
-- merged with their rows, so no row is without them and none is left of a row that
-- is gone. FINAL does not see them: what they find is checked against the version
-- that counts.
--
-- by_trace: of a trace's many possible parts only those are opened that have it.
--
-- deduplicate_merge_projection_mode: a merge drops rows and so moves the others.
-- lightweight_mutation_projection_mode: a deleted row would stay in the other
-- orders; a part without them is read row by row until its next merge.
-- ZSTD: identifiers do not repeat, and LZ4 keeps a hexadecimal digit as a byte.
-- Times and offsets of neighbours are near each other.
ALTER TABLE {database}.feedback{local}{on_cluster}
    MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild',
                   lightweight_mutation_projection_mode = 'drop',
                   default_compression_codec = 'ZSTD(1)';

ALTER TABLE {database}.feedback{local}{on_cluster}
    MODIFY COLUMN version     CODEC(Delta, ZSTD(1)),
    MODIFY COLUMN created_at  CODEC(Delta, ZSTD(1)),
    MODIFY COLUMN received_at CODEC(Delta, ZSTD(1)),
    MODIFY COLUMN offset      CODEC(Delta, ZSTD(1));

ALTER TABLE {database}.feedback{local}{on_cluster}
    ADD INDEX IF NOT EXISTS by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS by_tag
        arrayMap((key, text) -> concat(key, '=', text), mapKeys(tags), mapValues(tags))
        TYPE text(tokenizer = 'array'),
    ADD PROJECTION IF NOT EXISTS by_id
        (SELECT project, id, trace_id ORDER BY project, id),
    ADD PROJECTION IF NOT EXISTS by_metric
        (SELECT project, metric, received_at, trace_id, id, is_deleted
        ORDER BY project, metric, received_at, trace_id, id);

-- In the background, part by part; until then a part is read as one without them.
ALTER TABLE {database}.feedback{local}{on_cluster}
    MATERIALIZE INDEX by_trace,
    MATERIALIZE INDEX by_tag,
    MATERIALIZE PROJECTION by_id,
    MATERIALIZE PROJECTION by_metric;

{if single} DROP VIEW IF EXISTS {database}.feedback_to_metric SYNC;
{if single} DROP VIEW IF EXISTS {database}.feedback_to_tag SYNC;
{if single} DROP VIEW IF EXISTS {database}.feedback_to_id SYNC;
{if single} DROP TABLE IF EXISTS {database}.feedback_by_metric SYNC;
{if single} DROP TABLE IF EXISTS {database}.feedback_by_tag SYNC;
{if single} DROP TABLE IF EXISTS {database}.feedback_by_id SYNC;

-- What makes out most of what is left.
ALTER TABLE {database}.changes{local}{on_cluster} MODIFY SETTING default_compression_codec = 'ZSTD(1)';
