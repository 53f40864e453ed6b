# The first process of a real node: it sets up what containerd and the kubelet see of this machine, and runs them.
#
#   unshare --mount --pid --fork ... sh -c "$this_script" node
#
# When this process ends, the kernel ends everything in its PID namespace, and every mount, network namespace and veth
# pair goes with it. So a node leaves nothing behind but what is in $STATE, $RUN and its cgroups.
#
# NODE      the name of the node, of the machine's end of its veth pair and of its cgroups
# ADDRESS   the node's address, where its pods reach the machine
# BRIDGE    the address of the pods' bridge
# STATE     a directory with the node's configuration, for everything that it writes
# RUN       the same for its files in /run
# LOGS      the directory for the logs of containerd and kube-router; the kubelet's and all others go to standard error
# KUBELET, KUBE_ROUTER   the programs

set -eu

# Before this namespace gets its own /proc: the process ID by which the guard knows this process.
read -r pid _ </proc/self/stat
echo "$pid" >"$RUN/pid"
exec 4>"$LOGS/containerd.log" 5>"$LOGS/kube-router.log"

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

# Both programs have built-in paths, which here lead to the node's own directories. They may hide $STATE, so /mnt stands for it.
touch "$STATE/kubelet" "$STATE/kube-router"
mount --bind "$KUBELET" "$STATE/kubelet"
mount --bind "$KUBE_ROUTER" "$STATE/kube-router"
mount --rbind "$STATE" /mnt
mkdir -p /mnt/var-lib /mnt/var-log
mount --bind "$RUN" /run
mount --bind /mnt/var-lib /var/lib
mount --bind /mnt/var-log /var/log
mount -t proc proc /proc

# The kubelet sets these for the whole machine, so it gets plain files to write to instead.
for key in kernel/keys/root_maxbytes kernel/keys/root_maxkeys kernel/panic kernel/panic_on_oops vm/overcommit_memory \
    vm/panic_on_oom; do
    mkdir -p "/mnt/sysctl/${key%/*}"
    cat "/proc/sys/$key" >"/mnt/sysctl/$key"
    mount --bind "/mnt/sysctl/$key" "/proc/sys/$key"
done

# The pods' network is a separate namespace, so that its firewall is neither the machine's nor another node's. One end of the
# veth pair connects the machine to its bridge.
ip netns add pods
ip link set "$NODE-pods" netns pods
ip -netns pods link set lo up
ip -netns pods link add pods type bridge
ip -netns pods link set "$NODE-pods" master pods up
ip -netns pods address add "$BRIDGE/24" dev pods
ip -netns pods link set pods up
# The firewall takes every address of the namespace for the node itself, whose processes network policies never block
# (https://kubernetes.io/docs/concepts/services-networking/network-policies/). The machine is that node, so its address is here
# too; the namespace never answers ARP for it, so that frames reach the machine.
ip -netns pods address add "$ADDRESS/32" dev lo
nsenter --net=/run/netns/pods sh -c '
    echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-ip6tables'
# Pods have only link-local IPv6 addresses, which no firewall here covers.
/mnt/bin/ip6tables --policy FORWARD DROP
# The kernel tracks connections only while some rule uses their state, as the rules of kube-proxy always do elsewhere. Here the
# first such rule would be the firewall's for the first pod: it would not know the pod's existing connections, and would
# reject their packets again and again.
/mnt/bin/iptables --table mangle --append FORWARD --match conntrack --ctstate ESTABLISHED

PATH="/mnt/bin:$PATH" /mnt/kube-router --kubeconfig=/mnt/kube-router.kubeconfig --hostname-override="$NODE" --run-firewall \
    --run-router=false --run-service-proxy=false --health-port=0 >&5 2>&1 &
firewall=$!

containerd --config /mnt/containerd.toml >&4 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do
    kill -0 $! 2>/dev/null || { tail -n 5 "$LOGS/containerd.log" >&2; exit 1; }
    sleep 0.1
done

# Pods must not run before the firewall does.
until /mnt/bin/iptables --list-rules KUBE-ROUTER-FORWARD >/dev/null 2>&1; do
    kill -0 "$firewall" 2>/dev/null || { tail -n 5 "$LOGS/kube-router.log" >&2; exit 1; }
    sleep 0.1
done

/mnt/kubelet --config=/mnt/kubelet.yaml --kubeconfig=/mnt/kubeconfig --hostname-override="$NODE" \
    --node-ip="$ADDRESS" &
wait $!
