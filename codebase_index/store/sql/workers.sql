-- name: register
-- A worker pod of the current attempt registers; the same pod may do so again after its container restarts.
INSERT INTO workers (job_id, pod, attempt, heartbeat_at)
SELECT id, $3, attempt, now() FROM jobs WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked')
ON CONFLICT (job_id, pod) DO UPDATE SET attempt = EXCLUDED.attempt, heartbeat_at = EXCLUDED.heartbeat_at
RETURNING job_id;

-- name: heartbeat
-- Heartbeat, every second. No row: the fence is lost, or the job is over.
UPDATE workers SET heartbeat_at = now()
WHERE job_id = $1 AND attempt = $2 AND pod = $3
  AND EXISTS (SELECT FROM jobs WHERE id = $1 AND attempt = $2 AND state IN ('running', 'blocked'))
RETURNING job_id;

-- name: release_stale
-- Release the claims of workers without a heartbeat: gone, lost or stuck. A worker that comes back finds its files done,
-- or finishes them first; a file's done mark is set once, so the file is written once.
UPDATE work SET attempt = NULL, claimed_by = NULL
WHERE job_id = $1 AND state = 'todo' AND attempt = $2
  AND claimed_by IS DISTINCT FROM (SELECT pod FROM jobs WHERE id = $1)
  AND NOT EXISTS (SELECT FROM workers w WHERE w.job_id = $1 AND w.pod = work.claimed_by AND w.attempt = $2
                  AND w.heartbeat_at > now() - $3::interval);
