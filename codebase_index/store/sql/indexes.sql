-- name: ensure
-- The index of a target, made by its first job.
INSERT INTO indexes (namespace, target, source, ref, name, model, include, exclude)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (namespace, target) DO UPDATE SET name = COALESCE(EXCLUDED.name, indexes.name)
RETURNING id;

-- name: dimension
-- How long an index's vectors of a model are.
SELECT vector_dims(e.embedding)
FROM files f JOIN chunks c ON c.file_id = f.id JOIN embeddings e ON e.chunk_id = c.id
WHERE f.index_id = $1 AND e.model = $2 LIMIT 1;

-- name: list
-- The indexes of some namespaces, or of all, with the state of each one's newest job. One without a target is being removed: nobody finds it any more.
SELECT i.id, i.namespace, i.target, i.source, i.ref, i.name, i.model, i.commit, i.indexed_at, i.include, i.exclude,
       j.id AS job_id, j.state AS job_state, j.percent AS job_percent, j.commit AS job_commit,
       j.files_total AS job_files_total, j.files_indexed + j.files_skipped AS job_files_done
FROM indexes i
LEFT JOIN LATERAL (
    SELECT id, state, percent, commit, files_total, files_indexed, files_skipped
    FROM jobs WHERE jobs.namespace = i.namespace AND jobs.target = i.target
    ORDER BY created_at DESC, arrival DESC LIMIT 1) j ON true
WHERE i.target IS NOT NULL AND ($1::text[] IS NULL OR i.namespace = ANY ($1))
ORDER BY i.source, i.ref NULLS FIRST;
