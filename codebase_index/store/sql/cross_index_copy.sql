-- name: own_files
-- How many files an index has.
SELECT count(*) FROM files WHERE index_id = $1;

-- name: make_wanted
-- The files of a scan, until the transaction ends.
CREATE TEMPORARY TABLE wanted (path text, blob bytea, size bigint) ON COMMIT DROP;

-- name: drop_existing
-- A path that the index has already is not copied: the file is reused, or indexed again, as in any job.
DELETE FROM pg_temp.wanted w USING files f WHERE f.index_id = $1 AND f.path = w.path;

-- name: best_source_index
-- The other index of the namespace with the most matching files: same path, content and versions.
SELECT i.id, i.source, i.ref, count(*) AS files
FROM pg_temp.wanted w
JOIN files f ON f.path = w.path AND f.blob = w.blob AND f.size = w.size
JOIN indexes i ON i.id = f.index_id
WHERE f.fingerprint = $1 AND i.id <> $2 AND i.target IS NOT NULL
  AND i.namespace = (SELECT namespace FROM indexes WHERE id = $2)
GROUP BY i.id ORDER BY count(*) DESC, i.id LIMIT 1;

-- name: matching_paths
-- The paths of the matching files.
SELECT w.path FROM files f
JOIN pg_temp.wanted w ON w.path = f.path AND w.blob = f.blob AND w.size = f.size
WHERE f.index_id = $1 AND f.fingerprint = $2;

-- name: keep_open
-- How long this transaction may be idle while the other one reads or writes.
SELECT set_config('idle_in_transaction_session_timeout', $1, true);

-- name: list_files
-- The matching files of that index, each with its current first chunk id.
SELECT f.id, f.first_chunk, f.chunks FROM files f
JOIN pg_temp.wanted w ON w.path = f.path AND w.blob = f.blob AND w.size = f.size
WHERE f.index_id = $1 AND f.fingerprint = $2
ORDER BY f.path;

-- name: first_chunks
-- The first chunk ids of files: they differ if a file was rewritten.
SELECT id, first_chunk FROM files WHERE id = ANY ($1::bigint[]);

-- name: copy_files
-- Files with other owners, their chunks under other ids, the vectors of these, and their definitions: one statement, so that each file is
-- copied as it is at one instant, or not at all when it has been written anew or removed meanwhile.
WITH new AS (
    SELECT * FROM unnest($3::bigint[], $4::bigint[], $5::bigint[]) AS n (id, former, first)),
source AS MATERIALIZED (
    SELECT f.*, new.first FROM new JOIN files f ON f.id = new.id AND f.first_chunk = new.former),
copied AS (
    INSERT INTO files (index_id, path, language, blob, size, fingerprint, first_chunk, chunks, job_id)
    SELECT $1, path, language, blob, size, fingerprint, first, chunks, $2 FROM source
    RETURNING id, path),
owned AS MATERIALIZED (
    SELECT copied.id, source.first, source.first_chunk AS former, source.chunks AS count
    FROM source JOIN copied USING (path)),
chunked AS (
    INSERT INTO chunks (id, index_id, file_id, start_line, end_line, symbol, text, kind, defines, names, kinds)
    SELECT first + (c.id - former), $1, owned.id, start_line, end_line, symbol, text, kind, defines, names, kinds
    FROM owned JOIN chunks c ON c.id >= former AND c.id < former + count),
defined AS (
    INSERT INTO definitions (first_chunk, packed)
    SELECT first, packed FROM owned JOIN definitions d ON d.first_chunk = former),
embedded AS (
    INSERT INTO embeddings (chunk_id, model, embedding)
    SELECT first + (e.chunk_id - former), model, embedding
    FROM owned JOIN embeddings e ON e.chunk_id >= former AND e.chunk_id < former + count)
SELECT id FROM source;
