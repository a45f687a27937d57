-- What bounds a job that holds a slot and does nothing: since when it starts, and how often it was disturbed.

ALTER TABLE jobs
    -- When the start began that is not over: by a slot, or by the first fence after a claim. Counts while `pod` is null.
    ADD COLUMN starting_since timestamptz,
    -- Attempts that the cluster ended, in a row: not counted against backoffLimit, and over when a file more is done.
    ADD COLUMN disruptions integer NOT NULL DEFAULT 0;

UPDATE jobs SET starting_since = now()
WHERE slot AND pod IS NULL AND state NOT IN ('completed', 'failed', 'cancelled');
