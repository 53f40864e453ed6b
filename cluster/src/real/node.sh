# The first process of a real node: it sets up what containerd and the kubelet see of this machine, and runs them.
#
#   unshare --mount --pid --fork ... sh -c "$this_script" node
#
# When this process ends, the kernel ends everything in its PID namespace, and every mount, network namespace and veth
# pair goes with it. So a node leaves nothing behind but what is in $STATE, $RUN and its cgroups.
#
# NODE        the name of the node, of the machine's end of its veth pair and of its cgroups
# ADDRESS     the node's address, where its pods reach the machine
# BRIDGE      the address of the pods' bridge, which is their gateway
# WORLD       the address that the gateway sends everything to that is neither a pod nor a service
# GPUS        how many GPUs the device plugin offers
# CLAIMED     how many GPUs the DRA driver offers
# STATE       a directory with the node's configuration, for everything that it writes
# RUN         the same for its files in /run
# LOGS        the directory for logs; the kubelet's and all others go to standard error
# PROGRAMS    the paths of the programs, one a line

set -eu

# Before this namespace gets its own /proc: the process ID by which the guard knows this process.
read -r pid _ </proc/self/stat
echo "$pid" >"$RUN/pid"
exec 4>"$LOGS/containerd.log" 5>"$LOGS/kube-router.log" 6>"$LOGS/kube-proxy.log" 7>"$LOGS/device-plugin.log" \
    8>"$LOGS/dra-driver.log"

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

# The programs have built-in paths, which here lead to the node's own directories. They may hide the programs and $STATE, so
# /mnt stands for it.
mkdir "$STATE/programs"
echo "$PROGRAMS" | while read -r program; do
    touch "$STATE/programs/${program##*/}"
    mount --bind "$program" "$STATE/programs/${program##*/}"
done
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
# Pods remember the address of the bridge, which would otherwise change with its ports. The firewall takes every address in the
# table `local` for the node itself, whose processes network policies never block
# (https://kubernetes.io/docs/concepts/services-networking/network-policies/). The machine is that node, so its address is
# there; but the way to it leads to the machine.
ip -netns pods -batch - <<EOF
link set lo up
link add pods address 02:00:00:00:00:01 type bridge
link set $NODE-pods master pods up
address add $BRIDGE/24 dev pods
link set pods up
route add default via $WORLD
route add local $ADDRESS dev lo table local
rule add preference 1 to $ADDRESS lookup main
rule add preference 2 lookup local
rule delete preference 0
EOF
nsenter --net=/run/netns/pods sh -c '
    cd /proc/sys/net
    echo 1 >bridge/bridge-nf-call-iptables
    echo 1 >bridge/bridge-nf-call-ip6tables
    echo 1 >ipv4/ip_forward
    for interface in all pods; do
        echo 0 >ipv4/conf/$interface/send_redirects
        echo 0 >ipv4/conf/$interface/rp_filter
    done'
# Pods have only link-local IPv6 addresses, which no firewall here covers.
/mnt/bin/ip6tables --policy FORWARD DROP
# The kernel tracks connections only while some rule uses their state. The first such rule would be kube-proxy's or the
# firewall's: it would not know the existing connections, and would reject their packets again and again.
/mnt/bin/iptables --table mangle --append FORWARD --match conntrack --ctstate ESTABLISHED

PATH="/mnt/programs:$PATH"
PATH="/mnt/bin:$PATH" kube-router --kubeconfig=/mnt/kube-router.kubeconfig --hostname-override="$NODE" --run-firewall \
    --run-router=false --run-service-proxy=false --health-port=0 >&5 2>&1 &
firewall=$!
nsenter --net=/run/netns/pods kube-proxy --config=/mnt/kube-proxy.yaml >&6 2>&1 &
services=$!

# What isn't on loopback can't be pulled: it is reached by way of a proxy that isn't there.
HTTP_PROXY=http://127.0.0.1:1 HTTPS_PROXY=http://127.0.0.1:1 containerd --config /mnt/containerd.toml >&4 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do
    kill -0 $! 2>/dev/null || { tail -n 5 "$LOGS/containerd.log" >&2; exit 1; }
    sleep 0.1
done

# Pods must not run before the firewall and the services do.
until /mnt/bin/iptables --list-rules KUBE-ROUTER-FORWARD >/dev/null 2>&1; do
    kill -0 "$firewall" 2>/dev/null || { tail -n 5 "$LOGS/kube-router.log" >&2; exit 1; }
    sleep 0.1
done
until nsenter --net=/run/netns/pods nft list chain ip kube-proxy services >/dev/null 2>&1; do
    kill -0 "$services" 2>/dev/null || { tail -n 5 "$LOGS/kube-proxy.log" >&2; exit 1; }
    sleep 0.1
done

kubelet --config=/mnt/kubelet.yaml --kubeconfig=/mnt/kubeconfig --hostname-override="$NODE" \
    --node-ip="$ADDRESS" &
kubelet=$!
until [ -S /var/lib/kubelet/device-plugins/kubelet.sock ] || ! kill -0 "$kubelet" 2>/dev/null; do
    sleep 0.1
done
# The driver insists on it.
mkdir -p /var/lib/kubelet/plugins/gpu.example.com
[ "$GPUS" = 0 ] || device-plugin --devices="$GPUS" >&7 2>&1 &
[ "$CLAIMED" = 0 ] || test-driver kubelet-plugin --kubeconfig=/mnt/dra-driver.kubeconfig --drivername=gpu.example.com \
    --node-name="$NODE" --num-devices="$CLAIMED" >&8 2>&1 &
wait "$kubelet"
