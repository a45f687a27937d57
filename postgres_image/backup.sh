#!/bin/sh
# Dumps the database into a folder: the program of the chart's CronJob. A dump appears under its name when it is complete
# and can be read; then the oldest go.
#   BACKUP_FOLDER                       where dumps are kept (required)
#   BACKUP_KEEP                         how many (7)
#   POSTGRES_PASSWORD_FILE              the password of the role that owns the database, where it has one
#   PGHOST, PGUSER, PGDATABASE, PGSSLMODE, PGSSLROOTCERT   as for all programs of Postgres
set -eu
umask 077

if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") # arguments are seen by the whole node
    export PGPASSWORD
fi
rm -f "$BACKUP_FOLDER"/*.unfinished
file="$BACKUP_FOLDER/codebase-$(date -u +%Y%m%dT%H%M%SZ).dump"
pg_dump --format=custom --no-comments --file="$file.unfinished"
pg_restore --list "$file.unfinished" | grep -q 'TABLE DATA .* schema_migrations' || {
    echo "backup: the dump lacks the schema: is ${PGDATABASE:-the database} that of codebase-mcp? It is not kept" >&2
    exit 1
}
mv "$file.unfinished" "$file"
echo "backup: $file, $(stat -c %s "$file") bytes"
set -- "$BACKUP_FOLDER"/codebase-*.dump # in the order of their names, which is that of time
while [ $# -gt "${BACKUP_KEEP:-7}" ]; do
    rm -f -- "$1"
    shift
done
