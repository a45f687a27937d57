-- name: list
-- Every resource of a kind; of one owner, if one is given ($2); with a label ($3) of one of these values, if given.
SELECT uid, version, body FROM resources
WHERE kind = $1 AND ($2::uuid IS NULL OR owner = $2)
  AND ($3::text IS NULL OR body #>> ARRAY['metadata', 'labels', $3] = ANY ($4::text[]))
ORDER BY version;

-- name: lock_shared
-- No change is under way until the transaction ends.
SELECT pg_advisory_xact_lock_shared(hashtext('codebase-mcp resources'));

-- name: newest
-- The version of the newest change; 0: there was none. (A sequence that was never asked has its first value, too.)
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM resource_versions;

-- name: get
-- One resource, by its name.
SELECT uid, version, body FROM resources WHERE kind = $1 AND name = $2;

-- name: insert
-- A new resource. No row: its name is taken.
INSERT INTO resources (kind, name, owner, body) VALUES ($1, $2, $3, $4)
ON CONFLICT (kind, name) DO NOTHING
RETURNING uid, version, body;

-- name: set_status
-- Replace the status, of this version if one is given ($4). No row: it is gone, another one, or of another version.
UPDATE resources SET body = jsonb_set(body, '{status}', $5)
WHERE kind = $1 AND name = $2 AND uid = $3 AND ($4::bigint IS NULL OR version = $4)
RETURNING uid, version, body;

-- name: patch_spec
-- Merge fields into the spec; its generation rises.
UPDATE resources
SET body = jsonb_set(jsonb_set(body, '{spec}', (body -> 'spec') || $4),
                     '{metadata,generation}', to_jsonb((body #>> '{metadata,generation}')::bigint + 1))
WHERE kind = $1 AND name = $2 AND uid = $3 AND NOT body -> 'spec' @> $4
RETURNING uid, version, body;

-- name: mark_deleted
-- Set the time by which the resource shall be gone. The first one stays.
UPDATE resources SET body = jsonb_set(body, '{metadata,deletionTimestamp}', to_jsonb($4::text))
WHERE kind = $1 AND name = $2 AND uid = $3 AND body #> '{metadata,deletionTimestamp}' IS NULL
RETURNING uid, version, body;

-- name: delete
-- Remove a resource with all that it owns.
DELETE FROM resources WHERE kind = $1 AND name = $2 AND uid = $3 RETURNING uid, version, body;

-- name: delete_owned
-- Remove what is of this kind and belongs to an owner.
DELETE FROM resources WHERE kind = $1 AND owner = $2;
