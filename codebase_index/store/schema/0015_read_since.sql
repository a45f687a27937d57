-- Whether the files of a folder are newer than their index is asked of their times. What counts is when the last completed
-- job began to read, not when it ended: a file that was written meanwhile may have been read before. Null: not known, as of
-- an index of an older release.
ALTER TABLE indexes ADD COLUMN read_since timestamptz;
