-- name: pending_chunks
-- The number of pending chunks of an index: those in no segment yet.
SELECT COALESCE(sum(chunks), 0)::bigint FROM pending_batches WHERE index_id = $1;

-- name: take_pending
-- The oldest pending batches and those of the same model, up to $2 chunks together, or one.
SELECT id, chunks, total_length, first_ids, run_lengths, vocabulary, payload, model, codes, grams
FROM (
    SELECT p.*, sum(chunks) OVER (ORDER BY id) AS until FROM pending_batches p
    WHERE index_id = $1
      AND model = (SELECT model FROM pending_batches WHERE index_id = $1 ORDER BY id LIMIT 1)) counted
WHERE until <= $2 OR until = chunks
ORDER BY id;

-- name: average_length
-- The average length of an index's chunks, by which impacts are normalised.
SELECT COALESCE(sum(total_length)::float8 / NULLIF(sum(chunks), 0), 1)
FROM (SELECT chunks, total_length FROM pending_batches WHERE index_id = $1
      UNION ALL SELECT chunks, total_length FROM segments WHERE index_id = $1) parts;

-- name: lock_index
-- Segments of an index are replaced by one transaction at a time. Batches do not wait for this lock.
SELECT id FROM indexes WHERE id = $1 FOR NO KEY UPDATE;

-- name: drop_pending
-- The batches that a segment was built from; fewer rows than ids: another process was faster.
DELETE FROM pending_batches WHERE id = ANY ($1::bigint[]) RETURNING id;

-- name: drop_segments
-- The segments that another one replaces, with their postings.
DELETE FROM segments WHERE id = ANY ($1::bigint[]) RETURNING id;

-- name: add_segment
-- A segment; its blocks follow in the same transaction.
INSERT INTO segments (index_id, chunks, total_length, first_ids, run_lengths, model, codes, grams)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id;

-- name: list_segments
-- The segments of an index, without postings and vectors.
SELECT id, chunks, model FROM segments WHERE index_id = $1 ORDER BY id;

-- name: deleted_chunks
-- The number of deleted chunks that segments and pending batches of an index still contain.
SELECT ((SELECT COALESCE(sum(chunks), 0) FROM segments WHERE index_id = $1)
      + (SELECT COALESCE(sum(chunks), 0) FROM pending_batches WHERE index_id = $1)
      - (SELECT COALESCE(sum(chunks), 0) FROM files WHERE index_id = $1))::bigint;

-- name: count_live
-- The number of live chunks of a segment. Range by range: a join compared each chunk with every range.
SELECT COALESCE(sum(run.alive), 0)::bigint FROM segments s
CROSS JOIN LATERAL (
    SELECT (SELECT count(*) FROM chunks c WHERE c.id >= run.first AND c.id < run.first + run.length) AS alive
    FROM unnest(s.first_ids, s.run_lengths) AS run (first, length)) run
WHERE s.id = $1;

-- name: read_segment
-- A segment and the ids of its live chunks, eight bytes each.
SELECT s.chunks, s.total_length, s.first_ids, s.run_lengths, s.model, s.codes, s.grams, (
    SELECT COALESCE(string_agg(of_run.alive, ''), '')
    FROM unnest(s.first_ids, s.run_lengths) AS run (first, length)
    CROSS JOIN LATERAL (
        SELECT string_agg(int8send(c.id), '') AS alive
        FROM chunks c WHERE c.id >= run.first AND c.id < run.first + run.length) of_run) AS alive
FROM segments s WHERE s.id = $1;

-- name: read_segment_vectors
-- The chunks of a segment, their quantized vectors and grams.
SELECT chunks, total_length, first_ids, run_lengths, model, codes, grams FROM segments WHERE id = $1;

-- name: list_pending
-- The pending batches of an index, without terms and vectors.
SELECT id, chunks, model FROM pending_batches WHERE index_id = $1 ORDER BY id;

-- name: read_pending
-- Some pending batches.
SELECT id, chunks, total_length, first_ids, run_lengths, vocabulary, payload, model, codes, grams
FROM pending_batches WHERE id = ANY ($1::bigint[]) ORDER BY id;

-- name: read_postings
-- The blocks of a segment in order.
SELECT terms, payload FROM postings WHERE segment_id = $1 ORDER BY first_term;

-- name: without_grams
-- The segments of an index that an earlier version wrote, without their content.
SELECT id, first_ids, run_lengths FROM segments WHERE index_id = $1 AND grams IS NULL ORDER BY id;

-- name: texts
-- The texts of some chunks.
SELECT id, text FROM chunks WHERE id = ANY ($1::bigint[]);

-- name: set_grams
-- The gram filter of a segment that has none, if it is still there.
UPDATE segments SET grams = $2 WHERE id = $1 AND grams IS NULL;
