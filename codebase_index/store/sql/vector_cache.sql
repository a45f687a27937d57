-- name: find
-- Vectors that were made before. Reading one keeps it: the write happens once a day at most.
WITH read AS (
    UPDATE embedding_cache SET last_used = current_date
    WHERE model = $1 AND digest = ANY ($2::bytea[]) AND last_used < current_date)
SELECT digest, embedding FROM embedding_cache WHERE model = $1 AND digest = ANY ($2::bytea[]);

-- name: save
-- A vector that was made now. Another pod's for the same text is as good, unless the model was exchanged.
INSERT INTO embedding_cache (model, digest, embedding) VALUES ($1, $2, $3)
ON CONFLICT (model, digest) DO UPDATE SET embedding = EXCLUDED.embedding, last_used = current_date;

-- name: count
-- How many are kept of a namespace, or of all. Those from before namespaces are everybody's.
SELECT count(*) FROM embedding_cache
WHERE $1::text IS NULL OR starts_with(model, $1 || ':') OR strpos(split_part(model, ':', 1), '/') > 0;

-- name: evict
-- Those of them that were not used for the longest time.
DELETE FROM embedding_cache WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM embedding_cache
    WHERE $1::text IS NULL OR starts_with(model, $1 || ':') OR strpos(split_part(model, ':', 1), '/') > 0
    ORDER BY last_used LIMIT $2));
