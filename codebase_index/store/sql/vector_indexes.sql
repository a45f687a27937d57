-- name: lock
-- One builder in the whole database: a build takes a core and some hundred megabytes. Held by the connection.
SELECT pg_try_advisory_lock($1);

-- name: sizes
-- Every index that can be searched by vectors, and whether a job writes into it now.
SELECT i.id, i.model, held.chunks, EXISTS (
           SELECT FROM jobs WHERE jobs.target = i.target AND jobs.state IN ('running', 'blocked')) AS busy
FROM indexes i
JOIN (SELECT index_id, sum(chunks)::bigint AS chunks FROM files GROUP BY index_id) held ON held.index_id = i.id
WHERE i.target IS NOT NULL AND i.model IS NOT NULL
ORDER BY held.chunks DESC, i.id;

-- name: chunks
-- How many chunks an index has.
SELECT COALESCE(sum(chunks), 0)::bigint FROM files WHERE index_id = $1;

-- name: built
-- The vector indexes that there are: for which index and model, and whether they are complete. A build that was
-- interrupted leaves one that is not.
SELECT c.relname AS name, x.indisvalid AS valid, obj_description(c.oid, 'pg_class') AS model
FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
WHERE x.indrelid = 'embeddings'::regclass AND c.relname LIKE 'embeddings\_hnsw\_%';

-- name: complete
-- Which of some indexes have a complete vector index.
SELECT c.relname AS name
FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
WHERE x.indrelid = 'embeddings'::regclass AND x.indisvalid AND c.relname = ANY ($1::text[]);

-- name: dimension
-- Of an index's vectors: all of one model have the same.
SELECT vector_dims(embedding) FROM embeddings WHERE index_id = $1 AND model = $2 LIMIT 1;

-- name: create_statement
-- Build the vector index of one index beside everything else. Unit vectors: the inner product is the cosine.
SELECT format(
    'CREATE INDEX CONCURRENTLY %I ON embeddings USING hnsw ((embedding::halfvec(%s)) halfvec_ip_ops) '
    'WITH (m = 12, ef_construction = 64) WHERE index_id = %s AND model = %L',
    $1::text, $2::integer, $3::bigint, $4::text);

-- name: comment_statement
-- Note the model on the vector index: its predicate is not readable by a query.
SELECT format('COMMENT ON INDEX %I IS %L', $1::text, $2::text);

-- name: drop_statement
-- Remove a vector index without keeping anybody waiting.
SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I', $1::text);

-- name: give_up
-- End the build of a vector index.
SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index WHERE index_relid = to_regclass($1);
