-- A table without replicas remembers a block before it has the block's part: when the
-- disk fails in between, or the server dies, the same block is answered with success
-- ever after, and is nowhere. So none is remembered; a block that is sent again after a
-- lost answer is there twice, and merges take it away.
ALTER TABLE {database}.feedback{local}{on_cluster}
    MODIFY SETTING non_replicated_deduplication_window = 0;

ALTER TABLE {database}.changes{local}{on_cluster}
    MODIFY SETTING non_replicated_deduplication_window = 0;

ALTER TABLE {database}.ledger{local}{on_cluster}
    MODIFY SETTING non_replicated_deduplication_window = 0;
