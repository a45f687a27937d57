-- An index belongs to the namespace of its jobs, and to what they leave out: two releases on one database, and two
-- jobs with other filters, no longer write into each other's.

-- In the order in which every transaction comes by them, so that none waits for this one and it for none of them.
LOCK TABLE indexes, jobs IN ACCESS EXCLUSIVE MODE;

ALTER TABLE indexes
    ADD COLUMN namespace text,
    ADD COLUMN include text[] NOT NULL DEFAULT '{}',  -- globs of the files that it has; none: all
    ADD COLUMN exclude text[] NOT NULL DEFAULT '{}';  -- globs of the files that it leaves out

-- Of several namespaces, the one whose job is under way, since its list of files counts on this very index; else the
-- one that completed it last. One that no job knows any more goes to whoever migrates: nothing is lost.
UPDATE indexes i SET namespace = COALESCE((
    SELECT j.namespace FROM jobs j
    WHERE j.target = i.target OR i.target IS NULL AND j.source = i.source AND j.ref IS NOT DISTINCT FROM i.ref
    ORDER BY j.state IN ('running', 'blocked') OR j.slot OR j.state = 'pending' AND j.files_total IS NOT NULL DESC,
             j.state = 'completed' DESC, j.created_at DESC, j.arrival DESC
    LIMIT 1), current_setting('codebase.namespace'));

ALTER TABLE indexes
    ALTER COLUMN namespace SET NOT NULL,
    DROP CONSTRAINT indexes_target_key,
    ADD CONSTRAINT indexes_namespace_target_key UNIQUE (namespace, target);

DROP INDEX jobs_one_running_per_target, jobs_newest;
-- Two jobs of a namespace for one target never run at once.
CREATE UNIQUE INDEX jobs_one_running_per_target ON jobs (namespace, target) WHERE state IN ('running', 'blocked');
CREATE INDEX jobs_newest ON jobs (namespace, created_at DESC, arrival DESC);
-- The newest job of each index, which every search asks for.
CREATE INDEX jobs_of_target ON jobs (namespace, target, created_at DESC, arrival DESC);

-- A pod of the release before opens its index by the key that is gone. One that has a list of files has opened it, and
-- goes on. The others have written nothing yet: they are fenced, and the operator starts them anew.
UPDATE jobs SET attempt = attempt + 1, pod = NULL, heartbeat_at = NULL, message = 'Restarting: upgraded'
WHERE (slot OR state IN ('running', 'blocked')) AND state IN ('pending', 'running', 'blocked') AND files_total IS NULL;
