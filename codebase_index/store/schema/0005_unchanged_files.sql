-- What a scan can say about a file without reading it: its size, and git's id of its content.

-- Bytes of the content; null: unknown, so the file is read at the next job. Git knows a blob by its id, but a
-- conversion between blob and work tree (line ends, $Id$) may have come up since: then the size differs.
ALTER TABLE files ADD COLUMN size bigint;

-- Files that the freeze found in the index as they are: they count as indexed, and are not in `work`.
ALTER TABLE jobs ADD COLUMN files_unchanged integer NOT NULL DEFAULT 0;
