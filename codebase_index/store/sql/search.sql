-- name: exact
-- The nearest chunks, exactly: unit vectors, so the negative inner product orders like the cosine distance.
SELECT e.chunk_id, e.embedding <#> $3 AS distance
FROM embeddings e
WHERE e.index_id = ANY ($1::bigint[]) AND e.model = $2
ORDER BY distance
LIMIT $4;

-- name: exact_filtered
-- The same within some files: the filter comes first, so it costs no recall.
SELECT e.chunk_id, e.embedding <#> $3 AS distance
FROM files f
JOIN chunks c ON c.file_id = f.id
JOIN embeddings e ON e.chunk_id = c.id AND e.model = $2
WHERE f.index_id = ANY ($1::bigint[])
  AND ($5::text IS NULL OR starts_with(f.path, $5)) AND ($6::text IS NULL OR f.language = $6)
ORDER BY distance
LIMIT $4;

-- name: approximate
-- The nearest chunks of one index by its graph. The cast to the vectors' dimension, put in by the store, and the
-- plain conditions are what the graph's expression and predicate are made of: without them it is not used. The store
-- puts one of these for each index together.
(SELECT e.chunk_id, e.embedding::halfvec({dimension}) <#> $2 AS distance
FROM embeddings e
WHERE e.index_id = {index} AND e.model = $1
ORDER BY e.embedding::halfvec({dimension}) <#> $2
LIMIT $3)

-- name: walk
-- How many candidates a walk through a graph keeps; whether it goes on when these are used up, and how far.
SELECT set_config('hnsw.ef_search', $1::text, true), set_config('hnsw.iterative_scan', $2::text, true),
       set_config('hnsw.max_scan_tuples', $3::text, true);

-- name: parts
-- The segments and the pending batches of some indexes, and under which stamp a search may have kept each.
SELECT id, stamp, false AS pending FROM segments WHERE index_id = ANY ($1::bigint[])
UNION ALL SELECT id, stamp, true FROM pending_terms WHERE index_id = ANY ($1::bigint[])
ORDER BY pending, id;

-- name: read_segments
-- Which chunks some segments hold, in order.
SELECT id, stamp, index_id, chunks, total_length, first_ids, run_lengths FROM segments WHERE id = ANY ($1::bigint[]);

-- name: read_pending
-- Pending batches, whole.
SELECT id, stamp, index_id, chunks, total_length, first_ids, run_lengths, vocabulary, payload
FROM pending_terms WHERE id = ANY ($1::bigint[]);

-- name: blocks
-- The block of a segment that holds a term, for each of some pairs: one descent of the primary key. Blocks that would
-- have the term and do not are left here, which saves most of the traffic where many small indexes are searched.
SELECT t.segment_id, t.term, b.terms, b.payload
FROM unnest($1::bigint[], $2::text[]) AS t (segment_id, term)
CROSS JOIN LATERAL (
    SELECT p.terms, p.payload FROM postings p
    WHERE p.segment_id = t.segment_id AND p.first_term <= t.term COLLATE "C"
    ORDER BY p.first_term DESC LIMIT 1) b
WHERE strpos(E'\n' || b.terms || E'\n', E'\n' || t.term || E'\n') > 0;

-- name: defining
-- Chunks in which a definition of one of some names begins.
SELECT id FROM chunks WHERE index_id = ANY ($1::bigint[]) AND names && $2::text[] LIMIT $3;

-- name: matching
-- How many chunks of each index the filters leave; an index of which they leave nothing is not listed.
SELECT index_id, sum(chunks)::bigint AS chunks FROM files
WHERE chunks > 0 AND index_id = ANY ($1::bigint[])
  AND ($2::text IS NULL OR starts_with(path, $2)) AND ($3::text IS NULL OR language = $3)
GROUP BY index_id;

-- name: allowed
-- The chunks that the filters leave, as eight bytes each: a tenth of the time that rows of them take.
SELECT COALESCE(string_agg(int8send(c.id), ''), '') FROM files f JOIN chunks c ON c.file_id = f.id
WHERE f.index_id = ANY ($1::bigint[])
  AND ($2::text IS NULL OR starts_with(f.path, $2)) AND ($3::text IS NULL OR f.language = $3);

-- name: alive
-- Which of these chunks there still are, and fit the filters.
SELECT c.id FROM chunks c JOIN files f ON f.id = c.file_id
WHERE c.id = ANY ($1::bigint[])
  AND ($2::text IS NULL OR starts_with(f.path, $2)) AND ($3::text IS NULL OR f.language = $3);

-- name: candidates
-- What an answer shows of each candidate, and its vector score.
SELECT c.id, c.index_id, f.path, f.language, c.start_line, c.end_line, c.symbol, c.text,
       COALESCE(-(e.embedding <#> $2), 0)::real AS vector_score
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
