# Runs one server and outlives the process that asked for it just long enough to take the server down.
#
#   GUARD=$this_script sh -c 'eval "$GUARD"' guard PROGRAM [ARGUMENT...]
#
# Standard input is a pipe whose only writer is the owner: end of file means that the owner dropped the server,
# panicked or was killed. A line that says `kill` ends the server by SIGKILL, and one that says `crash SECONDS` also
# starts it again after that time. Standard output is not for writing:
# whoever inherits it holds the lock on the cluster's directory. STOP is a command that asks the server to stop.
# CLEANUP is a script that runs once the server is gone, for whatever reason. A server that is SUPERVISED=yes and gives up by
# itself is started again, unless it does so within 10 seconds of its start: then it can't run at all.

exec 3<&0

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

# Tell the shell that waits below, before the server is gone.
trap 'again=yes' USR1
trap 'told_to_end=yes' USR2

again=yes
told_to_end=no
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

    # A signal ends the first wait, and not the server.
    wait "$server"
    status=$?
    if [ "$again" = yes ]; then
        wait "$server"
    elif [ "$told_to_end" = yes ]; then
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
