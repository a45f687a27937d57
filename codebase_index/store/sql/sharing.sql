-- name: own_files
-- How many files an index has.
SELECT count(*) FROM files WHERE index_id = $1;

-- name: make_wanted
-- What a scan found, until the transaction ends.
CREATE TEMPORARY TABLE wanted (path text, blob bytea, size bigint) ON COMMIT DROP;

-- name: leave_known
-- A path that the index has already is not copied: the file is taken over, or indexed anew, as at any job.
DELETE FROM pg_temp.wanted w USING files f WHERE f.index_id = $1 AND f.path = w.path;

-- name: best_donor
-- The other index of the namespace that holds most of it under the same paths, made by the same versions.
SELECT i.id, i.source, i.ref, count(*) AS files
FROM pg_temp.wanted w
JOIN files f ON f.path = w.path AND f.blob = w.blob AND f.size = w.size
JOIN indexes i ON i.id = f.index_id
WHERE f.fingerprint = $1 AND i.id <> $2 AND i.target IS NOT NULL
  AND i.namespace = (SELECT namespace FROM indexes WHERE id = $2)
GROUP BY i.id ORDER BY count(*) DESC, i.id LIMIT 1;

-- name: files_of_donor
-- Which of it that index holds.
SELECT w.path FROM files f
JOIN pg_temp.wanted w ON w.path = f.path AND w.blob = f.blob AND w.size = f.size
WHERE f.index_id = $1 AND f.fingerprint = $2;

-- name: hold_donor
-- Nobody replaces its segments, and nobody removes it, until the transaction ends.
SELECT id FROM indexes WHERE id = $1 AND target IS NOT NULL FOR NO KEY UPDATE;

-- name: hold_files
-- Nor does anybody write these files anew.
SELECT f.id, f.first_chunk, f.chunks FROM files f
JOIN pg_temp.wanted w ON w.path = f.path AND w.blob = f.blob AND w.size = f.size
WHERE f.index_id = $1 AND f.fingerprint = $2
ORDER BY f.path FOR SHARE OF f;

-- name: copy_files
-- Files with other owners, other chunks and the same content.
INSERT INTO files (index_id, path, language, blob, size, fingerprint, first_chunk, chunks, job_id)
SELECT $1, path, language, blob, size, fingerprint, new.first_chunk, chunks, $2
FROM unnest($3::bigint[], $4::bigint[]) AS new (id, first_chunk) JOIN files USING (id);

-- name: copy_chunks
-- The chunks of files, under the ids that the copies have for them.
INSERT INTO chunks (id, index_id, file_id, start_line, end_line, symbol, text, kind, defines, names, kinds)
SELECT copy.first_chunk + (c.id - f.first_chunk), $1, copy.id, start_line, end_line, symbol, text, kind, defines,
       names, c.kinds
FROM files f
JOIN files copy ON copy.index_id = $1 AND copy.path = f.path
JOIN chunks c ON c.file_id = f.id
WHERE f.id = ANY ($2::bigint[]);

-- name: copy_vectors
-- Their vectors.
INSERT INTO embeddings (chunk_id, model, embedding)
SELECT m.id, model, embedding
FROM unnest($1::bigint[], $2::bigint[]) AS m (former, id) JOIN embeddings e ON e.chunk_id = m.former;
