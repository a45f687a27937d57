-- An attempt that goes on with an earlier one's list must know whether its source is still the one that was listed: a
-- folder outside of git has no commit that tells.
ALTER TABLE jobs ADD COLUMN source_mark text;
