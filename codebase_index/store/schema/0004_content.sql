-- What was done to the content of files before it was indexed: for the answers about a job.

ALTER TABLE jobs
    ADD COLUMN files_transcoded integer NOT NULL DEFAULT 0,  -- decoded from another encoding than UTF-8
    ADD COLUMN secrets_redacted bigint NOT NULL DEFAULT 0;   -- tokens and private keys that are not in the index
