-- name: filters
-- Some rows ($2) of the gram filter of each segment and pending batch, one after another; null where it has none.
-- A filter lies outside of its row, so that the part of it that is asked for is all that is read.
SELECT p.index_id, p.chunks, p.first_ids, p.run_lengths,
       (SELECT string_agg(substring(p.grams FROM r.number * ((p.chunks + 7) / 8) + 1 FOR (p.chunks + 7) / 8),
                          ''::bytea ORDER BY r.place)
        FROM unnest($2::integer[]) WITH ORDINALITY AS r (number, place)) AS rows
FROM (SELECT index_id, chunks, first_ids, run_lengths, grams FROM segments WHERE index_id = ANY ($1::bigint[])
      UNION ALL
      SELECT index_id, chunks, first_ids, run_lengths, grams FROM pending_batches
      WHERE index_id = ANY ($1::bigint[])) p;

-- name: files
-- The next files of an index in the order of their paths, after a place ($2: path; null: from the start).
SELECT f.path, f.first_chunk, f.chunks
FROM files f
WHERE f.index_id = $1 AND ($2::text IS NULL OR f.path > $2 OR ($3 AND f.path = $2))
  AND ($4::text IS NULL OR f.path ~ $4) AND ($5::text IS NULL OR f.path !~ $5)
  AND (cardinality($6::text[]) = 0 OR f.language = ANY ($6))
  AND (cardinality($7::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($7::bigint[], $8::text[]) AS s (index_id, path)
                                                 WHERE s.index_id = f.index_id AND f.path ~ s.path))
ORDER BY f.path
LIMIT $9;

-- name: matching
-- Those of some chunks that hold the pattern, with the numbers of the lines that match, counted from 1 in the chunk.
-- The plain search for what each match holds ($3) comes first: most chunks end there. It is all if $4 says so.
SELECT c.id, c.index_id, f.path, f.language, c.start_line, c.end_line, c.symbol,
       ARRAY(SELECT l.number::integer FROM string_to_table(c.text, E'\n') WITH ORDINALITY AS l (line, number)
             WHERE strpos(l.line, $3) > 0 AND ($4 OR l.line ~ $2) AND l.number <= c.end_line - c.start_line + 1
             ORDER BY l.number) AS lines
FROM chunks c
JOIN files f ON f.id = c.file_id
WHERE c.id = ANY ($1::bigint[]) AND strpos(c.text, $3) > 0 AND ($4 OR c.text ~ $2)
  AND ($5::text IS NULL OR f.path ~ $5) AND ($6::text IS NULL OR f.path !~ $6)
  AND (cardinality($7::text[]) = 0 OR f.language = ANY ($7))
  AND (cardinality($8::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($8::bigint[], $9::text[]) AS s (index_id, path)
                                                 WHERE s.index_id = f.index_id AND f.path ~ s.path));

-- name: texts
-- The texts of some chunks.
SELECT id, text FROM chunks WHERE id = ANY ($1::bigint[]);
