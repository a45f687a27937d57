-- The lexical index: packed postings with BM25 impacts instead of a tsvector with a GIN index, whose ts_rank has no
-- inverse document frequency and visits every chunk that holds a common word (docs/decisions/0007).

ALTER TABLE chunks DROP COLUMN terms;

-- A batch's terms, written in its transaction. codebase_index.postings says what vocabulary and payload hold.
CREATE TABLE pending_terms (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_id     bigint NOT NULL REFERENCES indexes ON DELETE CASCADE,
    chunks       integer NOT NULL,
    total_length bigint NOT NULL,      -- sum of all term frequencies
    first_ids    bigint[] NOT NULL,    -- the chunks in order: runs of consecutive ids, and how long each is
    run_lengths  integer[] NOT NULL,
    vocabulary   text NOT NULL,        -- a term a line
    payload      bytea NOT NULL
);
CREATE INDEX pending_terms_of_index ON pending_terms (index_id, id);

-- Up to 65,536 chunks, numbered from 0, whose postings are packed. Never changed, only replaced.
CREATE TABLE segments (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_id     bigint NOT NULL REFERENCES indexes ON DELETE CASCADE,
    chunks       integer NOT NULL,     -- also those that were removed since
    total_length bigint NOT NULL,
    first_ids    bigint[] NOT NULL,
    run_lengths  integer[] NOT NULL
);
CREATE INDEX segments_of_index ON segments (index_id);

-- A segment's postings in blocks of neighbouring terms: a term is in the last block that does not begin after it.
CREATE TABLE postings (
    segment_id bigint NOT NULL REFERENCES segments ON DELETE CASCADE,
    first_term text COLLATE "C" NOT NULL,
    terms      text NOT NULL,          -- a term a line
    payload    bytea NOT NULL,
    PRIMARY KEY (segment_id, first_term)
) WITH (toast_tuple_target = 8160);    -- keep blocks in their row: they are read whole
-- Packed already: compression costs more than it saves.
ALTER TABLE pending_terms ALTER COLUMN vocabulary SET STORAGE EXTERNAL, ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE postings ALTER COLUMN terms SET STORAGE EXTERNAL, ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Which chunks some files have is answered from the index alone: a filter must not read the chunks' texts.
DROP INDEX chunks_of_file;
CREATE INDEX chunks_of_file ON chunks (file_id, id);
