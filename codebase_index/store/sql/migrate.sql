-- name: lock
-- One migration at a time, whoever migrates; waits for those of other programs.
SELECT pg_advisory_xact_lock($1);

-- name: holder
-- Who holds that lock.
SELECT format('%s at %s (pid %s), which began at %s UTC', coalesce(nullif(application_name, ''), 'a program'),
              coalesce(host(client_addr), 'the database''s own machine'), a.pid,
              to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')) AS description
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE locktype = 'advisory' AND granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = 0 AND objid = $1 AND objsubid = 1;

-- name: set_namespace
-- For a migration to read: which namespace's program migrates.
SELECT set_config('codebase.namespace', $1, true);

-- name: vector_schema
-- Where the search path finds the type vector: managed services put extensions into a schema of their own.
SELECT nspname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE t.oid = to_regtype('vector');

-- name: make_history
-- Which migrations this database has; `digest` is the SHA-256 of the file that was applied, in hex.
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    digest     text NOT NULL
);

-- name: history_columns
-- What is noted of each: release 0.1.0 had no digests.
SELECT attname FROM pg_attribute
WHERE attrelid = 'schema_migrations'::regclass AND attnum > 0 AND NOT attisdropped;

-- name: history
-- The migrations that were applied, in order.
SELECT number, name, digest FROM schema_migrations ORDER BY number;

-- name: idle_timeout
-- One of the settings that each connection brings, as this session has it.
SELECT current_setting('idle_in_transaction_session_timeout')::interval;

-- name: newest
-- The last one.
SELECT max(number) FROM schema_migrations;

-- name: record_migration
-- One was applied.
INSERT INTO schema_migrations (number, name, digest) VALUES ($1, $2, $3);

-- name: add_digest
-- A database of before digests, whose only migration was looked at.
ALTER TABLE schema_migrations ADD COLUMN digest text NOT NULL DEFAULT '{digest}';

-- name: require_digest
-- From here on each brings its own.
ALTER TABLE schema_migrations ALTER COLUMN digest DROP DEFAULT;

-- name: shape
-- What the first migration makes, a line each, in words that are alike in every version of Postgres.
WITH ours AS (
    SELECT oid, relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname IN (
        'job_transitions', 'indexes', 'jobs', 'work', 'helpers', 'files', 'chunks', 'embeddings', 'pending_batches',
        'segments', 'postings', 'embedding_cache'))
SELECT format('column %s.%s %s%s%s', relname, attname, format_type(atttypid, atttypmod),
              CASE WHEN attnotnull THEN ' not null' END, CASE WHEN attidentity <> '' THEN ' identity' END) AS line
FROM ours JOIN pg_attribute a ON a.attrelid = ours.oid WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT format('index %s on %s', indexrelid::regclass, relname) FROM ours JOIN pg_index i ON i.indrelid = ours.oid
UNION ALL
SELECT format('trigger %s on %s', tgname, relname) FROM ours JOIN pg_trigger t ON t.tgrelid = ours.oid
WHERE NOT tgisinternal
UNION ALL
SELECT format('function %s %s', proname, md5(prosrc)) FROM pg_proc
WHERE pronamespace = current_schema()::regnamespace AND proname IN ('guard_job', 'forget_chunks', 'forget_vectors')
ORDER BY line;
