-- A job refreshes the planner's statistics at its end. ANALYZE is the owner's alone, which an indexer is not where each
-- program has a role of its own (docs/decisions/0024): this lets it, and no more. The tables are named in full, so that no
-- temporary table takes their place.
DO $do$
BEGIN
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
END $do$;
