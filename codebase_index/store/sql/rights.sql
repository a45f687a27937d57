-- name: roles
-- Those of these roles that the server has.
SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[]) ORDER BY rolname;

-- name: tables
-- The tables of the schema that are ours, each quoted.
SELECT quote_ident(relname) FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v') AND pg_has_role(relowner, 'USAGE')
ORDER BY relname;

-- name: columns_of_jobs
-- The columns of a job, less some.
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = 'jobs'::regclass AND attnum > 0 AND NOT attisdropped AND NOT attname = ANY ($1::text[]);

-- name: policies
-- Our policies in force.
SELECT tablename || '.' || policyname AS policy
FROM pg_policies p JOIN pg_class c ON c.oid = format('%I.%I', schemaname, tablename)::regclass
WHERE schemaname = current_schema() AND policyname LIKE 'codebase\_%' AND c.relrowsecurity;

-- name: codebase_operator
-- Plans and ends jobs: every job's row, and what it measures. No code, no vectors.
GRANT SELECT ON schema_migrations, job_transitions, jobs, work, workers, indexes, files, pending_batches, segments
    TO codebase_operator;
GRANT INSERT, UPDATE, DELETE ON jobs TO codebase_operator;
GRANT EXECUTE ON FUNCTION end_connections_of_job(uuid) TO codebase_operator;

-- name: codebase_server
-- Reads all that searches and answers are made of; starts and cancels jobs.
GRANT SELECT ON schema_migrations, job_transitions, jobs, work, workers, indexes, files, chunks, definitions, embeddings,
    pending_batches, segments, postings TO codebase_server;
GRANT INSERT (id, namespace, cr_name, target, source, ref, name, created_at, message, caller) ON jobs TO codebase_server;
GRANT UPDATE (state, cancelled_at, attempt, blocked_since, eta_seconds, queue_position, message) ON jobs TO codebase_server;
GRANT EXECUTE ON FUNCTION end_connections_of_job(uuid) TO codebase_server;

-- name: codebase_server_deletes
-- And removes indexes, where the site lets clients do so.
GRANT UPDATE (target), INSERT (namespace, target, source, include, exclude) ON indexes TO codebase_server;
GRANT DELETE ON indexes, files, chunks, definitions, embeddings, pending_batches, segments TO codebase_server;

-- name: codebase_indexer
-- Writes indexes, and of its own job what it is to report. The policies below say which rows it sees at all.
GRANT SELECT ON schema_migrations, job_transitions, jobs TO codebase_indexer;
GRANT UPDATE ({columns_of_jobs}) ON jobs TO codebase_indexer;
GRANT SELECT, INSERT, UPDATE, DELETE ON work, files, embedding_cache TO codebase_indexer;
GRANT SELECT, INSERT, UPDATE ON workers TO codebase_indexer;
GRANT SELECT, INSERT, UPDATE (name, model, commit, indexed_at, read_since) ON indexes TO codebase_indexer;
GRANT SELECT, INSERT, DELETE, UPDATE (grams) ON segments TO codebase_indexer;
GRANT SELECT, INSERT, DELETE ON chunks, definitions, embeddings, pending_batches TO codebase_indexer;
GRANT SELECT, INSERT ON postings TO codebase_indexer;
GRANT USAGE ON SEQUENCE chunk_ids TO codebase_indexer;
GRANT EXECUTE ON FUNCTION analyze_table(text) TO codebase_indexer;
