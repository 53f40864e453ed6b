# Removes what a node leaves on the machine after its processes are gone. See node.sh for the variables.

# The veth pair disappears with the pods' network namespace, which may take the kernel a moment.
ip link delete "$NODE"

# A cgroup can be busy for a moment after its last process.
cgroups() {
    find /sys/fs/cgroup -depth -type d \( -path "*/$NODE" -o -path "*/$NODE/*" \) "$@"
}
for _ in 1 2 3 4 5 6 7 8 9 10; do
    cgroups -exec rmdir {} \; 2>/dev/null
    [ -z "$(cgroups)" ] && break
    sleep 0.1
done

rm -rf "$STATE" "$RUN"
