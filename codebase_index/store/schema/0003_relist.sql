-- A job whose repository changed under it makes its list again: files that are done may have to be read once more.
-- They are counted once: `counted` says that the job's counters have a row already, before it is done (again).
ALTER TABLE work ADD COLUMN counted boolean NOT NULL DEFAULT false;
