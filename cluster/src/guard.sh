# Runs one server and outlives the process that asked for it just long enough to take the server down.
#
#   GUARD=$this_script sh -c 'eval "$GUARD"' guard PROGRAM [ARGUMENT...]
#
# Standard input is a pipe whose only writer is the owner: end of file means that the owner dropped the server,
# panicked or was killed. A line that says `kill` ends the server by SIGKILL. Standard output is not for writing:
# whoever inherits it holds the lock on the cluster's directory. STOP is a command that asks the server to stop.
# CLEANUP is a script that runs once the server is gone, for whatever reason.

exec 3<&0
(unset GUARD STOP CLEANUP && exec "$@" </dev/null >&2 3<&-) &
server=$!

# Ends the server 5 seconds after it was asked to at the latest.
stop_server() {
    eval "$STOP"
    tenths=50
    while kill -0 "$server" && [ "$tenths" -gt 0 ]; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
    kill -KILL "$server"
}

{
    read -r order <&3
    case $order in
    kill) kill -KILL "$server" ;;
    *) stop_server ;;
    esac 2>/dev/null
} &
watcher=$!

wait "$server"
status=$?
kill -KILL "$watcher" 2>/dev/null

eval "$CLEANUP" >&2
exit "$status"
