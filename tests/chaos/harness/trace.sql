-- The witness: triggers that note every change of a job, and who writes into an index. Installed by the harness for
-- the time of a run. A note is part of the transaction that it is about, so it is as true as that one.
CREATE SCHEMA chaos;

CREATE TABLE chaos.changes (
    n              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- of one job in order: its row is locked
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid            xid8 NOT NULL DEFAULT pg_current_xact_id(),
    writer         text NOT NULL DEFAULT current_setting('application_name'),  -- indexers: 'indexer/<of the job's id>/<pod>'
    job_id         uuid NOT NULL,
    state          text NOT NULL,
    attempt        integer NOT NULL,
    pod            text,
    slot           boolean NOT NULL,
    claimed_at     timestamptz,
    percent        real NOT NULL,
    files_indexed  integer NOT NULL,
    files_skipped  integer NOT NULL,
    chunks_created bigint NOT NULL,
    message        text NOT NULL
);
CREATE INDEX ON chaos.changes (job_id, n);

-- The definer's rights: the programs' own roles may not write here.
CREATE FUNCTION chaos.note_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos.changes (job_id, state, attempt, pod, slot, claimed_at, percent, files_indexed, files_skipped,
                               chunks_created, message)
    VALUES (NEW.id, NEW.state, NEW.attempt, NEW.pod, NEW.slot, NEW.claimed_at, NEW.percent, NEW.files_indexed,
            NEW.files_skipped, NEW.chunks_created, NEW.message);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_created AFTER INSERT ON public.jobs FOR EACH ROW EXECUTE FUNCTION chaos.note_change();
CREATE TRIGGER chaos_changed AFTER UPDATE ON public.jobs FOR EACH ROW EXECUTE FUNCTION chaos.note_change();

-- Every transaction that put files or chunks into an index. The fence demands that it changed its job, too.
CREATE TABLE chaos.writes (
    xid    xid8 PRIMARY KEY DEFAULT pg_current_xact_id(),
    writer text NOT NULL DEFAULT current_setting('application_name')
);
CREATE FUNCTION chaos.note_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM written) THEN
        INSERT INTO chaos.writes DEFAULT VALUES ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_written AFTER INSERT ON public.files
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_write();
CREATE TRIGGER chaos_rewritten AFTER UPDATE ON public.files
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_write();
CREATE TRIGGER chaos_written AFTER INSERT ON public.chunks
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_write();
