-- A git repository is one target however its address is spelt: with or without `.git`, with capital letters in the
-- host, with the default port, with slashes at the end. Targets that were made from another spelling become those
-- that codebase_index.git_url makes now. Where two spellings have an index each, the newer one gets the target; the
-- older stays as it is, searchable and removable, and no job fills it any more.

CREATE FUNCTION pg_temp.identity(source text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(part[1]) || '://' || coalesce(part[2], '') || lower(part[3])
           || CASE WHEN (lower(part[1]), part[4]) IN (('https', ':443'), ('ssh', ':22')) THEN ''
                   ELSE coalesce(part[4], '') END
           || regexp_replace(regexp_replace(regexp_replace(part[5], '/+', '/', 'g'), '/$', ''), '\.git$', '')
    FROM regexp_match(source, '^(https|ssh)://([^/@]*@)?([^/:@]+)(:\d+)?(/.*)$', 'i') AS part
$$;

CREATE TEMPORARY TABLE moved ON COMMIT DROP AS
WITH spelt AS (
    SELECT namespace, target AS old,
           left(encode(sha256(convert_to(pg_temp.identity(source), 'UTF8') || '\x00'
                              || convert_to(coalesce(ref, ''), 'UTF8')), 'hex'), 16) AS new
    FROM (SELECT namespace, target, source, ref FROM indexes WHERE target IS NOT NULL
          UNION SELECT namespace, target, source, ref FROM jobs) AS every
    WHERE pg_temp.identity(source) IS NOT NULL
    GROUP BY 1, 2, 3
),
-- The newest of the indexes of one repository keeps its place; targets that have jobs alone come last.
ranked AS (
    SELECT spelt.namespace, old, new,
           row_number() OVER (PARTITION BY spelt.namespace, new
                              ORDER BY i.indexed_at DESC NULLS LAST, i.id DESC NULLS LAST, old) AS place
    FROM spelt LEFT JOIN indexes i ON (i.namespace, i.target) = (spelt.namespace, spelt.old)
)
SELECT namespace, old, new FROM ranked WHERE place = 1 AND old <> new;
-- Whatever has the target of today, an older index or jobs alone, changes places with the newer one: no two of a
-- namespace ever get the same.
INSERT INTO moved SELECT namespace, new, old FROM moved
WHERE EXISTS (SELECT FROM indexes i WHERE (i.namespace, i.target) = (moved.namespace, moved.new))
   OR EXISTS (SELECT FROM jobs j WHERE (j.namespace, j.target) = (moved.namespace, moved.new));

-- In two steps, since targets are unique at every moment.
UPDATE indexes i SET target = '~' || moved.new FROM moved WHERE (i.namespace, i.target) = (moved.namespace, moved.old);
UPDATE indexes SET target = substr(target, 2) WHERE target LIKE '~%';
UPDATE jobs j SET target = '~' || moved.new FROM moved WHERE (j.namespace, j.target) = (moved.namespace, moved.old);
UPDATE jobs SET target = substr(target, 2) WHERE target LIKE '~%';
DROP FUNCTION pg_temp.identity(text);
