-- name: definitions
-- Some definitions of a name ($2, in lower case), those in the spelling that is asked for ($3) first. No more are read
-- than are returned, unless too few are in this spelling: of a name that is defined ten thousand times, to sort all took
-- 200 ms. So the two halves read the same rows, each as far as it must, and the texts are read last.
WITH named AS MATERIALIZED (
    SELECT c.id, f.path, f.language, d.name AS symbol, d.kind, d.number, right(d.name, length($3)) = $3 AS as_written
    FROM chunks c
    JOIN files f ON f.id = c.file_id
    CROSS JOIN unnest(c.defines, c.names, c.kinds) WITH ORDINALITY AS d (name, plain, kind, number)
    WHERE c.names @> ARRAY[$2::text] AND d.plain = $2 AND c.index_id = ANY ($1::bigint[])
      AND ($4::text IS NULL OR f.path ~ $4) AND ($5::text IS NULL OR f.path !~ $5)
      AND (cardinality($6::text[]) = 0 OR f.language = ANY ($6))
      AND (cardinality($7::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($7::bigint[], $8::text[]) AS s (index_id, path)
                                                     WHERE s.index_id = f.index_id AND f.path ~ s.path))),
found AS MATERIALIZED (
    (SELECT * FROM named WHERE as_written) UNION ALL (SELECT * FROM named WHERE NOT as_written)
    LIMIT $9)
SELECT c.id, c.index_id, f.path, f.language, c.start_line, c.end_line, c.text, f.symbol, f.kind
FROM found f JOIN chunks c USING (id)
ORDER BY f.as_written DESC, c.index_id, f.path, c.start_line, c.id, f.number;
