#!/bin/sh
# Starts Postgres on the data in PGDATA, after making the database there on the first start, and keeps the password of
# the role `codebase` that of the file: a Secret that is replaced takes effect without a restart.
#   POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD   the password (required)
# Arguments go to the server: `-c shared_buffers=1GB`. It runs under any user, also one without a name.
# Killed at any line, it may simply be started again.
set -eu
umask 077

role=codebase
socket=${PGHOST:-/tmp}
applied="$PGDATA.password"  # digest of the password that the role has, beside the data that it protects

fail() {
    echo "postgres: $1" >&2
    exit 1
}

# Prints the password; fails where there is none.
password() {
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        cat "$POSTGRES_PASSWORD_FILE"
    else
        printf '%s\n' "${POSTGRES_PASSWORD:-}"
    fi | grep .
}

# initdb looks its user up, and refuses one that has no name: OpenShift gives each namespace numbers of its own.
named() {
    if getent passwd "$(id -u)" >/dev/null; then
        "$@"
        return
    fi
    names=$(mktemp -d)
    echo "postgres:x:$(id -u):$(id -g):Postgres:/tmp:/bin/sh" >"$names/passwd"
    echo "postgres:x:$(id -g):" >"$names/group"
    LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD="$names/passwd" NSS_WRAPPER_GROUP="$names/group" "$@"
    rm -r "$names"
}

# Runs the SQL of standard input in the database that is named.
sql() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --host "$socket" --username postgres --dbname "$1"
}

# Everything is made in a folder beside PGDATA and appears there by one rename: a start that was killed
# half-way leaves no half-made database behind.
create_database() {
    echo "postgres: first start, making the database in $PGDATA"
    rm -rf "$PGDATA.new"
    # Whoever reaches the socket is this user, or one who may read its files anyway.
    named initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 \
        --locale-provider=builtin --locale=C.UTF-8 --data-checksums \
        --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA.new/pg_hba.conf"
    # By a server: what `postgres --single` makes counts as Postgres' own, and pg_dump would leave the extension out.
    pg_ctl start --pgdata="$PGDATA.new" --silent --wait --timeout=300 \
        --options="-c listen_addresses='' -c unix_socket_directories='$socket' -c log_min_messages=warning"
    printf '%s;\n' "CREATE ROLE $role LOGIN" "CREATE DATABASE $role OWNER $role" | sql postgres
    # By the superuser: pgvector is not an extension that the role itself may create.
    echo "CREATE EXTENSION vector;" | sql "$role"
    pg_ctl stop --pgdata="$PGDATA.new" --silent --wait --mode=fast
    sync
    rm -f "$applied"
    mv "$PGDATA.new" "$PGDATA"
}

digest() {
    password | sha256sum | cut -d ' ' -f 1
}

# Fails where Postgres did not take it. Each step asks for the one before: `set -e` does not act where `||` follows.
apply_password() {
    wanted=$(digest)
    quoted=$(password | sed "s/'/''/g")
    # An empty one, of a file that is just being replaced, would take the role its password.
    [ -n "$quoted" ] &&
        printf '%s;\n' "SET log_statement = 'none'" "SET log_min_duration_statement = -1" \
            "SET log_min_error_statement = 'panic'" "ALTER ROLE $role PASSWORD '$quoted'" | sql postgres &&
        echo "$wanted" >"$applied" &&
        echo "postgres: the role $role has the password of the Secret"
}

keep_password() {
    trap - INT TERM
    while :; do
        if ! password >/dev/null 2>&1 || [ "$(cat "$applied" 2>/dev/null)" = "$(digest)" ]; then
            sleep 5
        else
            if pg_isready --quiet --host "$socket" --username postgres --dbname postgres; then
                (apply_password) || echo "postgres: the new password is not set yet; it is tried again" >&2
            fi
            sleep 1
        fi
    done
}

password >/dev/null || fail "no password. Set POSTGRES_PASSWORD_FILE, a file that uid $(id -u) may read, or POSTGRES_PASSWORD."
# No server runs yet in this container. One that was killed left its number behind, which may be that of a process of
# ours now: Postgres would take it for a server and refuse to start, each time anew.
rm -f "$PGDATA/postmaster.pid" "$socket/.s.PGSQL.${PGPORT:-5432}.lock"
[ -s "$PGDATA/PG_VERSION" ] || create_database
echo "postgres: starting"
postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories="$socket" "$@" &
server=$!
# Whichever of the two it is: sessions are ended, and a checkpoint is written.
trap 'kill -INT "$server"' INT TERM
keep_password &
while :; do
    status=0
    wait "$server" || status=$?
    kill -0 "$server" 2>/dev/null || exit "$status"  # a signal ends the wait, not the server
done
