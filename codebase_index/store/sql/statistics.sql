-- name: read
-- How large the indexes of a namespace are, how old the oldest is, and what the whole database weighs and carries.
-- Chunks are summed from the parts of the inverted index, a row for thousands of them: counting `chunks` would read it all.
SELECT
    (SELECT count(*) FROM indexes
     WHERE namespace = $1 AND target IS NOT NULL AND (model IS NOT NULL OR indexed_at IS NOT NULL)) AS indexes,
    (SELECT COALESCE(sum(part.chunks), 0)::bigint
     FROM (SELECT index_id, chunks FROM segments UNION ALL SELECT index_id, chunks FROM pending_batches) part
     JOIN indexes i ON i.id = part.index_id
     WHERE i.namespace = $1 AND i.target IS NOT NULL) AS chunks,
    (SELECT COALESCE(EXTRACT(epoch FROM now() - min(indexed_at)), 0)::float8
     FROM indexes WHERE namespace = $1 AND target IS NOT NULL) AS oldest_index_seconds,
    pg_database_size(current_database()) AS database_bytes,
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
    current_setting('max_connections')::int AS max_connections;
