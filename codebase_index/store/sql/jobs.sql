-- name: create
-- The row of a new job; a second creator (the operator beside the MCP server) changes nothing.
INSERT INTO jobs (id, namespace, cr_name, target, source, ref, name, created_at, message, caller)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (id) DO NOTHING;

-- name: get
-- One job of some namespaces, or of all.
SELECT * FROM jobs WHERE id = $1 AND ($2::text[] IS NULL OR namespace = ANY ($2));

-- name: get_many
-- Several jobs, in no order.
SELECT * FROM jobs WHERE id = ANY ($1::uuid[]) AND ($2::text[] IS NULL OR namespace = ANY ($2));

-- name: unfinished
-- Every job that is not final.
SELECT * FROM jobs
WHERE state NOT IN ('completed', 'failed', 'cancelled') AND ($1::text[] IS NULL OR namespace = ANY ($1));

-- name: runs
-- The last jobs of a target, newest first, and which of them one caller has started ($3), each with the time that
-- jobs' times are of; without a job, one row has the time alone.
SELECT now() AS now, j.id, j.state, j.caller IS NOT DISTINCT FROM $3 AS automatic, j.started_at,
       COALESCE(j.completed_at, j.cancelled_at) AS ended_at, j.message
FROM (VALUES (true)) AS one
LEFT JOIN jobs j ON j.target = $2 AND ($1::text[] IS NULL OR j.namespace = ANY ($1))
ORDER BY j.created_at DESC, j.arrival DESC LIMIT $4;

-- name: unfinished_of
-- How many jobs of one caller are not final.
SELECT count(*) FROM jobs
WHERE caller = $2 AND state NOT IN ('completed', 'failed', 'cancelled')
  AND ($1::text[] IS NULL OR namespace = ANY ($1));

-- name: queue_length
-- How many jobs wait for a slot, and how many of them one caller has started. A suspended one waits for none: of the
-- row, its message alone says so ($3).
SELECT count(*) AS total, count(*) FILTER (WHERE caller = $2) AS own FROM jobs
WHERE state = 'pending' AND NOT slot AND message <> $3 AND ($1::text[] IS NULL OR namespace = ANY ($1));

-- name: clock
-- The database's time, the one clock that heartbeats are judged by; and whether it takes no writes: a demoted primary
-- answers every read.
SELECT now() AS now, current_setting('transaction_read_only')::boolean AS read_only;

-- name: check
-- Whether jobs can be started and cancelled: what reads alone do not show.
SELECT current_setting('transaction_read_only')::boolean AS read_only,
    has_table_privilege('jobs', 'SELECT') AND has_any_column_privilege('jobs', 'INSERT')
    AND has_any_column_privilege('jobs', 'UPDATE') AS may_use;

-- name: list_active
-- The operator's input: the jobs that it names, and every one that is not final or has a slot.
SELECT * FROM jobs
WHERE namespace = $1 AND (id = ANY ($2::uuid[]) OR slot OR state NOT IN ('completed', 'failed', 'cancelled'));

-- name: page
-- A page of jobs, newest first, with the count of all that match: apart, so that only the page is read whole.
SELECT *, (SELECT count(*) FROM jobs
           WHERE ($1::job_state IS NULL OR state = $1)
             AND ($2::text IS NULL OR strpos(source, $2) > 0)
             AND ($3::timestamptz IS NULL OR created_at > $3)
             AND ($4::text[] IS NULL OR namespace = ANY ($4))) AS total_count
FROM jobs
WHERE ($1::job_state IS NULL OR state = $1)
  AND ($2::text IS NULL OR strpos(source, $2) > 0)
  AND ($3::timestamptz IS NULL OR created_at > $3)
  AND ($4::text[] IS NULL OR namespace = ANY ($4))
ORDER BY created_at DESC, arrival DESC
LIMIT $5 OFFSET $6;

