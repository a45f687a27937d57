-- The few jobs that are not final: what the operator plans from each time, and what the probes count. Without this they
-- read every job of the last seven days.
CREATE INDEX jobs_unfinished ON jobs (namespace) WHERE state NOT IN ('completed', 'failed', 'cancelled');

-- A page of the list is in the order of time, of whatever namespaces: behind the namespace, that order told it nothing,
-- and each page sorted all jobs.
DROP INDEX jobs_newest;
CREATE INDEX jobs_newest ON jobs (created_at DESC, arrival DESC) INCLUDE (namespace);
