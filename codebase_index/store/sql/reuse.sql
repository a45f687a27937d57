-- name: reuse_unchanged
-- Files of the index with equal content and fingerprint: marked as seen by this job, so its sweep leaves them.
WITH same AS (
    UPDATE files f SET job_id = $1
    FROM pg_temp.scanned s
    WHERE f.index_id = $2 AND f.fingerprint = $3 AND f.path = s.path AND f.blob = s.blob AND f.size = s.size
    RETURNING s.seq, f.chunks),
taken AS (DELETE FROM pg_temp.scanned USING same WHERE scanned.seq = same.seq)
SELECT count(*) AS files, COALESCE(sum(chunks), 0)::bigint AS chunks FROM same;

-- name: missing_files
-- Files of the index whose path is no longer listed, with their content: some may have moved.
SELECT f.id, f.path, f.blob, f.size FROM files f
WHERE f.index_id = $2 AND f.job_id <> $1 AND f.fingerprint = $3
  AND NOT EXISTS (SELECT FROM pg_temp.scanned s WHERE s.path = f.path AND s.skip_reason IS NULL)
ORDER BY f.path;

-- name: new_files
-- Scanned files whose path the index does not have, with one of these contents.
SELECT s.seq AS id, s.path, s.blob, s.size FROM pg_temp.scanned s
WHERE s.blob = ANY ($2::bytea[]) AND NOT EXISTS (SELECT FROM files f WHERE f.index_id = $1 AND f.path = s.path)
ORDER BY s.path;

-- name: move_files
-- A moved file keeps its chunks and vectors.
WITH moved AS (
    UPDATE files f SET path = m.path, job_id = $1
    FROM unnest($2::bigint[], $3::integer[], $4::text[]) AS m (id, seq, path)
    WHERE f.id = m.id
    RETURNING m.seq, f.chunks),
taken AS (DELETE FROM pg_temp.scanned USING moved WHERE scanned.seq = moved.seq)
SELECT count(*) AS files, COALESCE(sum(chunks), 0)::bigint AS chunks FROM moved;
