# Runs one server, and outlives the process that started it just long enough to stop the server.
#
#   GUARD=$this_script sh -c 'eval "$GUARD"' guard PROGRAM [ARGUMENT...]
#
# Standard input is a pipe whose only writer is the owner: end of file means that the owner dropped the server,
# panicked or was killed. The line `kill` ends the server with SIGKILL, and `crash SECONDS` also restarts it after that
# time. Standard output is not for writing: every process that inherits it holds the lock on the cluster's directory. STOP
# is a command that stops the server. CLEANUP is a script that runs once the server is gone, for whatever reason. With
# SUPERVISED=yes, a server that exits by itself is restarted, unless that happens within 10 seconds of its start, when it
# can't run at all.

exec 3<&0

# Kills the server if it has not stopped within 5 seconds.
stop_server() {
    eval "$STOP"
    tenths=50
    while kill -0 "$server" && [ "$tenths" -gt 0 ]; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
    kill -KILL "$server"
}

# Notify the waiting shell below before the server is gone.
trap 'again=yes' USR1
trap 'killed=yes' USR2

again=yes
killed=no
while [ "$again" = yes ]; do
    again=no
    started=$(date +%s)
    (unset GUARD STOP CLEANUP SUPERVISED && exec "$@" </dev/null >&2 3<&-) &
    server=$!
    {
        read -r order seconds <&3
        case $order in
        crash) kill -USR1 "$$" && kill -KILL "$server" && exec sleep "$seconds" ;;
        kill) kill -USR2 "$$" && kill -KILL "$server" ;;
        *) kill -USR2 "$$" && stop_server ;;
        esac 2>/dev/null
    } &
    watcher=$!

    # A signal interrupts the first wait, but not the server.
    wait "$server"
    status=$?
    if [ "$again" = yes ]; then
        wait "$server"
    elif [ "$killed" = yes ]; then
        wait "$server"
        status=$?
        kill -KILL "$watcher" 2>/dev/null
    else
        kill -KILL "$watcher" 2>/dev/null
        [ "$SUPERVISED" != yes ] || [ $(($(date +%s) - started)) -lt 10 ] || again=yes
    fi
    wait "$watcher" 2>/dev/null
done

eval "$CLEANUP" >&2
exit "$status"
