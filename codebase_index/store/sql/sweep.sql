-- name: count
-- How many files an index holds.
SELECT count(*) FROM files WHERE index_id = $1;

-- name: unseen
-- Files of the index that the job has not seen, with the reason where it skipped them.
SELECT f.id, f.path, f.chunks, w.skip_reason
FROM files f LEFT JOIN work w ON w.job_id = $2 AND w.state = 'skipped' AND w.path = f.path
WHERE f.index_id = $1 AND f.job_id <> $2
ORDER BY f.path;

-- name: remove
-- Files that are gone, unless the job has seen them meanwhile after all.
DELETE FROM files WHERE id = ANY ($3::bigint[]) AND index_id = $1 AND job_id <> $2;
