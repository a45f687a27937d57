-- What only the owner may do, for programs that have roles of their own (docs/decisions/0024): these functions let them,
-- and no more. The tables are named in full, so that no temporary table takes their place.
DO $do$
BEGIN
    -- A job refreshes the planner's statistics at its end.
    EXECUTE format($create$
        CREATE FUNCTION analyze_table(name text) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF name <> ALL ('{chunks,embeddings,files,postings}') THEN
                RAISE EXCEPTION 'analyze_table: %% is none of the tables that a job refreshes', name;
            END IF;
            EXECUTE format('ANALYZE (SKIP_LOCKED) %%I.%%I', %L, name);
        END $$;
        REVOKE EXECUTE ON FUNCTION analyze_table(text) FROM PUBLIC$create$, current_schema());
    -- A pod that is stuck or lost holds its job's row locked: operator and server end its connections, and no others.
    -- They are found by their application names (codebase_index.store.jobs.jobs.connection_name), which Postgres
    -- truncates to 63 bytes.
    EXECUTE format($create$
        CREATE FUNCTION end_connections_of_job(job uuid) RETURNS void
        LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
            SELECT pg_terminate_backend(a.pid)
            FROM (SELECT pod FROM %1$I.jobs WHERE id = job UNION SELECT pod FROM %1$I.workers WHERE job_id = job) p
            JOIN pg_stat_activity a ON a.datname = current_database() AND a.application_name IN (
                left(format('indexer/%%s/%%s', left(job::text, 8), p.pod), 63),
                left(format('indexer-heart/%%s/%%s', left(job::text, 8), p.pod), 63))
        $$;
        REVOKE EXECUTE ON FUNCTION end_connections_of_job(uuid) FROM PUBLIC$create$, current_schema());
END $do$;
