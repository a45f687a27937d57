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
    files_unchanged integer NOT NULL DEFAULT 0,  -- of the indexed ones: found in the index as they are, not in `work`
    chunks_created  bigint NOT NULL DEFAULT 0,
    files_repeated  integer NOT NULL DEFAULT 0,  -- files that were started more than once: repeated work
    vectors_made    bigint NOT NULL DEFAULT 0,   -- by a slow model, for files that are committed
    vectors_reused  bigint NOT NULL DEFAULT 0,   -- taken from embedding_cache instead
    texts_cut       bigint NOT NULL DEFAULT 0,   -- longer than the model reads: found by their beginning
    eta_seconds     integer,
    error_type      text,
    error_message   text,
    blocked_since   timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),  -- the resource's, which has whole seconds
    arrival         bigint GENERATED ALWAYS AS IDENTITY,  -- order within a second: who asked first is served first
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
CREATE INDEX jobs_newest ON jobs (created_at DESC, arrival DESC);
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

-- The further pods of a job with spec.parallelism. They claim batches of the attempt, and nothing else.
CREATE TABLE helpers (
    job_id       uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    pod          text NOT NULL,
    attempt      integer NOT NULL,
    heartbeat_at timestamptz NOT NULL,  -- every second: what a silent one holds is given to others
    PRIMARY KEY (job_id, pod)
);

CREATE TABLE files (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_id    bigint NOT NULL REFERENCES indexes ON DELETE CASCADE,
    path        text COLLATE "C" NOT NULL,  -- byte by byte, so that a prefix is a range of the key below
    language    text,
    blob        bytea NOT NULL,  -- git blob id of the content (20 bytes)
    -- Bytes of the content; null: unknown, so the file is read at the next job. Git knows a blob by its id, but a
    -- conversion between blob and work tree (line ends, $Id$) may have come up since: then the size differs.
    size        bigint,
    fingerprint text NOT NULL,   -- chunker and model versions; with an equal blob, nothing needs doing again
    -- Its chunks have consecutive ids from here on, so that whoever knows the files need not ask for the chunks.
    first_chunk bigint NOT NULL,
    chunks      integer NOT NULL,
    job_id      uuid NOT NULL,   -- job that last saw it: the others are swept when that job ends
    UNIQUE (index_id, path)
);
-- A search within a language reads this alone: half the time of a scan where half of the files fit, none for a few.
CREATE INDEX files_of_language ON files (index_id, language) INCLUDE (first_chunk, chunks);

-- `symbol` names a chunk: the first definition that begins in it, else the one that it is a later part of.
-- A chunk may hold several small definitions: all that BEGIN in it are listed, in order, in three arrays of equal
-- length. One row for each definition in a table of its own would cost three times the bytes and a B-tree insert
-- each; the arrays are written with the chunk and go with it.
CREATE SEQUENCE chunk_ids INCREMENT 65536;  -- indexers take blocks of so many ids (store/chunks.py)
CREATE TABLE chunks (
    id         bigint PRIMARY KEY,
    index_id   bigint NOT NULL,
    file_id    bigint NOT NULL,     -- of files: see forget_chunks
    start_line integer NOT NULL,    -- from 1
    end_line   integer NOT NULL,    -- inclusive
    symbol     text,                -- qualified, outermost first: Class.method
    text       text NOT NULL,
    kind       text,                         -- of `symbol`: a word of codebase_index.symbols.Kind
    defines    text[] NOT NULL DEFAULT '{}', -- qualified names: Store.put
    names      text[] NOT NULL DEFAULT '{}', -- the same without their scope, in lower case: put
    kinds      text[] NOT NULL DEFAULT '{}',
    CHECK (cardinality(names) = cardinality(defines) AND cardinality(kinds) = cardinality(defines))
) WITH (toast_tuple_target = 8160);  -- keep chunks in the row: TOAST compression costs 2.5 times the COPY
-- No query is planned by what these columns hold, and sampling them is most of what an ANALYZE of a fresh index costs.
ALTER TABLE chunks ALTER COLUMN start_line SET STATISTICS 0, ALTER COLUMN end_line SET STATISTICS 0,
    ALTER COLUMN symbol SET STATISTICS 0, ALTER COLUMN text SET STATISTICS 0, ALTER COLUMN kind SET STATISTICS 0,
    ALTER COLUMN defines SET STATISTICS 0, ALTER COLUMN kinds SET STATISTICS 0;
-- Which chunks some files have is answered from the index alone: a filter must not read the chunks' texts.
CREATE INDEX chunks_of_file ON chunks (file_id, id);
-- WHERE names @> ARRAY[lower('put')]; the qualified name and the kind are tested on the few rows found.
-- Two or three short names a chunk: its upkeep is about a fiftieth of a full-text index's.
-- Every look-up reads all that waits to be sorted into it: 1.6 ms where that may be the usual 4 MB, 0.1 at 64 kB.
CREATE INDEX chunks_names ON chunks USING gin (names) WITH (gin_pending_list_limit = 64);

