-- The definitions of each file: what it is called, where it begins and ends, what encloses it (codebase_index.definitions
-- says what `packed` holds). Under the first chunk's id, which a file gets anew whenever it is written: so they belong to
-- the text that is searched, also where a program of the release before has written that, which knows nothing of them.
-- A file of an older index has none until it is indexed again.
CREATE TABLE definitions (
    first_chunk bigint PRIMARY KEY,  -- of files; see delete_vectors_of_chunks
    packed      bytea NOT NULL
);
-- Compressed already.
ALTER TABLE definitions ALTER COLUMN packed SET STORAGE EXTERNAL, ALTER COLUMN packed SET STATISTICS 0;

-- Vectors and definitions go with their chunks. The function is replaced, since a trigger of their own would have to
-- wait for every indexer that writes.
CREATE OR REPLACE FUNCTION delete_vectors_of_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM embeddings WHERE chunk_id IN (SELECT id FROM gone);
    DELETE FROM definitions WHERE first_chunk IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
