-- The further pods of a job with spec.parallelism. They claim batches of the attempt, and nothing else.
CREATE TABLE helpers (
    job_id       uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    pod          text NOT NULL,
    attempt      integer NOT NULL,
    heartbeat_at timestamptz NOT NULL,  -- every second: what a silent one holds is given to others
    PRIMARY KEY (job_id, pod)
);
