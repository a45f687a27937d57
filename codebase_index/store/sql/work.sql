-- name: make_scanned
-- The scan's result until the transaction ends: most of it may never become work.
CREATE TEMPORARY TABLE scanned (seq integer, path text, size bigint, skip_reason text, blob bytea) ON COMMIT DROP;

-- name: list_work
-- What is left is the work list, in the order of the scan.
INSERT INTO work (job_id, seq, path, size, state, skip_reason)
SELECT $1, seq, path, size, CASE WHEN skip_reason IS NULL THEN 'todo' ELSE 'skipped' END::work_state, skip_reason
FROM pg_temp.scanned ORDER BY seq;

-- name: freeze_job
-- The scan's result, once: a later attempt that finds a frozen list must not scan again.
UPDATE jobs
SET files_total = $3, files_skipped = $4, files_unchanged = $5, files_indexed = files_indexed + $5,
    chunks_created = chunks_created + $6, heartbeat_at = now()
WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked') AND files_total IS NULL
RETURNING id;

-- name: current_attempt
-- Whether this is still the job's current attempt, and the length of its list once frozen.
SELECT files_total FROM jobs WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked');

-- name: release
-- After a restart in the same pod: release what the predecessor claimed.
UPDATE work SET attempt = NULL, claimed_by = NULL
WHERE job_id = $1 AND state = 'todo' AND attempt = $2 AND claimed_by = $3;

-- name: claim
-- Claim the next files that are unclaimed in this attempt; SKIP LOCKED lets several pods claim concurrently.
-- MATERIALIZED, because a locking subquery that is evaluated again for each row has no limit at all.
-- Files that were started before are counted in the same statement: work that is done again, measured where it is
-- handed out. A file counts once, however often it is started.
-- An array, because that is looked up in the primary key whatever the planner knows: for a list that it has no
-- statistics of, it compared every file of the job with every one taken.
WITH next AS MATERIALIZED (
    SELECT seq FROM work
    WHERE job_id = $1 AND state = 'todo' AND (attempt IS NULL OR attempt < $2)
    ORDER BY seq LIMIT $4 FOR UPDATE SKIP LOCKED),
claimed AS (
    UPDATE work SET attempt = $2, claimed_by = $3, starts = starts + 1
    WHERE work.job_id = $1 AND work.seq = ANY (ARRAY(SELECT seq FROM next))
      AND EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND jobs.attempt = $2 AND jobs.state IN ('running', 'blocked'))
    RETURNING work.seq, work.path, work.size, work.starts),
counted AS (
    UPDATE jobs SET files_repeated = files_repeated + repeated.files
    FROM (SELECT count(*) AS files FROM claimed WHERE starts = 2) AS repeated
    WHERE id = $1 AND repeated.files > 0)
SELECT seq, path, size FROM claimed ORDER BY seq;

-- name: todo
-- The number of unfinished files, claimed or not.
SELECT count(*) FROM work WHERE job_id = $1 AND state = 'todo';

-- name: repeated
-- How many files were started more than once, or were started and are held by nobody of this attempt.
SELECT files_repeated + (
    SELECT count(*) FROM work
    WHERE job_id = $1 AND state = 'todo' AND starts = 1 AND (attempt IS NULL OR attempt < $2))
FROM jobs WHERE id = $1;

-- name: skipped
-- A page of the skipped files with their reasons.
SELECT path, skip_reason FROM work WHERE job_id = $1 AND state = 'skipped' ORDER BY seq LIMIT $2 OFFSET $3;

-- name: skip_reason
-- Why a job left a file out; no row if it did not.
SELECT skip_reason FROM work WHERE job_id = $1 AND state = 'skipped' AND path = $2 LIMIT 1;

-- name: skip_reasons
-- How many files were skipped for which reason, most frequent first.
SELECT skip_reason, count(*) AS files FROM work
WHERE job_id = $1 AND state = 'skipped' GROUP BY skip_reason ORDER BY count(*) DESC, skip_reason;

-- name: mark_done
-- Finished files of a batch. Only those still to do count, so a repeated commit adds nothing.
UPDATE work SET state = 'done' WHERE job_id = $1 AND seq = ANY ($2::integer[]) AND state = 'todo' AND attempt = $3
RETURNING seq, counted;

-- name: mark_skipped
-- Files of a batch that turned out not to be indexable, with the reason.
UPDATE work SET state = 'skipped', skip_reason = s.reason
FROM unnest($2::integer[], $3::text[]) AS s (seq, reason)
WHERE work.job_id = $1 AND work.seq = s.seq AND work.state = 'todo' AND work.attempt = $4
RETURNING work.seq, work.counted;
