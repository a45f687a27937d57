#!/bin/sh
# Replaces the database by a dump of it, which is read from standard input. Stop what uses the database before: sessions
# that are still there are ended. The dump is restored beside the database, for which there has to be room, and takes its
# place as a whole: one that broke off on its way, or cannot be restored, changes nothing.
#   PGHOST, PGUSER      a superuser's (postgres), as for all programs of Postgres
#   without a dump:     restore.sh --empty   makes an empty database, which the operator fills with its schema
set -eu
umask 077

database=codebase owner=codebase
made=${database}_restored
export PGUSER="${PGUSER:-postgres}" PGOPTIONS="-c client_min_messages=warning"
dump=

sql() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "$1"
}

clean_up() {
    rm -f "$dump"
    dropdb --if-exists --force "$made" 2>/dev/null || :
}

if [ "${1:-}" != --empty ]; then
    dump=$(mktemp -p "${RESTORE_FOLDER:-${PGDATA%/*}}" restore.XXXXXX)
    trap clean_up EXIT
    cat >"$dump"
    pg_restore --list "$dump" >/dev/null || {
        echo "restore: standard input is no dump in the custom format; nothing was changed" >&2
        exit 1
    }
fi
# Policies and rights of the dump name them; without a password nobody logs in.
for role in "$owner" codebase_operator codebase_server codebase_indexer; do
    echo "SELECT 'CREATE ROLE $role' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$role') \gexec"
done | sql postgres
dropdb --if-exists --force "$made" # of a run that was killed
createdb --owner="$owner" "$made"
# By the superuser: pgvector is not an extension that the role itself may create.
echo "CREATE EXTENSION vector" | sql "$made"
[ -z "$dump" ] || pg_restore --exit-on-error --no-comments --dbname "$made" "$dump" || {
    echo "restore: the dump cannot be restored, for the reason above, and the database is as it was. One that broke" \
        "off on its way is to be copied again; where the volume is full, restore.sh --empty makes room" >&2
    exit 1
}
dropdb --if-exists --force "$database"
echo "ALTER DATABASE $made RENAME TO $database" | sql postgres
echo "restore: done; start the operator and the server"
