-- Chunks of batches are merged into others, in the order of owners and links (services/links/packed/merging.py).

-- Whether a chunk may be merged with its neighbours: one of a batch, or one that is still small.
ALTER TABLE click_chunks ADD COLUMN mergeable boolean NOT NULL DEFAULT true;
CREATE INDEX click_chunks_mergeable ON click_chunks (day) WHERE mergeable;
