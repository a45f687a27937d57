-- Who started a job through the MCP server, as a digest: what one caller's share of the queue is counted by. Jobs from
-- before have none, nor do those made with kubectl.
ALTER TABLE jobs ADD COLUMN caller text;

-- Each start counts those that wait, among all that are kept for a week after their end.
CREATE INDEX jobs_waiting ON jobs (namespace, caller) WHERE state = 'pending';
