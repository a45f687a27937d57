-- name: overview
-- The indexes of some namespaces, or of all, each with what it holds, its share of the disk by its chunks, and its newest
-- job.
SELECT * FROM (
SELECT i.id, i.namespace, i.source, i.ref, i.name, i.include, i.exclude, i.indexed_at, i.target IS NULL AS removal_started, held.files, held.chunks,
       COALESCE(disk.bytes * held.chunks / NULLIF(sum(held.chunks) OVER (), 0), 0)::bigint AS bytes,
       newest.cr_name AS job, newest.state AS job_state
FROM indexes i
CROSS JOIN LATERAL (
    SELECT count(*) AS files, COALESCE(sum(chunks), 0)::bigint AS chunks FROM files WHERE index_id = i.id) held
CROSS JOIN (
    SELECT sum(pg_total_relation_size(t)) AS bytes
    FROM unnest(ARRAY['files', 'chunks', 'definitions', 'embeddings', 'pending_batches', 'segments', 'postings']::regclass[]) t) disk
LEFT JOIN LATERAL (
    SELECT cr_name, state FROM jobs
    WHERE jobs.namespace = i.namespace AND jobs.target BETWEEN i.target AND i.target  -- as in indexes.sql
    ORDER BY jobs.target, created_at DESC, arrival DESC LIMIT 1) newest ON true
WHERE i.target IS NULL OR i.model IS NOT NULL OR i.indexed_at IS NOT NULL) listed
WHERE $1::text[] IS NULL OR namespace = ANY ($1)
ORDER BY source, ref NULLS FIRST, namespace, id;

-- name: lock_index
-- Lock an index until the transaction ends: a job that is about to open it waits, and then looks again.
SELECT namespace, target FROM indexes WHERE id = $1 FOR UPDATE;

-- name: users
-- The jobs that write into a target's index or may do so again, the oldest first.
SELECT namespace, cr_name, state FROM jobs
WHERE namespace = $1 AND target = $2 AND (slot OR state NOT IN ('completed', 'failed', 'cancelled'))
ORDER BY created_at, arrival;

-- name: detach
-- Detach an index: neither a search nor a job finds it any more; a job creates a new one for the same target.
UPDATE indexes SET target = NULL WHERE id = $1;

-- name: remember
-- In the place of a local repository's index that is detached: a row that no job has opened. It keeps the server from
-- indexing that repository by itself, until somebody asks for it.
INSERT INTO indexes (namespace, target, source, include, exclude)
SELECT namespace, $2, source, include, exclude FROM indexes WHERE id = $1 AND ref IS NULL AND source LIKE '/%';

-- name: detached
-- The detached indexes of some namespaces, or of all.
SELECT id FROM indexes WHERE target IS NULL AND ($1::text[] IS NULL OR namespace = ANY ($1)) ORDER BY id;

-- name: remove_files
-- Some files of an index that is detached, each whole with its chunks and vectors: about $2 chunks, or one file.
DELETE FROM files WHERE id IN (
    SELECT id FROM (
        SELECT id, sum(chunks + 1) OVER (ORDER BY path) - chunks - 1 AS before
        FROM (SELECT f.id, f.path, f.chunks FROM files f JOIN indexes i ON i.id = f.index_id
              WHERE i.id = $1 AND i.target IS NULL ORDER BY f.path LIMIT $2) listed) counted
    WHERE before < $2)
RETURNING chunks;

-- name: remove_pending
-- Some pending batches of an index that is detached.
DELETE FROM pending_batches WHERE id IN (
    SELECT p.id FROM pending_batches p JOIN indexes i ON i.id = p.index_id
    WHERE i.id = $1 AND i.target IS NULL ORDER BY p.id LIMIT $2)
RETURNING id;

-- name: remove_segment
-- One segment, with its postings, of an index that is detached: up to 65,536 chunks in 30 MB.
DELETE FROM segments WHERE id = (
    SELECT s.id FROM segments s JOIN indexes i ON i.id = s.index_id
    WHERE i.id = $1 AND i.target IS NULL ORDER BY s.id LIMIT 1)
RETURNING id;

-- name: remove_index
-- The row of an index that is detached and is empty.
DELETE FROM indexes i
WHERE id = $1 AND target IS NULL
  AND NOT EXISTS (SELECT FROM files WHERE index_id = i.id)
  AND NOT EXISTS (SELECT FROM pending_batches WHERE index_id = i.id)
  AND NOT EXISTS (SELECT FROM segments WHERE index_id = i.id)
RETURNING id;

-- name: is_detached
-- Whether something is left of an index that is detached.
SELECT EXISTS (SELECT FROM indexes WHERE id = $1 AND target IS NULL);
