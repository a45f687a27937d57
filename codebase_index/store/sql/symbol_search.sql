-- name: definitions
-- The definitions of a name ($2, in lower case), those in the spelling that is asked for ($3) first.
SELECT c.id, c.index_id, f.path, f.language, c.start_line, c.end_line, c.text, d.name AS symbol, d.kind
FROM chunks c
JOIN files f ON f.id = c.file_id
CROSS JOIN unnest(c.defines, c.names, c.kinds) WITH ORDINALITY AS d (name, plain, kind, number)
WHERE c.names @> ARRAY[$2::text] AND d.plain = $2 AND c.index_id = ANY ($1::bigint[])
  AND f.index_id || '/' || f.path ~ ALL ($4::text[]) AND f.index_id || '/' || f.path !~ ALL ($5::text[])
  AND (cardinality($6::text[]) = 0 OR f.language = ANY ($6))
ORDER BY right(d.name, length($3)) = $3 DESC, c.index_id, f.path, c.start_line, c.id, d.number
LIMIT $7;
