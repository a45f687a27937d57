-- name: of_chunks
-- The packed definitions of the files that some chunks are of; none for files of an older index.
SELECT array_agg(c.id) AS chunks, d.packed
FROM chunks c JOIN files f ON f.id = c.file_id JOIN definitions d ON d.first_chunk = f.first_chunk
WHERE c.id = ANY ($1::bigint[])
GROUP BY d.first_chunk;

-- name: of_file
-- The packed definitions of a file; null for one of an older index; no row for a file that is not indexed.
SELECT d.packed FROM files f LEFT JOIN definitions d ON d.first_chunk = f.first_chunk
WHERE f.index_id = $1 AND f.path = $2;
