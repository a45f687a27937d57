-- name: find
-- Cached vectors. A read updates last_used, at most once a day.
WITH read AS (
    UPDATE embedding_cache SET last_used = current_date
    WHERE model = $1 AND digest = ANY ($2::bytea[]) AND last_used < current_date)
SELECT digest, embedding FROM embedding_cache WHERE model = $1 AND digest = ANY ($2::bytea[]);

-- name: save
-- A new vector. It replaces one that another pod stored for the same text: the model may have been exchanged.
INSERT INTO embedding_cache (model, digest, embedding) VALUES ($1, $2, $3)
ON CONFLICT (model, digest) DO UPDATE SET embedding = EXCLUDED.embedding, last_used = current_date;

-- name: count
-- The number of vectors of a namespace, or of all. Those from before namespaces belong to all.
SELECT count(*) FROM embedding_cache
WHERE $1::text IS NULL OR starts_with(model, $1 || ':') OR strpos(split_part(model, ':', 1), '/') > 0;

-- name: evict
-- The least recently used of them.
DELETE FROM embedding_cache WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM embedding_cache
    WHERE $1::text IS NULL OR starts_with(model, $1 || ':') OR strpos(split_part(model, ':', 1), '/') > 0
    ORDER BY last_used LIMIT $2));
