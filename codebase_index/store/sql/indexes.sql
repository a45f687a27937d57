-- name: ensure
-- The index of a target, made by its first job, or by the first one after it was removed.
INSERT INTO indexes (namespace, target, source, ref, name, model, include, exclude)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (namespace, target) DO UPDATE
SET name = COALESCE(EXCLUDED.name, indexes.name), model = COALESCE(indexes.model, EXCLUDED.model)
RETURNING id;

-- name: dimension
-- How long an index's vectors of a model are.
SELECT vector_dims(e.embedding)
FROM files f JOIN chunks c ON c.file_id = f.id JOIN embeddings e ON e.chunk_id = c.id
WHERE f.index_id = $1 AND e.model = $2 LIMIT 1;

-- name: was_removed
-- Whether an index of a local repository was removed, and nobody has asked for one since.
SELECT EXISTS (
    SELECT FROM indexes
    WHERE source = $1 AND target IS NOT NULL AND model IS NULL AND indexed_at IS NULL
      AND ($2::text[] IS NULL OR namespace = ANY ($2)));

-- name: list
-- The indexes of some namespaces, or of all, and of these all, or the ones with some ids; with the models of their
-- vectors and the state of each one's newest job.
-- One without a target is being removed: nobody finds it any more. One that no job has opened only says that there was
-- one (`remember` in removal.sql). A job that ended before its list of files was frozen has changed nothing: the
-- newest one that counts is the one before.
-- The target is no plain equality: the planner then looked through the jobs of all for an index that has none any more.
SELECT i.id, i.namespace, i.target, i.source, i.ref, i.name, i.model, i.commit, i.indexed_at, i.read_since, i.include,
       i.exclude, COALESCE(m.models, '{}') AS models, COALESCE(m.chunks, '{}') AS models_chunks,
       j.id AS job_id, j.state AS job_state, j.percent AS job_percent, j.commit AS job_commit,
       j.files_total AS job_files_total, j.files_indexed + j.files_skipped AS job_files_done
FROM indexes i
LEFT JOIN LATERAL (
    SELECT id, state, percent, commit, files_total, files_indexed, files_skipped
    FROM jobs WHERE jobs.namespace = i.namespace AND jobs.target BETWEEN i.target AND i.target
      AND NOT (state IN ('cancelled', 'failed') AND files_total IS NULL)
    ORDER BY jobs.target, created_at DESC, arrival DESC LIMIT 1) j ON true
LEFT JOIN (
    SELECT index_id, array_agg(model) AS models, array_agg(chunks) AS chunks
    FROM (SELECT index_id, model, sum(chunks)::bigint AS chunks
          FROM (SELECT index_id, model, chunks FROM segments
                UNION ALL SELECT index_id, model, chunks FROM pending_batches) parts
          GROUP BY index_id, model) of_model
    GROUP BY index_id) m ON m.index_id = i.id
WHERE i.target IS NOT NULL AND (i.model IS NOT NULL OR i.indexed_at IS NOT NULL)
  AND ($1::text[] IS NULL OR i.namespace = ANY ($1)) AND ($2::bigint[] IS NULL OR i.id = ANY ($2))
ORDER BY i.source, i.ref NULLS FIRST;

-- name: files
-- The first files of an index by path, with git's names for their contents: each as one value, since thousands of rows
-- would hold up all else that the reader does.
SELECT string_agg(convert_to(path, 'UTF8'), '\x00' ORDER BY path) AS paths, string_agg(blob, '' ORDER BY path) AS blobs
FROM (SELECT path, blob FROM files WHERE index_id = $1 ORDER BY path LIMIT $2) first;
