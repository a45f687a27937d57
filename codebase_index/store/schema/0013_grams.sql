-- Which chunks may hold a text, so that a search need not read them all: gram filters, as codebase_index.lexical.
-- gram_filter writes them. Null: written by the release before. A job's end fills it in, and until then a search reads all
-- of these chunks.

-- In the order in which every transaction comes by them.
LOCK TABLE pending_batches, segments IN ACCESS EXCLUSIVE MODE;

ALTER TABLE pending_batches ADD COLUMN grams bytea;
ALTER TABLE segments ADD COLUMN grams bytea;

-- Outside of the row and as it is, so that single rows of the matrix can be read.
ALTER TABLE pending_batches ALTER COLUMN grams SET STORAGE EXTERNAL, ALTER COLUMN grams SET STATISTICS 0;
ALTER TABLE segments ALTER COLUMN grams SET STORAGE EXTERNAL, ALTER COLUMN grams SET STATISTICS 0;
