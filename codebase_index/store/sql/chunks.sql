-- name: stored_files
-- What the index holds for these paths: an equal blob and fingerprint need no work.
SELECT id, path, blob, fingerprint, chunks FROM files
WHERE index_id = $1 AND path = ANY ($2::text[]) AND ($3::uuid IS NULL OR job_id = $3);

-- name: upsert_files
-- The files of a batch, in any order. A row that nobody has deleted or updated has no xmax: it is new.
INSERT INTO files (index_id, path, language, blob, size, fingerprint, first_chunk, chunks, job_id)
SELECT $1, f.path, f.language, f.blob, f.size, $2, f.first_chunk, f.chunks, $3
FROM unnest($4::text[], $5::text[], $6::bytea[], $7::bigint[], $8::integer[], $9::bigint[])
    AS f (path, language, blob, first_chunk, chunks, size)
ON CONFLICT (index_id, path) DO UPDATE
SET language = EXCLUDED.language, blob = EXCLUDED.blob, size = EXCLUDED.size, fingerprint = EXCLUDED.fingerprint,
    first_chunk = EXCLUDED.first_chunk, chunks = EXCLUDED.chunks, job_id = EXCLUDED.job_id
RETURNING id, path, xmax <> 0 AS existed;

-- name: add_definitions
-- The packed definitions of the files of a batch.
INSERT INTO definitions (first_chunk, packed) SELECT * FROM unnest($1::bigint[], $2::bytea[]);

-- name: delete_chunks
-- The former chunks of files that are written anew; their vectors and definitions go with them.
DELETE FROM chunks WHERE file_id = ANY ($1::bigint[]);

-- name: touch_files
-- Unchanged files: seen by this job, so its sweep leaves them.
UPDATE files SET job_id = $2 WHERE id = ANY ($1::bigint[]);

-- name: reserve_ids
-- The first id of a block.
SELECT nextval('chunk_ids');

-- name: add_pending
-- What a batch is searched by, until it is built into a segment.
INSERT INTO pending_batches
    (index_id, chunks, total_length, first_ids, run_lengths, vocabulary, payload, model, codes, grams)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: count_batch
-- The counters of a batch, and the fence. No sign of life: a worker's batch must not hide that the pod which holds
-- the attempt hangs. No row means that another attempt holds the job, or that it is final.
UPDATE jobs
SET files_indexed = files_indexed + $3, files_skipped = files_skipped + $4, chunks_created = chunks_created + $5,
    files_transcoded = files_transcoded + $6, secrets_redacted = secrets_redacted + $7
WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked')
RETURNING id;

-- name: finish_index
-- The index is complete as of this job, and all of its vectors are of one model.
UPDATE indexes SET commit = j.commit, read_since = j.started_at, indexed_at = now(), model = $3
FROM jobs j WHERE indexes.id = $1 AND j.id = $2;

-- name: analyze
-- Refresh the planner's statistics of a table; not now if it is locked.
SELECT analyze_table($1);

-- name: drop_done_work
-- Only skipped files are of interest after the end.
DELETE FROM work WHERE job_id = $1 AND state = 'done';
