-- Jobs and pods of the embedded runtime, which has no API server: the same bodies, kept here. On a cluster it is empty.
CREATE SEQUENCE resource_versions;

CREATE TABLE resources (
    uid     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind    text NOT NULL,               -- IndexingJob, Pod or Event
    name    text NOT NULL,
    owner   uuid REFERENCES resources ON DELETE CASCADE,  -- what is removed with its job
    version bigint NOT NULL,             -- metadata.resourceVersion; set by the trigger, never by a writer
    body    jsonb NOT NULL,              -- as the Kubernetes API has it, without uid and resourceVersion
    UNIQUE (kind, name)
);
CREATE INDEX resources_owner ON resources (owner);

-- Versions rise in the order of commits, on which a listing's version relies: one writer at a time, and a reader who
-- holds the same lock, shared, sees all up to the sequence's last value.
CREATE FUNCTION set_resource_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('codebase-mcp resources'));
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.version := nextval('resource_versions');
    RETURN NEW;
END $$;
CREATE TRIGGER resource_version BEFORE INSERT OR UPDATE OR DELETE ON resources
    FOR EACH ROW EXECUTE FUNCTION set_resource_version();

-- What a watch is on a cluster. A deletion has a version of its own, so that it counts as seen.
CREATE FUNCTION notify_resource_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed resources := COALESCE(NEW, OLD);
BEGIN
    IF changed.kind <> 'Event' THEN
        PERFORM pg_notify('resources', json_build_object(
            'type', CASE TG_OP WHEN 'INSERT' THEN 'ADDED' WHEN 'UPDATE' THEN 'MODIFIED' ELSE 'DELETED' END,
            'kind', changed.kind, 'name', changed.name, 'uid', changed.uid,
            'version', CASE TG_OP WHEN 'DELETE' THEN nextval('resource_versions') ELSE changed.version END
        )::text);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER resource_change AFTER INSERT OR UPDATE OR DELETE ON resources
    FOR EACH ROW EXECUTE FUNCTION notify_resource_change();
