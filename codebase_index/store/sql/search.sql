-- name: rescore
-- Rescore candidates by their full vectors: of unit vectors, the negative inner product orders like the cosine distance.
SELECT chunk_id FROM embeddings
WHERE chunk_id = ANY ($1::bigint[]) AND model = $2 AND vector_dims(embedding) = $4
ORDER BY embedding <#> $3, chunk_id LIMIT $5;

-- name: dimension_mismatch
-- Whether some of these chunks have vectors of a model with another dimension than a query's.
SELECT EXISTS (SELECT FROM embeddings
               WHERE chunk_id = ANY ($1::bigint[]) AND model = $2 AND vector_dims(embedding) <> $3);

-- name: parts
-- The segments and pending batches of some indexes, each with its stamp, the key of the search cache.
SELECT id, stamp, false AS pending FROM segments WHERE index_id = ANY ($1::bigint[])
UNION ALL SELECT id, stamp, true FROM pending_batches WHERE index_id = ANY ($1::bigint[])
ORDER BY pending, id;

-- name: read_segments
-- Segments without postings: their chunks in order, and the quantized vectors.
SELECT id, stamp, index_id, chunks, total_length, first_ids, run_lengths, model, codes
FROM segments WHERE id = ANY ($1::bigint[]);

-- name: read_pending
-- Pending batches, whole.
SELECT id, stamp, index_id, chunks, total_length, first_ids, run_lengths, vocabulary, payload, model, codes
FROM pending_batches WHERE id = ANY ($1::bigint[]);

-- name: blocks
-- The block that contains a term, for pairs of segment and term: one descent of the primary key each. Blocks that turn
-- out not to contain the term are filtered here, which saves most of the traffic when many small indexes are searched.
SELECT t.segment_id, t.term, b.terms, b.payload
FROM unnest($1::bigint[], $2::text[]) AS t (segment_id, term)
CROSS JOIN LATERAL (
    SELECT p.terms, p.payload FROM postings p
    WHERE p.segment_id = t.segment_id AND p.first_term <= t.term COLLATE "C"
    ORDER BY p.first_term DESC LIMIT 1) b
WHERE strpos(E'\n' || b.terms || E'\n', E'\n' || t.term || E'\n') > 0;

-- name: definitions
-- Chunks in which a definition of one of these names begins.
SELECT id FROM chunks WHERE index_id = ANY ($1::bigint[]) AND names && $2::text[] LIMIT $3;

-- name: files
-- The files that pass the filters ($2 to $6: `Filters.parameters`): each as its first chunk id (eight bytes) and its chunk count (four).
SELECT COALESCE(string_agg(int8send(first_chunk) || int4send(chunks), ''), '') FROM files f
WHERE chunks > 0 AND index_id = ANY ($1::bigint[])
  AND ($2::text IS NULL OR f.path ~ $2) AND ($3::text IS NULL OR f.path !~ $3)
  AND (cardinality($4::text[]) = 0 OR f.language = ANY ($4))
  AND (cardinality($5::bigint[]) = 0 OR EXISTS (SELECT FROM unnest($5::bigint[], $6::text[]) AS s (index_id, path)
                                                 WHERE s.index_id = f.index_id AND f.path ~ s.path));

-- name: live
-- Those of the chunks that still exist.
SELECT id FROM chunks WHERE id = ANY ($1::bigint[]);

-- name: candidates
-- The candidates, in the column order of codebase_index.store.query.candidate. The vector score is by the query's vector
-- of the same model, null without one of that dimension; a subquery, since planning a join took as long as running it.
SELECT c.id, c.index_id, f.path, f.language, c.start_line, c.end_line, c.symbol, c.text,
       (SELECT -(e.embedding <#> q.vector) FROM embeddings e
        JOIN unnest($2::text[], $3::halfvec[]) AS q (model, vector)
          ON q.model = e.model AND vector_dims(q.vector) = vector_dims(e.embedding)
        WHERE e.chunk_id = c.id)::real AS vector_score
FROM chunks c
JOIN files f ON f.id = c.file_id
WHERE c.id = ANY ($1::bigint[]);

-- name: neighbours
-- The chunk before and the one after, in the same file, each with its first line.
SELECT c.id, before.start_line AS before_line, before.text AS before, after.start_line AS after_line, after.text AS after
FROM chunks c
LEFT JOIN LATERAL (SELECT start_line, text FROM chunks b WHERE b.file_id = c.file_id AND b.id < c.id
                   ORDER BY b.id DESC LIMIT 1) before ON true
LEFT JOIN LATERAL (SELECT start_line, text FROM chunks a WHERE a.file_id = c.file_id AND a.id > c.id
                   ORDER BY a.id LIMIT 1) after ON true
WHERE c.id = ANY ($1::bigint[]);

-- name: has_files
-- Whether these indexes have any file: an empty index is another answer than no match.
SELECT EXISTS (SELECT FROM files WHERE index_id = ANY ($1::bigint[]));
