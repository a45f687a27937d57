-- The words of docs/glossary.md: the further pods of a job are its workers, and what is deleted is not forgotten.

-- In the order in which every transaction comes by them.
LOCK TABLE files, chunks, helpers IN ACCESS EXCLUSIVE MODE;

ALTER TABLE helpers RENAME TO workers;
ALTER INDEX helpers_pkey RENAME TO workers_pkey;
ALTER TABLE workers RENAME CONSTRAINT helpers_job_id_fkey TO workers_job_id_fkey;
-- For the pods of the release before, which read and write through it; to be dropped in the release after this one.
CREATE VIEW helpers AS SELECT job_id, pod, attempt, heartbeat_at FROM workers;

ALTER FUNCTION forget_chunks RENAME TO delete_chunks_of_files;
ALTER TRIGGER forget_chunks ON files RENAME TO delete_chunks_of_files;
ALTER FUNCTION forget_vectors RENAME TO delete_vectors_of_chunks;
ALTER TRIGGER forget_vectors ON chunks RENAME TO delete_vectors_of_chunks;
