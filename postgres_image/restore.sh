#!/bin/sh
# Replaces the database by a dump of it, which is read from standard input. Stop what uses the database before: sessions
# that are still there are ended. A dump that cannot be read changes nothing.
#   PGHOST, PGUSER      a superuser's (postgres), as for all programs of Postgres
#   without a dump:     restore.sh --empty   makes an empty database, which the operator fills with its schema
set -eu
umask 077

database=codebase owner=codebase
export PGUSER="${PGUSER:-postgres}"
dump=
if [ "${1:-}" != --empty ]; then
    dump=$(mktemp -p "${RESTORE_FOLDER:-${PGDATA%/*}}" restore.XXXXXX)
    trap 'rm -f "$dump"' EXIT
    cat >"$dump"
    pg_restore --list "$dump" >/dev/null || {
        echo "restore: standard input is no dump in the custom format; nothing was changed" >&2
        exit 1
    }
fi
# Policies and rights of the dump name them; without a password nobody logs in.
for role in "$owner" codebase_operator codebase_server codebase_indexer; do
    echo "SELECT 'CREATE ROLE $role' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$role') \gexec"
done | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname postgres
dropdb --if-exists --force "$database"
createdb --owner="$owner" "$database"
# By the superuser: pgvector is not an extension that the role itself may create.
psql --no-psqlrc --quiet --dbname "$database" --command "CREATE EXTENSION vector"
[ -z "$dump" ] || pg_restore --exit-on-error --no-comments --dbname "$database" "$dump"
echo "restore: done; start the operator and the server"
