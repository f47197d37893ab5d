-- min_compress_block_size: what is compressed together, from a mark on, at least. A read
-- of a few rows unpacks a block of each column and of each part's Bloom filter; 64 KiB,
-- the default, are thirty filters, or four granules of a column of numbers. It is two to
-- four bytes in a hundred more. For parts that are written or merged from now on.
--
-- merge_selector_base: a merge takes about seven parts and not five, so that a row is
-- written again less often. A part more costs a read one look into its Bloom filter.
ALTER TABLE {database}.feedback{local}{on_cluster}
    MODIFY SETTING min_compress_block_size = 8192,
                   merge_selector_base = 7;
