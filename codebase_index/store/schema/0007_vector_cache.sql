-- Vectors of slow models, kept by what was embedded: used again by other refs, repositories and attempts.

CREATE TABLE embedding_cache (
    model     text NOT NULL,         -- as in embeddings.model
    digest    bytea NOT NULL,        -- of the text that was embedded, with the model's prefix: 32 bytes
    embedding halfvec NOT NULL,      -- unit length
    last_used date NOT NULL DEFAULT current_date,  -- a date: a row that is read often is written once a day
    PRIMARY KEY (model, digest)
);
ALTER TABLE embedding_cache ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE INDEX embedding_cache_oldest ON embedding_cache (last_used);

ALTER TABLE jobs
    ADD COLUMN vectors_made   bigint NOT NULL DEFAULT 0,  -- by a slow model, for files that are committed
    ADD COLUMN vectors_reused bigint NOT NULL DEFAULT 0,  -- taken from embedding_cache instead
    ADD COLUMN texts_cut      bigint NOT NULL DEFAULT 0;  -- longer than the model reads: found by their beginning
