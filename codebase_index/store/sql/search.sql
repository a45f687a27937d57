-- name: term_frequencies
-- Which share of all chunks holds a term, as the planner's statistics know it; terms not listed are rare.
SELECT s.term, s.frequency
FROM pg_stats, unnest(most_common_elems::text::text[], most_common_elem_freqs) AS s (term, frequency)
WHERE schemaname = current_schema() AND tablename = 'chunks' AND attname = 'terms' AND s.term = ANY ($1::text[]);

-- name: chunk_estimate
-- About how many chunks there are in all, without counting them.
SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = 'chunks'::regclass;

-- name: vector_arm
-- The nearest chunks, exactly: unit vectors, so the negative inner product orders like the cosine distance.
SELECT e.chunk_id
FROM embeddings e
WHERE e.index_id = ANY ($1::bigint[]) AND e.model = $2
ORDER BY e.embedding <#> $3
LIMIT $4;

-- name: vector_arm_filtered
-- The same within some files: the filter comes first, so it costs no recall.
SELECT e.chunk_id
FROM files f
JOIN chunks c ON c.file_id = f.id
JOIN embeddings e ON e.chunk_id = c.id AND e.model = $2
WHERE f.index_id = ANY ($1::bigint[])
  AND ($5::text IS NULL OR starts_with(f.path, $5)) AND ($6::text IS NULL OR f.language = $6)
ORDER BY e.embedding <#> $3
LIMIT $4;

-- name: lexical_arm
-- Chunks that hold the query's telling terms, best first. ts_rank over one term is a saturating term
-- frequency (0.61 for one occurrence, towards 1 for many); its weight is the inverse document frequency.
WITH matching AS MATERIALIZED (
    SELECT c.id, c.terms
    FROM chunks c JOIN files f ON f.id = c.file_id
    WHERE c.terms @@ $2::text::tsquery AND c.index_id = ANY ($1::bigint[])
      AND ($6::text IS NULL OR starts_with(f.path, $6)) AND ($7::text IS NULL OR f.language = $7)
    LIMIT $8)
SELECT m.id
FROM matching m
ORDER BY (SELECT sum(t.weight * ts_rank('{1,1,1,1}', m.terms, t.query))
          FROM unnest($3::text[]::tsquery[], $4::real[]) AS t (query, weight)) DESC, m.id
LIMIT $5;

-- name: candidates
-- Both signals for every candidate of either arm, with what an answer shows.
SELECT c.id, c.index_id, f.path, f.language, c.start_line, c.end_line, c.symbol, c.text,
       COALESCE(-(e.embedding <#> $2), 0)::real AS vector_score,
       COALESCE((SELECT sum(t.weight * ts_rank('{1,1,1,1}', c.terms, t.query))
                 FROM unnest($4::text[]::tsquery[], $5::real[]) AS t (query, weight)), 0)::real AS lexical_score
FROM chunks c
JOIN files f ON f.id = c.file_id
LEFT JOIN embeddings e ON e.chunk_id = c.id AND e.model = $3
WHERE c.id = ANY ($1::bigint[]);

-- name: neighbours
-- The chunk before and the one after, in the same file.
SELECT c.id, before.text AS before, after.text AS after
FROM chunks c
LEFT JOIN LATERAL (SELECT text FROM chunks b WHERE b.file_id = c.file_id AND b.id < c.id
                   ORDER BY b.id DESC LIMIT 1) before ON true
LEFT JOIN LATERAL (SELECT text FROM chunks a WHERE a.file_id = c.file_id AND a.id > c.id
                   ORDER BY a.id LIMIT 1) after ON true
WHERE c.id = ANY ($1::bigint[]);

-- name: counts
-- How much the indexes hold: nothing found in an empty index is another answer than no match.
SELECT count(*) AS files, COALESCE(sum(chunks), 0) AS chunks FROM files WHERE index_id = ANY ($1::bigint[]);