-- name: count
-- The count of the jobs that `page` would list, for a page behind the last one.
SELECT count(*) FROM jobs
WHERE ($1::job_state IS NULL OR state = $1)
  AND ($2::text IS NULL OR strpos(source, $2) > 0)
  AND ($3::timestamptz IS NULL OR created_at > $3)
  AND ($4::text[] IS NULL OR namespace = ANY ($4));

-- name: set_lock_timeout
-- A pod's transaction locks the job's row for a few milliseconds, unless the pod is stuck or lost.
SET LOCAL lock_timeout = '300ms';

-- name: end_connections_of_job
-- End the connections of the job's pods, which releases the locks of a stuck transaction.
SELECT end_connections_of_job($1);

-- name: lock_slots
-- One admission at a time, whoever admits: what the next query counts stays valid until the transaction ends.
SELECT pg_advisory_xact_lock(hashtext('codebase-mcp slots'));

-- name: admit
-- Grant a slot and raise the fencing token, unless all slots are taken, or one by a job for the same target.
UPDATE jobs
SET slot = true, attempt = $2, queue_position = NULL,
    starting_since = CASE WHEN slot THEN COALESCE(starting_since, now()) ELSE now() END,
    disruptions = CASE WHEN slot THEN disruptions ELSE 0 END,
    message = CASE WHEN attempt < $2 THEN 'Starting' ELSE message END
WHERE id = $1 AND attempt IN ($2, $2 - 1) AND state = 'pending'
  AND (SELECT count(*) FROM jobs o WHERE o.slot AND o.namespace = jobs.namespace AND o.id <> $1) < $3
  AND NOT EXISTS (
      -- A suspended job keeps its repository: another one would sweep what its frozen list counts as done.
      SELECT 1 FROM jobs o WHERE o.namespace = jobs.namespace AND o.target = jobs.target AND o.id <> $1
      AND (o.slot OR o.state = 'pending' AND o.files_total IS NOT NULL))
RETURNING attempt;

-- name: release_slot
-- The slot of a job that is over or suspended, when no pod of it is left. Another operator may start a pod of the
-- job, resumed in this moment: the token rises, so that a pod whose slot is gone cannot take the job.
UPDATE jobs SET slot = false, attempt = attempt + CASE WHEN state = 'pending' THEN 1 ELSE 0 END
WHERE id = $1 AND slot AND state IN ('pending', 'completed', 'failed', 'cancelled') RETURNING id;

-- name: fence
-- Raise the fencing token: from here on no earlier attempt can write. Again with the same number: no change.
UPDATE jobs
SET attempt = $2,
    failures = failures + CASE WHEN $3 AND attempt < $2 THEN 1 ELSE 0 END,
    disruptions = CASE WHEN $3 OR attempt = $2 THEN disruptions
                       WHEN pod IS NOT NULL AND files_indexed + files_skipped > done_at_claim THEN 1
                       ELSE disruptions + 1 END,
    starting_since = CASE WHEN pod IS NULL THEN COALESCE(starting_since, now())
                          WHEN attempt < $2 THEN now() ELSE starting_since END,
    pod = CASE WHEN attempt < $2 THEN NULL ELSE pod END,
    heartbeat_at = CASE WHEN attempt < $2 THEN NULL ELSE heartbeat_at END,
    queue_position = NULL,
    message = CASE WHEN attempt < $2 THEN $4 ELSE message END
WHERE id = $1 AND attempt IN ($2, $2 - 1) AND state NOT IN ('completed', 'failed', 'cancelled')
RETURNING attempt;

-- name: claim
-- The pod of the current attempt takes the job; the same pod may do so again after a restart of its worker. A job that
-- was created by another version may have another target: it counts until the job has a list of files.
UPDATE jobs
SET target = CASE WHEN files_total IS NULL THEN COALESCE($4, target) ELSE target END, state = 'running', blocked_since = NULL, pod = $3, started_at = COALESCE(started_at, now()),
    claimed_at = now(), done_at_claim = files_indexed + files_skipped, heartbeat_at = now(),
    phase = COALESCE(phase, 'scanning'), queue_position = NULL,
    message = CASE WHEN phase IS NULL THEN 'Scanning the repository' ELSE message END
