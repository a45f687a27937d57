-- Jobs, the work list of each, and the index that search answers from.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TYPE job_state AS ENUM (
    'pending',    -- created or suspended; -> running, cancelled, failed
    'running',    -- an attempt was started; -> completed, failed, cancelled, blocked, pending (suspended)
    'blocked',    -- waits for a service; -> running, failed, cancelled
    'completed',  -- final
    'failed',     -- final, with error_type and error_message
    'cancelled'   -- final; what was indexed stays searchable
);

-- The legal transitions, the same table as codebase_index.job.TRANSITIONS (a test compares them).
CREATE TABLE job_transitions (
    from_state job_state NOT NULL,
    to_state   job_state NOT NULL,
    PRIMARY KEY (from_state, to_state)
);
INSERT INTO job_transitions VALUES
    ('pending', 'running'), ('pending', 'cancelled'), ('pending', 'failed'),
    ('running', 'completed'), ('running', 'failed'), ('running', 'cancelled'),
    ('running', 'blocked'), ('running', 'pending'),
    ('blocked', 'running'), ('blocked', 'failed'), ('blocked', 'cancelled');

-- One index per target (source and ref): what search_code answers from. It outlives its jobs.
CREATE TABLE indexes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target     text UNIQUE,  -- null: taken out, to be removed; nobody finds it any more
    source     text NOT NULL,
    ref        text,
    name       text,
    model      text,         -- embedding model of its vectors: 'static/minilm-static-256'; null before the first batch
    commit     text,         -- commit of the last completed job, where there is one
    indexed_at timestamptz,  -- when a job last completed; null while the first one runs
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE jobs (
    id              uuid PRIMARY KEY,   -- the custom resource's metadata.uid
    namespace       text NOT NULL,
    cr_name         text NOT NULL,
    target          text NOT NULL,
    source          text NOT NULL,      -- path or URL, as the user gave it
    ref             text,
    name            text,
    state           job_state NOT NULL DEFAULT 'pending',
    -- The fencing token: every write of an indexer tests it in its own transaction, and loses when it has changed.
    attempt         integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    failures        integer NOT NULL DEFAULT 0,  -- attempts that failed by themselves: counted against backoffLimit
    -- Whether it counts against the limit of jobs at once: from its admission until none of its pods is left.
    slot            boolean NOT NULL DEFAULT false,
    pod             text,               -- pod that claimed the current attempt
    claimed_at      timestamptz,        -- when a worker last took the job; one that starts again takes it again
    done_at_claim   integer NOT NULL DEFAULT 0,  -- files done at that moment: more than these means that it works
    phase           text,
    percent         real NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    message         text NOT NULL DEFAULT '',
    queue_position  integer,
    commit          text,
    files_total     integer,            -- null until the scan is frozen
    files_indexed   integer NOT NULL DEFAULT 0,
    files_skipped   integer NOT NULL DEFAULT 0,
    chunks_created  bigint NOT NULL DEFAULT 0,
    files_repeated  integer NOT NULL DEFAULT 0,  -- files that were started more than once: repeated work
    eta_seconds     integer,
    error_type      text,
    error_message   text,
    blocked_since   timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    heartbeat_at    timestamptz,
    completed_at    timestamptz,        -- set for completed and failed, never for cancelled
    cancelled_at    timestamptz,
    CHECK ((state = 'cancelled') = (cancelled_at IS NOT NULL)),
    CHECK ((state IN ('completed', 'failed')) = (completed_at IS NOT NULL)),
    CHECK ((state = 'failed') = (error_type IS NOT NULL)),
    CHECK ((state = 'blocked') = (blocked_since IS NOT NULL))
);
CREATE INDEX jobs_with_slot ON jobs (namespace) WHERE slot;
CREATE INDEX jobs_newest ON jobs (created_at DESC, id);
-- Two jobs for one target never run at once.
CREATE UNIQUE INDEX jobs_one_running_per_target ON jobs (target) WHERE state IN ('running', 'blocked');

CREATE FUNCTION guard_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state
       AND NOT EXISTS (SELECT 1 FROM job_transitions t WHERE t.from_state = OLD.state AND t.to_state = NEW.state) THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'job_transitions';
    END IF;
    IF NEW.attempt < OLD.attempt OR NEW.files_indexed < OLD.files_indexed OR NEW.files_skipped < OLD.files_skipped
       OR NEW.chunks_created < OLD.chunks_created OR NEW.percent < OLD.percent THEN
        RAISE EXCEPTION 'job %: attempt, progress and counters never fall', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'job_monotone';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_job BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION guard_job();

-- The work list of a job, frozen when its scan ends: what remains is exactly the rows in 'todo'.
CREATE TYPE work_state AS ENUM ('todo', 'done', 'skipped');
CREATE TABLE work (
    job_id      uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    seq         integer NOT NULL,
    path        text NOT NULL,               -- relative, with forward slashes
    size        bigint NOT NULL,             -- bytes at scan time
    state       work_state NOT NULL DEFAULT 'todo',
    skip_reason text,
    attempt     integer,                     -- attempt that last claimed it
    claimed_by  text,                        -- pod that last claimed it
    starts      smallint NOT NULL DEFAULT 0, -- how often it was claimed; more than once is repeated work
    PRIMARY KEY (job_id, seq),
    CHECK ((state = 'skipped') = (skip_reason IS NOT NULL))
) WITH (fillfactor = 70);  -- every row is updated in place twice: claimed, done
CREATE INDEX work_todo ON work (job_id, seq) WHERE state = 'todo';
CREATE INDEX work_skipped ON work (job_id, seq) WHERE state = 'skipped';

CREATE TABLE files (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_id    bigint NOT NULL REFERENCES indexes ON DELETE CASCADE,
    path        text NOT NULL,
    language    text,
    blob        bytea NOT NULL,  -- git blob id of the content (20 bytes)
    fingerprint text NOT NULL,   -- chunker and model versions; with an equal blob, nothing needs doing again
    chunks      integer NOT NULL,
    job_id      uuid NOT NULL,   -- job that last saw it: the others are swept when that job ends
    UNIQUE (index_id, path)
);

CREATE SEQUENCE chunk_ids;
CREATE TABLE chunks (
    id         bigint PRIMARY KEY,  -- from chunk_ids, reserved by the batch
    index_id   bigint NOT NULL,
    file_id    bigint NOT NULL REFERENCES files ON DELETE CASCADE,
    start_line integer NOT NULL,    -- from 1
    end_line   integer NOT NULL,    -- inclusive
    symbol     text,                -- name of the definition that it holds or lies in, outermost first: Class.method
    text       text NOT NULL,
    terms      tsvector NOT NULL    -- codebase_index.text.terms over path, symbol and text
) WITH (toast_tuple_target = 8160);  -- keep chunks in the row: TOAST compression costs 2.5 times the COPY
CREATE INDEX chunks_of_file ON chunks (file_id);
CREATE INDEX chunks_terms ON chunks USING gin (terms);

-- Vectors beside the chunks, so that another model can be filled in beside this one and switched at the end.
CREATE TABLE embeddings (
    chunk_id  bigint NOT NULL REFERENCES chunks ON DELETE CASCADE,
    index_id  bigint NOT NULL,
    model     text NOT NULL,
    embedding halfvec NOT NULL,
    PRIMARY KEY (chunk_id, model)
);
ALTER TABLE embeddings ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE INDEX embeddings_of_index ON embeddings (index_id, model);
-- Search reads term frequencies from the planner's statistics: 2,000 terms instead of 1,000, from 60,000 rows.
ALTER TABLE chunks ALTER COLUMN terms SET STATISTICS 200;
