-- name: files
-- The next files of an index in the order of their paths, after a place ($2: path; null: from the start).
SELECT f.id, f.path
FROM files f
WHERE f.index_id = $1 AND ($2::text IS NULL OR f.path > $2 OR ($3 AND f.path = $2))
  AND ($4::text IS NULL OR f.path ~ $4) AND ($5::text IS NULL OR f.path !~ $5)
  AND (cardinality($6::text[]) = 0 OR f.language = ANY ($6))
  AND (cardinality($7::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($7::bigint[], $8::text[]) AS s (index_id, path)
                                                 WHERE s.index_id = f.index_id AND f.path ~ s.path))
ORDER BY f.path
LIMIT $9;

-- name: matching
-- Chunks of some files that hold the pattern, with the numbers of the lines that match, counted from 1 in the chunk.
-- The whole chunk is tested first, by a plain search where the pattern is literal: most chunks end there.
SELECT c.id, c.index_id, f.path, f.language, c.start_line, c.end_line, c.symbol, c.text,
       ARRAY(SELECT l.number::integer FROM string_to_table(c.text, E'\n') WITH ORDINALITY AS l (line, number)
             WHERE l.line ~ $2 AND l.number <= c.end_line - c.start_line + 1 ORDER BY l.number) AS lines
FROM chunks c
JOIN files f ON f.id = c.file_id
WHERE c.file_id = ANY ($1::bigint[])
  AND ($3::text IS NULL OR strpos(c.text, $3) > 0) AND ($3::text IS NOT NULL OR c.text ~ $2)
ORDER BY f.path, c.start_line, c.id;
