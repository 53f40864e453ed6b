# The first process of a real node: it sets up what containerd and the kubelet see of this machine, and runs them.
#
#   unshare --mount --pid --fork ... sh -c "$this_script" node
#
# When this process ends, the kernel ends everything in its PID namespace, and every mount, network namespace and veth
# pair goes with it. So a node leaves nothing behind but what is in $STATE, $RUN, its bridge and its cgroups.
#
# NODE      the name of the node, of its bridge and of its cgroups
# ADDRESS   the node's address on its bridge
# STATE     a directory with the node's configuration, for everything that it writes
# RUN       the same for what it keeps in /run
# LOGS      where containerd's log goes; the kubelet's goes to standard error, as everything else here
# KUBELET   the program

set -eu

# Before /proc is this namespace's own: the process ID that the guard knows this process by.
read -r pid _ </proc/self/stat
echo "$pid" >"$RUN/pid"
exec 4>"$LOGS/containerd.log"

ip address add "$ADDRESS/24" dev "$NODE"
ip link set "$NODE" up

# The kubelet creates cgroups below this one, but not this one.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir "/sys/fs/cgroup/$NODE"
    for controller in cpu cpuset hugetlb io memory pids; do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || echo "no cgroup controller $controller" >&2
    done
else
    for hierarchy in /sys/fs/cgroup/*/; do
        # Some hierarchies have several names.
        mkdir -p "$hierarchy$NODE"
    done
fi

# Both programs have paths built in; here these are the node's own. /mnt stands for $STATE, which may be hidden by them.
touch "$STATE/kubelet"
mount --bind "$KUBELET" "$STATE/kubelet"
mount --rbind "$STATE" /mnt
mkdir -p /mnt/var-lib /mnt/var-log
mount --bind "$RUN" /run
mount --bind /mnt/var-lib /var/lib
mount --bind /mnt/var-log /var/log
mount -t proc proc /proc

# The kubelet sets these for the whole machine. It gets files to write to instead.
for key in kernel/keys/root_maxbytes kernel/keys/root_maxkeys kernel/panic kernel/panic_on_oops vm/overcommit_memory \
    vm/panic_on_oom; do
    mkdir -p "/mnt/sysctl/${key%/*}"
    cat "/proc/sys/$key" >"/mnt/sysctl/$key"
    mount --bind "/mnt/sysctl/$key" "/proc/sys/$key"
done

containerd --config /mnt/containerd.toml >&4 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do
    kill -0 $! 2>/dev/null || { tail -n 5 "$LOGS/containerd.log" >&2; exit 1; }
    sleep 0.1
done

/mnt/kubelet --config=/mnt/kubelet.yaml --kubeconfig=/mnt/kubeconfig --hostname-override="$NODE" \
    --node-ip="$ADDRESS" &
wait $!