-- Vectors beside the chunks: comparing many of them must not read the texts.
CREATE TABLE embeddings (
    chunk_id  bigint PRIMARY KEY,   -- of chunks: see forget_vectors
    model     text NOT NULL,
    embedding halfvec NOT NULL      -- unit length
);
ALTER TABLE embeddings ALTER COLUMN embedding SET STORAGE PLAIN, ALTER COLUMN embedding SET STATISTICS 0;

-- Chunks go with their file and vectors with their chunk, as by ON DELETE CASCADE. Not by foreign keys, which test
-- each row that is inserted: a fifth of all that Postgres does for a job. A batch holds the rows of its files, which
-- it has just written, and inserts each vector with its chunk, so there is nothing to test.
CREATE FUNCTION forget_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM chunks WHERE file_id IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
CREATE TRIGGER forget_chunks AFTER DELETE ON files
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_chunks();

CREATE FUNCTION forget_vectors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM embeddings WHERE chunk_id IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
CREATE TRIGGER forget_vectors AFTER DELETE ON chunks
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_vectors();

-- What a search reads of every chunk: packed postings with BM25 impacts (docs/decisions/0007), and the codes of the
-- vectors (docs/decisions/0012). First a batch's, written in its transaction. codebase_index.postings says what
-- vocabulary and payload hold, codebase_index.codes what codes do.
CREATE TABLE pending_batches (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What searches keep in memory is kept under this: ids come again when a database is restored or made anew.
    stamp        uuid NOT NULL DEFAULT gen_random_uuid(),
    index_id     bigint NOT NULL REFERENCES indexes ON DELETE CASCADE,
    chunks       integer NOT NULL,
    total_length bigint NOT NULL,      -- sum of all term frequencies
    first_ids    bigint[] NOT NULL,    -- the chunks in order: runs of consecutive ids, and how long each is
    run_lengths  integer[] NOT NULL,
    vocabulary   text NOT NULL,        -- a term a line
    payload      bytea NOT NULL,
    model        text NOT NULL,        -- of the vectors, as in embeddings.model
    codes        bytea NOT NULL
);
CREATE INDEX pending_batches_of_index ON pending_batches (index_id, id);

-- Up to 65,536 chunks, numbered from 0, whose postings are packed. Never changed, only replaced.
CREATE TABLE segments (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stamp        uuid NOT NULL DEFAULT gen_random_uuid(),  -- as in pending_batches
    index_id     bigint NOT NULL REFERENCES indexes ON DELETE CASCADE,
    chunks       integer NOT NULL,     -- also those that were removed since
    total_length bigint NOT NULL,
    first_ids    bigint[] NOT NULL,
    run_lengths  integer[] NOT NULL,
    model        text NOT NULL,        -- the same for all of them
    codes        bytea NOT NULL
);
CREATE INDEX segments_of_index ON segments (index_id);

-- A segment's postings in blocks of neighbouring terms: a term is in the last block that does not begin after it.
CREATE TABLE postings (
    segment_id bigint NOT NULL REFERENCES segments ON DELETE CASCADE,
    first_term text COLLATE "C" NOT NULL,
    terms      text NOT NULL,          -- a term a line
    payload    bytea NOT NULL,
    PRIMARY KEY (segment_id, first_term)
) WITH (toast_tuple_target = 8160);    -- keep blocks in their row: they are read whole
-- Packed already: compression costs more than it saves.
ALTER TABLE pending_batches ALTER COLUMN vocabulary SET STORAGE EXTERNAL, ALTER COLUMN payload SET STORAGE EXTERNAL,
    ALTER COLUMN codes SET STORAGE EXTERNAL;
ALTER TABLE segments ALTER COLUMN codes SET STORAGE EXTERNAL;
ALTER TABLE postings ALTER COLUMN terms SET STORAGE EXTERNAL, ALTER COLUMN payload SET STORAGE EXTERNAL,
    ALTER COLUMN terms SET STATISTICS 0, ALTER COLUMN payload SET STATISTICS 0;

-- Vectors of slow models, kept by what was embedded: used again by other refs, repositories and attempts.

CREATE TABLE embedding_cache (
    model     text NOT NULL,         -- as in embeddings.model
    digest    bytea NOT NULL,        -- of the text that was embedded, with the model's prefix: 32 bytes
    embedding halfvec NOT NULL,      -- unit length
    last_used date NOT NULL DEFAULT current_date,  -- a date: a row that is read often is written once a day
    PRIMARY KEY (model, digest)
);
ALTER TABLE embedding_cache ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE INDEX embedding_cache_oldest ON embedding_cache (last_used);
