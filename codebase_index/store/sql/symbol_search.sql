-- name: definitions
-- Some definitions of a name ($2, in lower case); where $9 says so, only those in the spelling that is asked for ($3). No
-- more are read than are returned: of a name that is defined ten thousand times, to sort all took 200 ms.
WITH found AS MATERIALIZED (
    SELECT c.id, c.index_id, f.path, f.language, c.start_line, c.end_line, c.text, d.name AS symbol, d.kind, d.number
    FROM chunks c
    JOIN files f ON f.id = c.file_id
    CROSS JOIN unnest(c.defines, c.names, c.kinds) WITH ORDINALITY AS d (name, plain, kind, number)
    WHERE c.names @> ARRAY[$2::text] AND d.plain = $2 AND c.index_id = ANY ($1::bigint[])
      AND (NOT $9 OR right(d.name, length($3)) = $3)
      AND ($4::text IS NULL OR f.path ~ $4) AND ($5::text IS NULL OR f.path !~ $5)
      AND (cardinality($6::text[]) = 0 OR f.language = ANY ($6))
      AND (cardinality($7::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($7::bigint[], $8::text[]) AS s (index_id, path)
                                                     WHERE s.index_id = f.index_id AND f.path ~ s.path))
    LIMIT $10)
SELECT id, index_id, path, language, start_line, end_line, text, symbol, kind FROM found
ORDER BY right(symbol, length($3)) = $3 DESC, index_id, path, start_line, id, number;
