-- name: lost
-- Files that could not be read when their turn came, though the list has them as readable; at most $3.
SELECT path, skip_reason FROM work
WHERE job_id = $1 AND state = 'skipped' AND attempt IS NOT NULL AND skip_reason = ANY ($2::text[])
ORDER BY seq LIMIT $3;

-- name: mark_unlisted_unseen
-- Files that the job has seen and that are not listed any more: the sweep looks at them like at all others.
UPDATE files f SET job_id = '00000000-0000-0000-0000-000000000000'
WHERE f.index_id = $2 AND f.job_id = $1
  AND NOT EXISTS (SELECT FROM pg_temp.scanned s WHERE s.path = f.path AND s.skip_reason IS NULL);

-- name: drop_done
-- Files that the job has done as they are now: by the blob that git vouches for, or, where $4, by nothing that says
-- otherwise.
DELETE FROM pg_temp.scanned s USING files f
WHERE f.index_id = $2 AND f.job_id = $1 AND f.path = s.path AND f.fingerprint = $3 AND s.skip_reason IS NULL
  AND (f.blob = s.blob AND f.size = s.size OR $4 AND s.blob IS NULL);

-- name: drop_listed
-- Files that are to be done anyway, or are skipped for the same reason; where $2, also those that were read and
-- skipped for another reason than these ($3).
DELETE FROM pg_temp.scanned s USING work w
WHERE w.job_id = $1 AND w.path = s.path AND (
    w.state = 'todo'
    OR w.state = 'skipped' AND (
        w.skip_reason = s.skip_reason
        OR $2 AND s.skip_reason IS NULL AND NOT w.skip_reason = ANY ($3::text[])));

-- name: reopen
-- Files of the list that are to be done once more, or are skipped now. They are counted.
WITH opened AS (
    UPDATE work w
    SET state = CASE WHEN s.skip_reason IS NULL THEN 'todo' ELSE 'skipped' END::work_state,
        skip_reason = s.skip_reason, size = s.size, attempt = NULL, claimed_by = NULL, starts = 0, counted = true
    FROM pg_temp.scanned s
    WHERE w.job_id = $1 AND w.path = s.path
    RETURNING s.seq)
DELETE FROM pg_temp.scanned USING opened WHERE scanned.seq = opened.seq;

-- name: append_new
-- Files that the list did not have. The job has counted those that it took over when it froze its list.
WITH listed AS (
    INSERT INTO work (job_id, seq, path, size, state, skip_reason, counted)
    SELECT $1, s.seq + 1 + (SELECT COALESCE(max(seq), -1) FROM work WHERE job_id = $1), s.path, s.size,
           CASE WHEN s.skip_reason IS NULL THEN 'todo' ELSE 'skipped' END::work_state, s.skip_reason, f.id IS NOT NULL
    FROM pg_temp.scanned s LEFT JOIN files f ON f.index_id = $2 AND f.job_id = $1 AND f.path = s.path
    RETURNING state, counted)
SELECT count(*) AS files, count(*) FILTER (WHERE state = 'skipped') AS skipped FROM listed WHERE NOT counted;

-- name: extend_job
-- The list has become longer.
UPDATE jobs SET files_total = files_total + $3, files_skipped = files_skipped + $4
WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked')
RETURNING id;
