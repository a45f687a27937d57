#!/bin/sh
# Starts Postgres on the data in PGDATA, after making the database there on the first start, and keeps the passwords of
# its roles those of the files: a Secret that is replaced takes effect without a restart, and so does a certificate.
#   POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD   the password of the role `codebase`, which owns the database (required)
# Beside that file may lie operator-password, server-password and indexer-password: for each, the role codebase_operator,
# codebase_server or codebase_indexer is made. What they may do is for the operator to say.
# Arguments go to the server: `-c shared_buffers=1GB`. It runs under any user, also one without a name.
# Killed at any line, it may simply be started again.
set -eu
umask 077

owner=codebase
POSTGRES_PASSWORD_FILE=${POSTGRES_PASSWORD_FILE:-}
socket=${PGHOST:-/tmp}
certificate=/etc/postgres-tls/tls.crt

fail() {
    echo "postgres: $1" >&2
    exit 1
}

# Prints a role's password; fails where there is none.
password() {
    if [ "$1" != "$owner" ]; then
        cat "${POSTGRES_PASSWORD_FILE%/*}/${1#codebase_}-password"
    elif [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        cat "$POSTGRES_PASSWORD_FILE"
    else
        printf '%s\n' "${POSTGRES_PASSWORD:-}"
    fi 2>/dev/null | grep .
}

# Where the digest of the password that a role has is kept: beside the data that it protects.
applied() {
    if [ "$1" = "$owner" ]; then echo "$PGDATA.password"; else echo "$PGDATA.$1.password"; fi
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
    printf '%s;\n' "CREATE ROLE $owner LOGIN" "CREATE DATABASE codebase OWNER $owner" | sql postgres
    # By the superuser: pgvector is not an extension that the role itself may create.
    echo "CREATE EXTENSION vector;" | sql codebase
    pg_ctl stop --pgdata="$PGDATA.new" --silent --wait --mode=fast
    sync
    rm -f "$PGDATA".*password
    mv "$PGDATA.new" "$PGDATA"
}

digest() {
    password "$1" | sha256sum | cut -d ' ' -f 1
}

# Makes the roles that are not there yet, all at once: the operator gives rights to those that it finds, and looks once. A
# function of the owner ends the connections of pods that hang.
make_roles() {
    echo "BEGIN;"
    for made in "$owner" codebase_operator codebase_server codebase_indexer; do
        password "$made" >/dev/null || continue
        printf '%s\n' "SELECT 'CREATE ROLE $made LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$made') \gexec"
        [ "$made" != codebase_operator ] || echo "GRANT pg_signal_backend TO $owner;"
    done
    echo "COMMIT;"
}

# Fails where Postgres did not take it. Each step asks for the one before: `set -e` does not act where `||` follows.
apply_password() {
    wanted=$(digest "$1")
    quoted=$(password "$1" | sed "s/'/''/g")
    # An empty one, of a file that is just being replaced, would take the role its password.
    [ -n "$quoted" ] &&
        { make_roles; printf '%s;\n' "SET log_statement = 'none'" "SET log_min_duration_statement = -1" \
            "SET log_min_error_statement = 'panic'" "ALTER ROLE $1 LOGIN PASSWORD '$quoted'"; } | sql postgres &&
        echo "$wanted" >"$(applied "$1")" &&
        echo "postgres: the role $1 has the password of the Secret"
}

# Gives each role the password of its file where it has another one. Fails where one is still to be tried again.
apply_passwords() {
    left=0
    for role in "$owner" codebase_operator codebase_server codebase_indexer; do
        if password "$role" >/dev/null && [ "$(cat "$(applied "$role")" 2>/dev/null)" != "$(digest "$role")" ]; then
            if pg_isready --quiet --host "$socket" --username postgres --dbname postgres; then
                (apply_password "$role") || echo "postgres: the new password of $role is not set yet; it is tried again" >&2
            fi
            left=1
        fi
    done
    return "$left"
}

# A certificate that is replaced is read at a reload.
apply_certificate() {
    now=$(sha256sum "$certificate" 2>/dev/null) || now=
    [ "$now" = "$served" ] || kill -HUP "$server"
    served=$now
}

keep_secrets() {
    trap - INT TERM
    served=$(sha256sum "$certificate" 2>/dev/null) || served=
    while :; do
        if apply_passwords; then sleep 5; else sleep 1; fi
        apply_certificate
    done
}

password "$owner" >/dev/null || fail "no password. Set POSTGRES_PASSWORD_FILE, a file that uid $(id -u) may read, or POSTGRES_PASSWORD."
# No server runs yet in this container. One that was killed left its number behind, which may be that of a process of
# ours now: Postgres would take it for a server and refuse to start, each time anew.
rm -f "$PGDATA/postmaster.pid" "$socket/.s.PGSQL.${PGPORT:-5432}.lock"
[ -s "$PGDATA/PG_VERSION" ] || create_database
echo "postgres: starting"
postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories="$socket" "$@" &
server=$!
# Whichever of the two it is: sessions are ended, and a checkpoint is written.
trap 'kill -INT "$server"' INT TERM
keep_secrets &
while :; do
    status=0
    wait "$server" || status=$?
    kill -0 "$server" 2>/dev/null || exit "$status"  # a signal ends the wait, not the server
done
