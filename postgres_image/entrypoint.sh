#!/bin/sh
# Starts Postgres on the data in PGDATA, after making the database there on the first start.
#   POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD   the password of the role `codebase` (required)
# Arguments go to the server: `-c shared_buffers=1GB`.
# Killed at any line, it may simply be started again.
set -eu
umask 077

role=codebase
applied="$PGDATA.password"  # digest of the password that the role has, beside the data that it protects

fail() {
    echo "postgres: $1" >&2
    exit 1
}

read_password() {
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        [ -r "$POSTGRES_PASSWORD_FILE" ] || fail "cannot read POSTGRES_PASSWORD_FILE ($POSTGRES_PASSWORD_FILE). Mount the Secret there, readable for uid 999."
        POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    fi
    [ -n "${POSTGRES_PASSWORD:-}" ] || fail "no password. Set POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD."
}

# Runs SQL without a server that listens; one statement a line.
single_user() {
    postgres --single -D "$1" -c log_min_messages=warning "$2" >/dev/null
}

# Everything is made in a folder beside PGDATA and appears there by one rename: a start that was killed
# half-way leaves no half-made database behind.
create_database() {
    echo "postgres: first start, making the database in $PGDATA"
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 \
        --locale-provider=builtin --locale=C.UTF-8 --data-checksums \
        --auth-local=peer --auth-host=scram-sha-256 >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA.new/pg_hba.conf"
    printf '%s\n' "CREATE ROLE $role LOGIN" "CREATE DATABASE $role OWNER $role" | single_user "$PGDATA.new" postgres
    # By the superuser: pgvector is not an extension that the role itself may create.
    echo "CREATE EXTENSION vector" | single_user "$PGDATA.new" "$role"
    sync
    rm -f "$applied"
    mv "$PGDATA.new" "$PGDATA"
}

# A new Secret (a chart installed again over a kept volume) must not lock its own programs out.
apply_password() {
    digest=$(printf '%s' "$POSTGRES_PASSWORD" | sha256sum | cut -d ' ' -f 1)
    [ "$(cat "$applied" 2>/dev/null)" = "$digest" ] && return
    quoted=$(printf '%s' "$POSTGRES_PASSWORD" | sed "s/'/''/g")
    echo "ALTER ROLE $role PASSWORD '$quoted'" | single_user "$PGDATA" postgres
    echo "$digest" >"$applied"
}

read_password
[ -s "$PGDATA/PG_VERSION" ] || create_database
apply_password
unset POSTGRES_PASSWORD
echo "postgres: starting"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
