-- What each chunk defines, so that "where is X defined" is a look-up and not a search.
-- `symbol` names a chunk: the first definition that begins in it, else the one that it is a later part of.
-- A chunk may hold several small definitions: all that BEGIN in it are listed, in order, in three arrays of equal
-- length. One row for each definition in a table of its own would cost three times the bytes and a B-tree insert
-- each; the arrays are written with the chunk and go with it.
ALTER TABLE chunks
    ADD COLUMN kind    text,                        -- of `symbol`: a word of codebase_index.symbols.Kind
    ADD COLUMN defines text[] NOT NULL DEFAULT '{}', -- qualified names: Store.put
    ADD COLUMN names   text[] NOT NULL DEFAULT '{}', -- the same without their scope, in lower case: put
    ADD COLUMN kinds   text[] NOT NULL DEFAULT '{}',
    ADD CHECK (cardinality(names) = cardinality(defines) AND cardinality(kinds) = cardinality(defines));
-- WHERE names @> ARRAY[lower('put')]; the qualified name and the kind are tested on the few rows found.
-- Two or three short names a chunk: its upkeep is about a fiftieth of a full-text index's.
CREATE INDEX chunks_names ON chunks USING gin (names);