WHERE id = $1 AND attempt = $2 AND (pod IS NULL OR pod = $3)
  AND state NOT IN ('completed', 'failed', 'cancelled')
RETURNING *;

-- name: heartbeat
-- Heartbeat with progress, every second. No row: the fence is lost.
UPDATE jobs
SET heartbeat_at = now(), phase = $3, percent = GREATEST(percent, $4), message = $5, eta_seconds = $6
WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked')
RETURNING state;

-- name: set_commit
-- The commit that is being indexed, and the mark of the source that the list is of.
UPDATE jobs SET commit = $3, source_mark = $4 WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked') RETURNING id;

-- name: block
-- The job waits for a service.
UPDATE jobs SET state = 'blocked', blocked_since = COALESCE(blocked_since, now()), message = $3, heartbeat_at = now()
WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked') RETURNING id;

-- name: unblock
-- The service is back.
UPDATE jobs SET state = 'running', blocked_since = NULL, heartbeat_at = now()
WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked') RETURNING id;

-- name: count_vectors
-- What a slow model did for files that are committed.
UPDATE jobs SET vectors_made = vectors_made + $3, vectors_reused = vectors_reused + $4, texts_cut = texts_cut + $5
WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked') RETURNING id;

-- name: complete
-- The last write of a job, in the transaction that finishes its index.
UPDATE jobs
SET state = 'completed', phase = 'complete', percent = 100, completed_at = now(), eta_seconds = 0, message = $3
WHERE id = $1 AND attempt = $2 AND state = 'running'
RETURNING id;

-- name: fail
-- The attempt's own pod ends the job as failed.
UPDATE jobs
SET state = 'failed', completed_at = now(), blocked_since = NULL, eta_seconds = NULL, queue_position = NULL,
    error_type = $3, error_message = $4, message = $4
WHERE id = $1 AND attempt = $2 AND state NOT IN ('completed', 'failed', 'cancelled')
RETURNING id;

-- name: cancel
-- The fence that makes a cancel true: the token rises and the state is final, so no pod writes any more.
UPDATE jobs
SET state = 'cancelled', cancelled_at = now(), attempt = attempt + 1, blocked_since = NULL, eta_seconds = NULL,
    queue_position = NULL, message = $2
WHERE id = $1 AND state NOT IN ('completed', 'failed', 'cancelled')
  AND ($3::text[] IS NULL OR namespace = ANY ($3))
RETURNING *;

-- name: unblock_to_suspend
-- The first half of a blocked job's suspend: it may go back to the queue only by way of running.
UPDATE jobs SET state = 'running', blocked_since = NULL WHERE id = $1 AND state = 'blocked';

-- name: suspend
-- Back to the queue with everything that is committed; the token rises, so the old pod stops.
UPDATE jobs
SET state = 'pending', attempt = attempt + 1, pod = NULL, heartbeat_at = NULL, eta_seconds = NULL, message = $2,
    starting_since = NULL
WHERE id = $1 AND state = 'running'
RETURNING *;

-- name: set_queue
-- Places in the queue, for status answers.
UPDATE jobs SET queue_position = q.position, message = q.message
FROM unnest($1::uuid[], $2::integer[], $3::text[]) AS q (id, position, message)
WHERE jobs.id = q.id AND jobs.state = 'pending'
  AND (jobs.queue_position, jobs.message) IS DISTINCT FROM (q.position, q.message);

-- name: orphans
-- Jobs that ended longer ago than $3 and whose resource is none of $2, the oldest first, at most $4.
SELECT * FROM jobs
WHERE namespace = $1 AND NOT slot AND state IN ('completed', 'failed', 'cancelled')
  AND COALESCE(completed_at, cancelled_at) <= now() - $3::interval AND NOT id = ANY ($2::uuid[])
ORDER BY COALESCE(completed_at, cancelled_at), id
LIMIT $4;

-- name: delete
-- A final job's row and its work list; the index stays.
DELETE FROM jobs WHERE id = $1 AND NOT slot AND state IN ('completed', 'failed', 'cancelled') RETURNING id;
