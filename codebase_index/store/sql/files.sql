-- name: at_path
-- The files of some indexes at a path, each with its last line.
SELECT f.id, f.index_id, f.path, f.language, COALESCE(last.end_line, 0) AS lines
FROM files f LEFT JOIN chunks last ON last.id = f.first_chunk + f.chunks - 1
WHERE f.index_id = ANY ($1::bigint[]) AND f.path = $2
ORDER BY f.index_id;

-- name: called
-- Files of some indexes by the last part of their path, in any letter case; the shortest paths first.
SELECT f.index_id, f.path FROM files f
WHERE f.index_id = ANY ($1::bigint[]) AND (lower(f.path) = $2 OR right(lower(f.path), length($2) + 1) = '/' || $2)
ORDER BY length(f.path), f.path LIMIT $3;

-- name: is_folder
-- Whether some index has a file in this folder.
SELECT EXISTS (SELECT FROM files f WHERE f.index_id = ANY ($1::bigint[]) AND starts_with(f.path, $2));

-- name: texts
-- The chunks of a file that have some of these lines, in order.
SELECT start_line, end_line, text FROM chunks
WHERE file_id = $1 AND end_line >= $2 AND start_line <= $3
ORDER BY id LIMIT $4;

-- name: page
-- The files of some indexes that pass the filters, by index and path.
SELECT f.index_id, f.path, f.language, COALESCE(last.end_line, 0) AS lines
FROM files f LEFT JOIN chunks last ON last.id = f.first_chunk + f.chunks - 1
WHERE f.index_id = ANY ($1::bigint[])
  AND ($2::text IS NULL OR f.path ~ $2) AND ($3::text IS NULL OR f.path !~ $3)
  AND (cardinality($4::text[]) = 0 OR f.language = ANY ($4))
  AND (cardinality($5::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($5::bigint[], $6::text[]) AS s (index_id, path)
                                                 WHERE s.index_id = f.index_id AND f.path ~ s.path))
ORDER BY array_position($1::bigint[], f.index_id), f.path
LIMIT $7 OFFSET $8;

-- name: paths
-- The paths alone, in the same order.
SELECT f.index_id, f.path FROM files f
WHERE f.index_id = ANY ($1::bigint[])
  AND ($2::text IS NULL OR f.path ~ $2) AND ($3::text IS NULL OR f.path !~ $3)
  AND (cardinality($4::text[]) = 0 OR f.language = ANY ($4))
  AND (cardinality($5::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($5::bigint[], $6::text[]) AS s (index_id, path)
                                                 WHERE s.index_id = f.index_id AND f.path ~ s.path))
ORDER BY array_position($1::bigint[], f.index_id), f.path
LIMIT $7;

-- name: file_counts
-- How many files and chunks of each language some indexes hold of those that pass the filters.
SELECT f.index_id, f.language, count(*) AS files, sum(f.chunks)::bigint AS chunks FROM files f
WHERE f.index_id = ANY ($1::bigint[])
  AND ($2::text IS NULL OR f.path ~ $2) AND ($3::text IS NULL OR f.path !~ $3)
  AND (cardinality($4::text[]) = 0 OR f.language = ANY ($4))
  AND (cardinality($5::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($5::bigint[], $6::text[]) AS s (index_id, path)
                                                 WHERE s.index_id = f.index_id AND f.path ~ s.path))
GROUP BY f.index_id, f.language
ORDER BY f.index_id, count(*) DESC, f.language;
